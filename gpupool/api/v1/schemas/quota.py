"""Schemas of quotas."""

from gpupool.api.v1.schemas import common

LIST = common.body(
    {
        "project_id": common.PROJECT,
        **common.ALL_PROJECTS,
        "limit": {"type": "integer", "minimum": 1, "description": "1 or more"},
        "marker": common.PROJECT,
    }
)
