"""Jobs: what comes to a simulated queue, and what became of it."""

from dataclasses import dataclass, field

from gpupool.allocator.demand import Demand
from gpupool.allocator.plan import Plan
from gpupool.model.claim import PRIORITY_DEFAULT, OnPreempt


@dataclass(frozen=True, kw_only=True)
class Job:
    """One claim to be; times in seconds of the simulated clock.

    It ``arrives``, ``runs`` that long when it has a place and leaves; at ``until`` it goes away in any
    case. ``time_limit`` is what the queue is told about how long it runs, None for
    nothing. One that is preempted and queued again goes on from its last checkpoint, of which it makes
    one every ``checkpoint`` seconds; None: it begins anew. ``open``: how long it would have run is not
    known, so its completion does not count.
    """

    id: str
    project: str
    demand: Demand
    arrives: float
    runs: float
    priority: int = PRIORITY_DEFAULT
    time_limit: float | None = None
    until: float | None = None
    preemptible: bool = False
    on_preempt: OnPreempt = OnPreempt.REQUEUE
    checkpoint: float | None = None
    open: bool = False


@dataclass(frozen=True, kw_only=True)
class Stay:
    """A stretch of time that a job had a place."""

    begun: float
    ended: float
    plan: Plan


@dataclass
class Outcome:
    """What became of a job.

    ``refused`` says why the pool could never hold it; ``preempted`` is how often its place was taken.
    ``ended`` is None for one that was refused, gave up, or was released when preempted.
    """

    job: Job
    stays: list[Stay] = field(default_factory=list)
    ended: float | None = None
    refused: str = ""
    preempted: int = 0

    @property
    def waiting(self) -> float | None:
        """How long it waited in all, seconds; None if it never had a place."""
        if not self.stays:
            return None
        last = self.stays[-1].ended
        return last - self.job.arrives - sum(stay.ended - stay.begun for stay in self.stays)

    @property
    def completion(self) -> float | None:
        """How long it took from its arrival to its end; None if it did not end, or that says nothing."""
        return None if self.ended is None or self.job.open else self.ended - self.job.arrives

    @property
    def remote(self) -> bool:
        """Whether it ever had a device of another host than its program's."""
        return any(stay.plan.remote for stay in self.stays)
