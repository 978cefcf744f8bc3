"""Schemas of profiles."""

from gpupool.api.v1.schemas import common

LIST = common.listing(
    {"name": common.TEXT, "tier": common.TIER, "qos": common.QOS},
    ("name", "compute", "memory_mib", "tier", "priority", "created_at", "updated_at"),
)
CREATE = common.body(
    {
        "name": common.NAME,
        "description": common.LONG_TEXT,
        "count": common.COUNT,
        "compute": common.COMPUTE,
        "memory_mib": common.MEMORY_MIB,
        "tier": common.TIER,
        "priority": common.PRIORITY,
        "required_traits": common.TRAITS,
        "forbidden_traits": common.TRAITS,
        **common.WISHES,
    },
    ["name", "compute", "memory_mib"],
)
