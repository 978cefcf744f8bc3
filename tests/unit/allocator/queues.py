"""Pools, claims and a simulated clock for the tests of the queue."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.allocator.claims import Running, Waiting
from gpupool.allocator.demand import Demand
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.plan import Plan
from gpupool.allocator.policies import BestFit
from gpupool.allocator.scheduling import Grow, Preempt, QueueRules, Scheduler, Start
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Qos

# Whole courses of a queue take a while each.
FEW = settings(max_examples=40, deadline=None)
MEMORY = 1000
CPU = 32_000


def pool(hosts: int = 1, devices: int = 1, remote: bool = False, **changes) -> PoolView:
    """An empty pool of equal hosts host-0... with devices host-0/0..."""
    values = {
        "compute_total": 100,
        "compute_limit": 100,
        "memory_total": MEMORY,
        "memory_limit": MEMORY,
        **changes,
    }
    rooms = [
        HostCapacity(
            name=f"host-{host}",
            cpu_total=CPU,
            cpu_free=CPU,
            memory_total=CPU,
            memory_free=CPU,
            devices=tuple(
                DeviceCapacity(device_id=f"host-{host}/{slot}", **values) for slot in range(devices)
            ),
        )
        for host in range(hosts)
    ]
    return PoolView(rooms, remote=remote)


def demand(compute: int = 100, count: int = 1, **changes) -> Demand:
    return Demand(**{"count": count, "compute": compute, "memory_mib": 10, **changes})


def waiting(claim_id: str, created_at: float = 0.0, **changes) -> Waiting:
    values = {"project_id": "project", "demand": demand(), "priority": 50, **changes}
    return Waiting(claim_id=claim_id, created_at=created_at, **values)


def running(view: PoolView, claim_id: str, device_ids: Iterable[str], **changes) -> Running:
    """A claim on these devices, taken out of the view."""
    ids = tuple(device_ids)
    values = {
        "project_id": "project",
        "demand": demand(count=len(ids)),
        "priority": 50,
        "bound_at": 0.0,
        "ends_at": None,
        "preemptible": False,
        **changes,
    }
    there = Plan(host=ids[0].split("/")[0], shares=values["demand"].shares(ids))
    claim = Running(claim_id=claim_id, **{"plan": there, **values})
    view.take(claim.demand, claim.plan)
    return claim


def state(view: PoolView) -> list[bytes]:
    """All that grants change, to be compared."""
    shares = [getattr(each, name) for each in (view.compute, view.memory) for name in vars(each)]
    return [each.tobytes() for each in (*shares, view.held, view.cpu_free, view.host_memory_free)]


def is_within_capacity(view: PoolView) -> bool:
    return all(
        bool((shares.granted <= shares.limit).all() and (shares.guaranteed <= shares.total).all())
        for shares in (view.compute, view.memory)
    ) and bool((view.cpu_free >= 0).all() and (view.host_memory_free >= 0).all())


@dataclass(frozen=True)
class Job:
    """A claim that comes at ``claim.created_at`` and, once it has a place, runs so long."""

    claim: Waiting
    runs: float


@dataclass
class Clock:
    """A pool and its queue on a simulated clock; ``started`` and ``ended`` say when claims did."""

    view: PoolView
    rules: QueueRules = field(default_factory=QueueRules)
    shares: FairShare = field(default_factory=lambda: FairShare(1000.0))
    now: float = 0.0

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.rules)
        self.policy = BestFit()
        self.started: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.jobs: dict[str, Job] = {}
        self.events: list[tuple[float, int, str]] = []

    def add(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self.jobs[job.claim.claim_id] = job
            heapq.heappush(self.events, (job.claim.created_at, 1, job.claim.claim_id))

    def has(self, claim: Running) -> None:
        """Run a claim that is already in the view, until its end if it has one."""
        self.scheduler.run(claim)
        if claim.ends_at is not None:
            heapq.heappush(self.events, (claim.ends_at, 0, claim.claim_id))

    def step(self) -> list[Start | Grow | Preempt]:
        """Do all that happens at the next moment; return what was decided then."""
        now = self.events[0][0]
        self.scheduler.charge(self.shares, self.now, now)
        self.now = now
        while self.events and self.events[0][0] == now:
            _, arrives, claim_id = heapq.heappop(self.events)
            if arrives:
                self.scheduler.wait(self.jobs[claim_id].claim)
            else:
                self.end(claim_id)
        return self.decide()

    def run(self, until: float = float("inf")) -> None:
        while self.events and self.events[0][0] <= until:
            self.step()

    def decide(self) -> list[Start | Grow | Preempt]:
        decided = self.scheduler.decide(self.view, self.shares, self.policy, self.now)
        for each in decided:
            if isinstance(each, Start):
                self.started[each.claim_id] = self.now
                end = self.now + self.jobs[each.claim_id].runs
                if np.isfinite(end):
                    heapq.heappush(self.events, (end, 0, each.claim_id))
        assert is_within_capacity(self.view)
        return decided

    def end(self, claim_id: str) -> None:
        """End a claim now."""
        claim = self.scheduler.occupancy.get(claim_id)
        assert claim is not None
        for each in (claim, *self.scheduler.elastic.beyond(claim_id)):
            self.view.give(each.demand, each.plan)
        self.scheduler.forget(claim_id)
        self.ended[claim_id] = self.now

    def shrink(self, names: Iterable[str]) -> None:
        """Remove what elastic claims have beyond their minimum, by name."""
        for claim in [each for each in self.scheduler.occupancy if each.max_count is not None]:
            had = self.scheduler.elastic.beyond(claim.claim_id)
            left = [each for each in had if each.claim_id not in set(names)]
            for each in had:
                if each not in left:
                    self.view.give(each.demand, each.plan)
            if left != had:
                self.scheduler.run(claim, left)


@st.composite
def demands(draw):
    """Whole devices and slices, one or a few, some with CPU."""
    return demand(
        compute=draw(st.sampled_from((100, 100, 50, 30, 20))),
        count=draw(st.sampled_from((1, 1, 1, 2, 3))),
        cpu_milli=draw(st.sampled_from((0, 0, 1000, 20_000))),
        qos=draw(st.sampled_from((Qos.GUARANTEED, Qos.GUARANTEED, Qos.BEST_EFFORT))),
    )


@st.composite
def streams(draw, limits: bool = True, least: int = 1, priorities=(50,)):
    """Jobs that come over time; with ``limits`` they run as long as they say, else nobody knows."""
    jobs = []
    for number in range(draw(st.integers(least, least + 11))):
        runs = float(draw(st.integers(1, 30)))
        claim = waiting(
            f"claim-{number:02}",
            float(draw(st.integers(0, 20 // least))),
            demand=draw(demands()),
            project_id=draw(st.sampled_from(("a", "b", "c"))),
            priority=draw(st.sampled_from(priorities)),
            time_limit=runs if limits else None,
        )
        jobs.append(Job(claim, runs))
    return jobs


@st.composite
def pools(draw):
    """Small empty pools, some of which lend devices to other hosts or grant more than there is."""
    return pool(
        hosts=draw(st.integers(1, 3)),
        devices=draw(st.integers(1, 3)),
        remote=draw(st.booleans()),
        compute_limit=draw(st.sampled_from((100, 100, 150))),
    )
