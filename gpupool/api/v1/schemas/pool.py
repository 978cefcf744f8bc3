"""Schemas of pools."""

from gpupool.api.v1.schemas import common
from gpupool.model.claim import AMOUNT_MAX
from gpupool.model.pool import NUMBER_MAX, PolicyName

_OVERCOMMIT: common.Schema = {"type": "integer", "minimum": 100, "maximum": NUMBER_MAX}
_CHANGEABLE: common.Schema = {
    "name": common.NAME,
    "description": common.LONG_TEXT,
    "policy": common.one_of(PolicyName),
    "compute_overcommit": _OVERCOMMIT,
    "memory_overcommit": _OVERCOMMIT,
    "moves_per_hour": {"type": "integer", "minimum": 0, "maximum": NUMBER_MAX},
    "min_run_time": common.nullable({**common.AMOUNT, "description": f"0 to {AMOUNT_MAX}"}),
}

LIST = common.listing(
    {"name": common.TEXT, "policy": _CHANGEABLE["policy"]}, ("name", "created_at", "updated_at")
)
CREATE = common.body(_CHANGEABLE, ["name"])
UPDATE = common.change(_CHANGEABLE)
ACTION = common.action(
    {
        "defragment": common.body(
            {
                "dry_run": common.BOOLEAN,
                "limit": {"type": "integer", "minimum": 1, "maximum": NUMBER_MAX},
            }
        )
    }
)
