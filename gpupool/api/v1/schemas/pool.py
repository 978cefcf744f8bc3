"""Schemas of pools."""

from gpupool.api.v1.schemas import common

LIST = common.listing({"name": common.TEXT}, ("name", "created_at", "updated_at"))
CREATE = common.body({"name": common.NAME, "description": common.LONG_TEXT}, ["name"])
UPDATE = common.change({"name": common.NAME, "description": common.LONG_TEXT})
