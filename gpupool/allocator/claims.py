"""Claims as the queue sees them: those that wait and those that have a place."""

from dataclasses import dataclass

from gpupool.allocator.demand import Demand
from gpupool.allocator.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A claim that waits for a place; times are seconds of the caller's clock.

    ``time_limit`` is how long it may stay bound, None for as long as it likes. ``refused_by`` names
    hosts that refused it: others are tried first. ``preemptible``: others may take its place.
    """

    claim_id: str
    project_id: str
    demand: Demand
    priority: int
    created_at: float
    time_limit: float | None = None
    refused_by: frozenset[str] = frozenset()
    preemptible: bool = False


@dataclass(frozen=True, kw_only=True)
class Running:
    """A claim that has a place, from when it was given it until every vGPU is gone.

    ``ends_at`` is when it ends at latest, None when nobody knows. ``leaving``: it is being taken apart.
    """

    claim_id: str
    project_id: str
    demand: Demand
    plan: Plan
    priority: int
    bound_at: float
    ends_at: float | None
    preemptible: bool
    leaving: bool = False

    @property
    def rate(self) -> int:
        """What it has, in percent of a device."""
        return self.demand.count * self.demand.compute
