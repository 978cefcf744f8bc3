"""Schemas of profiles."""

from collections.abc import Mapping

from gpupool.api.v1.schemas import common

LIST = common.listing(
    {"name": common.TEXT, "tier": common.TIER, "qos": common.QOS},
    ("name", "compute", "memory_mib", "tier", "priority", "created_at", "updated_at"),
)
_FIELDS: Mapping[str, common.Schema] = {
    "name": common.NAME,
    "description": common.LONG_TEXT,
    **common.REQUESTED,
    **common.WISHES,
}
CREATE = common.body(_FIELDS, ["name", "compute", "memory_mib"])
# Those that a profile need not have may be taken away again.
UPDATE = common.change(
    {
        **_FIELDS,
        **{name: common.nullable(common.WISHES[name]) for name in ("time_limit", "sessions")},
    }
)
