"""What a pool's queue decides, and by which rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gpupool.allocator.plan import Plan


@dataclass(frozen=True, kw_only=True)
class QueueRules:
    """How a pool's queue decides.

    Without ``backfill`` nothing starts after the first claim that finds no room; without ``fair`` too
    that is strictly first come, first served, within a priority. ``reservations`` is for how many
    claims room is kept. Claims that ran less than ``min_run_time`` seconds are not taken apart for
    others; those of projects in ``min_run_times`` (by id) not before they ran as long as it says there.
    A claim that has waited for ``ageing`` seconds is passed by no younger claim of its project that has
    the default priority or a lower one; 0: ageing is off.
    """

    backfill: bool = True
    reservations: int = 1
    min_run_time: float = 300.0
    min_run_times: Mapping[str, float] = field(default_factory=dict)
    ageing: float = 7 * 86400.0
    fair: bool = True


@dataclass(frozen=True, kw_only=True)
class Start:
    """A claim that starts now, with ``min_count`` vGPUs at least if it is elastic."""

    claim_id: str
    plan: Plan
    min_count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Grow:
    """A claim that runs gets more vGPUs: those of the plan, which is without its program."""

    claim_id: str
    plan: Plan


@dataclass(frozen=True, kw_only=True)
class Preempt:
    """Claims to take apart for one that waits: it starts in a later pass, its room is kept.

    What elastic claims have beyond their minimum is among them by the name it was given.
    """

    claim_id: str
    victims: tuple[str, ...]


Decided = Start | Grow | Preempt
