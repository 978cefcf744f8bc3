"""Claims as the queue sees them: those that wait and those that have a place."""

from dataclasses import dataclass

from gpupool.allocator.demand import Demand
from gpupool.allocator.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A claim that waits for a place; times are seconds of the caller's clock.

    ``created_at`` may be of another clock than the rest, see ``Scheduler.decide``.
    ``time_limit`` is how long it may stay bound, None for as long as it likes. ``refused_by`` names
    hosts that refused it: others are tried first. ``preemptible``: others may take its place. An
    elastic one waits for ``demand.count`` vGPUs and may have up to ``max_count``, None for others.
    """

    claim_id: str
    project_id: str
    demand: Demand
    priority: int
    created_at: float
    time_limit: float | None = None
    refused_by: frozenset[str] = frozenset()
    preemptible: bool = False
    max_count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Running:
    """A claim that has a place, from when it was given it until every vGPU is gone.

    ``ends_at`` is when it ends at latest, None when nobody knows. ``leaving``: it is being taken apart.
    ``loses`` is how much work is lost with it, in percent of a device times seconds; None for all that
    it had since it was given its place. Of one that may grow, up to ``max_count`` vGPUs, this is the
    minimum it needs: what it has beyond that are claims of their own, see ``elastic``.
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
    loses: float | None = None
    max_count: int | None = None

    @property
    def rate(self) -> int:
        """What it has, in percent of a device."""
        return self.demand.count * self.demand.compute
