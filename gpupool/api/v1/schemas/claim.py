"""Schemas of claims."""

from gpupool.api.v1.schemas import common
from gpupool.model.claim import COUNT_MAX, ClaimHealth
from gpupool.model.states import ClaimState

LIST = common.listing(
    {
        "name": common.TEXT,
        "project_id": common.TEXT,
        "user_id": common.TEXT,
        "pool": common.NAME_OR_ID,
        "pool_id": common.ID,
        "profile_id": common.ID,
        "state": common.one_of(ClaimState),
        "health": common.one_of(ClaimHealth),
        "tier": common.TIER,
        "priority": common.PRIORITY,
        "qos": common.QOS,
        "preemptible": common.BOOLEAN,
    },
    (
        "name",
        "state",
        "tier",
        "priority",
        "count",
        "compute",
        "memory_mib",
        "lease_end",
        "time_limit",
        "created_at",
        "updated_at",
        "bound_at",
        "ended_at",
    ),
    common.ALL_PROJECTS,
)
CREATE = common.body(
    {
        "id": common.ID,
        "name": common.TEXT,
        "pool": common.NAME_OR_ID,
        "profile": common.NAME_OR_ID,
        **common.REQUESTED,
        "host": common.HOST_NAME_OR_ID,
        "devices": {
            "type": "array",
            "maxItems": COUNT_MAX,
            "uniqueItems": True,
            "items": common.ID,
        },
        "lease_end": common.TIME,
        **common.WISHES,
    }
)
UPDATE = common.change(
    {"name": common.TEXT, "priority": common.PRIORITY, "lease_end": common.nullable(common.TIME)}
)
ACTION = common.action(
    {
        "release": common.EMPTY,
        "extend": common.body({"lease_end": common.TIME}, ["lease_end"]),
    }
)
