"""Schemas of quotas."""

from gpupool.api.v1.schemas import common

_PROJECT: common.Schema = {**common.TEXT, "minLength": 1, "description": "a project's id"}
LIST = common.body(
    {
        "project_id": _PROJECT,
        **common.ALL_PROJECTS,
        "limit": {"type": "integer", "minimum": 1, "description": "1 or more"},
        "marker": _PROJECT,
    }
)
