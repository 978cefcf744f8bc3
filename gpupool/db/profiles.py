"""Profiles in the database."""

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model.profile import Profile

_table = Table(models.Profile, Profile)
get, get_by_name, find = _table.get, _table.get_by_name, _table.find
list_, create, update, delete = _table.list_, _table.create, _table.update, _table.delete
