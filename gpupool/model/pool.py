"""A pool: hosts whose devices may serve each other; a Placement aggregate of the same UUID."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

DEFAULT_POOL = "default"
# Percent: no more is granted than there is.
OVERCOMMIT_NONE = 100
# Of percents and moves: more than anybody means, and all databases and arrays take it.
NUMBER_MAX = 1_000_000


class PolicyName(StrEnum):
    """Which of the devices that fit a claim takes, see ``gpupool.allocator.policies``."""

    FGD = "fgd"
    BEST_FIT = "best-fit"
    PACK = "pack"
    SPREAD = "spread"
    RANDOM = "random"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """One pool. ``name`` is unique.

    ``compute_overcommit`` (percent, 100 or more) is how much of a device's compute may be granted in
    all, beyond 100 to best-effort claims only; ``memory_overcommit`` the same for memory, on devices
    that can extend it into host memory. ``moves_per_hour`` is how many claims defragmentation may
    move by itself. ``min_run_time`` is how many seconds preemptible claims run before others can take
    their place, None for what the service's configuration says.
    """

    id: str
    name: str
    description: str = ""
    policy: PolicyName = PolicyName.FGD
    compute_overcommit: int = OVERCOMMIT_NONE
    memory_overcommit: int = OVERCOMMIT_NONE
    moves_per_hour: int = 0
    min_run_time: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PoolChange:
    """What may change on a pool; None leaves a field as it is.

    ``remove_min_run_time`` has the pool go by the service's configuration again.
    """

    name: str | None = None
    description: str | None = None
    policy: PolicyName | None = None
    compute_overcommit: int | None = None
    memory_overcommit: int | None = None
    moves_per_hour: int | None = None
    min_run_time: int | None = None
    remove_min_run_time: bool = False
