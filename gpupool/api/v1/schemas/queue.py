"""Schemas of the queue."""

from gpupool.api.v1.schemas import common

LIST = common.body({**common.PAGE, "pool": common.NAME_OR_ID, **common.ALL_PROJECTS})
