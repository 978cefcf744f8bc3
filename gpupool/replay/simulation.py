"""A pool and its queue on a simulated clock: the conductor's own allocator and queue decide."""

import heapq
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from gpupool.allocator import filters
from gpupool.allocator.demand import Demand
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import no_room
from gpupool.allocator.policies import FragmentationGradientDescent
from gpupool.allocator.policy import Policy
from gpupool.allocator.scheduling import Preempt, QueueRules, Scheduler, Start, Waiting
from gpupool.allocator.view import PoolView
from gpupool.model.claim import OnPreempt
from gpupool.replay.job import Job, Outcome, Stay

# How often at most fragmentation is measured, in parts of the time from first to last arrival.
_MEASURES = 1000


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The pool from ``at`` (seconds) on until the next sample, percent of its devices.

    ``allocated`` is what is granted, which is more than there is where devices are oversubscribed.
    """

    at: float
    allocated: float
    fragmented: float
    waiting: int


@dataclass(frozen=True, kw_only=True)
class Course:
    """What happened to each job, by arrival, and to the pool; how long passes took, in ns."""

    outcomes: tuple[Outcome, ...]
    samples: tuple[Sample, ...]
    passes: tuple[int, ...]


class _Event(IntEnum):
    """What happens at a moment, in this order: who comes finds what others left."""

    END = 0
    AWAY = 1
    ARRIVE = 2


@dataclass
class _Ticket:
    """One job on its way.

    ``left`` is how long it still has to run; ends of an earlier ``turn`` are void; ``gone``: it neither
    waits nor runs.
    """

    job: Job
    outcome: Outcome
    left: float
    begun: float = 0.0
    plan: Plan | None = None
    gone: bool = False
    turn: int = 0


@dataclass
class Simulation:
    """One pool, empty at first, and its queue.

    Preempted claims leave at once. ``mix`` learns every demand as it comes.
    """

    view: PoolView
    policy: Policy
    mix: Mix
    rules: QueueRules
    shares: FairShare
    _events: list[tuple[float, _Event, int, int, _Ticket]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._scheduler = Scheduler(self.rules)
        self._tickets: dict[str, _Ticket] = {}
        self._numbers = itertools.count()
        self._total = max(int(self.view.compute.total.sum()), 1)
        self._measure = FragmentationGradientDescent(self.mix)
        self._possible: dict[Demand, str] = {}
        self._samples: list[Sample] = []
        self._passes: list[int] = []
        self._measured = 0.0

    def run(self, jobs: Iterable[Job]) -> Course:
        """Let all jobs come, until each has ended or can't start any more."""
        ordered = sorted(jobs, key=lambda job: (job.arrives, job.id))
        for job in ordered:
            ticket = _Ticket(job, Outcome(job), left=job.runs)
            self._tickets[job.id] = ticket
            self._push(job.arrives, _Event.ARRIVE, ticket)
        span = ordered[-1].arrives - ordered[0].arrives if ordered else 0.0
        while self._events:
            self._step(span / _MEASURES)
        return Course(
            outcomes=tuple(self._tickets[job.id].outcome for job in ordered),
            samples=tuple(self._samples),
            passes=tuple(self._passes),
        )

    def _push(self, at: float, event: _Event, ticket: _Ticket) -> None:
        heapq.heappush(self._events, (at, event, next(self._numbers), ticket.turn, ticket))

    def _step(self, measured_every: float) -> None:
        """Do all that happens at the next moment, then decide what starts."""
        now = self._events[0][0]
        if self._samples:
            self._scheduler.charge(self.shares, self._samples[-1].at, now)
        while self._events and self._events[0][0] == now:
            _, event, _, turn, ticket = heapq.heappop(self._events)
            if event == _Event.ARRIVE:
                self._arrive(ticket)
            elif event == _Event.END and turn == ticket.turn:
                self._leave(ticket, now)
                ticket.outcome.ended = now
            elif event == _Event.AWAY and not ticket.gone:
                self._go_away(ticket, now)
        self._decide(now)
        self._sample(now, measured_every)

    def _arrive(self, ticket: _Ticket) -> None:
        demand = ticket.job.demand
        if demand not in self._possible:
            possible = filters.ever(self.view, demand)
            self._possible[demand] = "" if possible else no_room(self.view, demand).reason.text
        ticket.outcome.refused = self._possible[demand]
        if ticket.outcome.refused:
            ticket.gone = True
            return
        self.mix.add(demand)
        if ticket.job.until is not None:
            self._push(ticket.job.until, _Event.AWAY, ticket)
        self._wait(ticket)

    def _wait(self, ticket: _Ticket) -> None:
        job = ticket.job
        self._scheduler.wait(
            Waiting(
                claim_id=job.id,
                project_id=job.project,
                demand=job.demand,
                priority=job.priority,
                created_at=job.arrives,
                time_limit=job.time_limit,
                preemptible=job.preemptible,
            )
        )

    def _leave(self, ticket: _Ticket, now: float) -> None:
        """Take a job's place from it."""
        assert ticket.plan is not None  # noqa: S101 - only what has a place leaves it
        self.view.give(ticket.job.demand, ticket.plan)
        ticket.outcome.stays.append(Stay(begun=ticket.begun, ended=now, plan=ticket.plan))
        ticket.plan, ticket.gone = None, True
        ticket.turn += 1
        self._scheduler.forget(ticket.job.id)

    def _go_away(self, ticket: _Ticket, now: float) -> None:
        if ticket.plan is not None:
            self._leave(ticket, now)
            ticket.outcome.ended = now
        else:
            ticket.gone = True
            self._scheduler.forget(ticket.job.id)

    def _decide(self, now: float) -> None:
        """Run passes until nobody makes room for others any more."""
        while True:
            begun = time.perf_counter_ns()
            decided = self._scheduler.decide(self.view, self.shares, self.policy, now)
            self._passes.append(time.perf_counter_ns() - begun)
            for decision in decided:
                if isinstance(decision, Start):
                    self._start(self._tickets[decision.claim_id], decision.plan, now)
            preempts = [decision for decision in decided if isinstance(decision, Preempt)]
            if not preempts:
                return
            for victim in itertools.chain.from_iterable(each.victims for each in preempts):
                self._preempt(self._tickets[victim], now)

    def _start(self, ticket: _Ticket, planned: Plan, now: float) -> None:
        ticket.begun, ticket.plan, ticket.gone = now, planned, False
        self._push(now + ticket.left, _Event.END, ticket)

    def _preempt(self, ticket: _Ticket, now: float) -> None:
        ran = now - ticket.begun
        self._leave(ticket, now)
        ticket.outcome.preempted += 1
        if ticket.job.on_preempt == OnPreempt.RELEASE:
            return
        if ticket.job.checkpoint:
            ticket.left -= ran // ticket.job.checkpoint * ticket.job.checkpoint
        ticket.gone = False
        self._wait(ticket)

    def _sample(self, now: float, measured_every: float) -> None:
        compute = self.view.compute
        last = self._samples[-1] if self._samples else None
        if last is None or now - self._measured >= measured_every:
            self._measured = now
            fragmented = 100 * self._measure.fragmentation(self.view) / self._total
        else:
            fragmented = last.fragmented
        self._samples.append(
            Sample(
                at=now,
                allocated=100 * int(compute.granted.sum()) / self._total,
                fragmented=fragmented,
                waiting=len(self._scheduler.line),
            )
        )
