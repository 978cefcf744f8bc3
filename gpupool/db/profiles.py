"""Profiles in the database."""

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model.profile import Profile

_table = Table(models.Profile, Profile)
get, find = _table.get, _table.find
list_, create, update, delete = _table.list_, _table.create, _table.update, _table.delete
