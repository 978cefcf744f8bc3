"""Schemas of quotas."""

from gpupool.api.v1.schemas import common

LIST = common.body({"project_id": {**common.TEXT, "minLength": 1, "description": "a project's id"}})
