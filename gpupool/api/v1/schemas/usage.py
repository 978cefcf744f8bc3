"""Schemas of usage."""

from gpupool.api.v1.schemas import common

SHOW = common.body({"project_id": common.PROJECT})
