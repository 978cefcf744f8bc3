"""A pool that fills: demands come one by one, once, and nothing leaves."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gpupool.allocator.claims import Running
from gpupool.allocator.defragment import apply, make_room
from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import NoRoom, place, plan
from gpupool.allocator.policies import FragmentationGradientDescent
from gpupool.allocator.policy import Policy
from gpupool.allocator.view import PoolView


@dataclass(frozen=True, kw_only=True)
class Point:
    """How full the pool is; percent of its devices.

    ``arrived`` is what was demanded so far, ``granted`` what was granted of it, which is more than
    there is where slices are oversubscribed. ``covered`` counts no device as more than all of it.
    ``fragmented`` is what is free and of no use to the mix. ``remote`` is percent of the placed claims
    with vGPUs that have one on another host.
    """

    arrived: float
    granted: float
    covered: float
    fragmented: float
    remote: float
    refused: int

    @property
    def unallocated(self) -> float:
        """What less is granted than there is, in percent of it; 0 when more is."""
        return max(100 - self.granted, 0.0)

    @property
    def uncovered(self) -> float:
        """What of single devices nobody has: more than all of one makes up for no other."""
        return 100 - self.covered


@dataclass(frozen=True, kw_only=True)
class Filling:
    """One run: the pool at every full percent that arrived, and what decisions took, in ns.

    A decision is a plan and what is learnt of the demand. ``decisions`` are by the clock, ``processor``
    by the time of this thread on a core: what else the machine does is in the first only.
    ``making_room`` (by the clock) is what looking for a move took, after a decision that found no room.
    """

    seed: int
    points: tuple[Point, ...]
    decisions: tuple[int, ...]
    processor: tuple[int, ...]
    making_room: tuple[int, ...] = ()
    # vGPUs that moved to make room; None where none may.
    moved: int | None = None

    def at(self, arrived: int) -> Point:
        """Return the pool when ``arrived`` percent of it had been demanded; KeyError if never."""
        for point in self.points:
            if point.arrived >= arrived:
                return point
        raise KeyError(arrived)


class Filler:
    """Fills one pool.

    ``mix`` is what fragmentation is measured by; with ``learns`` every demand is added to it as it
    comes, as the conductor does. With ``moves`` a vGPU moves where that makes room for one that finds
    none.
    """

    def __init__(
        self, view: PoolView, policy: Policy, mix: Mix, *, learns: bool = False, moves: bool = False
    ) -> None:
        self._view, self._policy, self._mix, self._learns = view, policy, mix, learns
        self._measure = FragmentationGradientDescent(mix)
        self._total = int(view.compute.total.sum())
        self._arrived = self._placed = self._remote = self._refused = 0
        # By claim, while vGPUs may move.
        self._running: dict[str, Running] | None = {} if moves else None
        self._moved = 0
        self._decisions: list[int] = []
        self._processor: list[int] = []
        self._making_room: list[int] = []

    def run(self, arrivals: Iterable[Demand], seed: int) -> Filling:
        """Place what arrives."""
        points = []
        following = 1
        for demand in arrivals:
            self._place(demand)
            self._arrived += demand.count * demand.compute
            if 100 * self._arrived >= following * self._total:
                points.append(self._point())
                following = int(points[-1].arrived) + 1
        return Filling(
            seed=seed,
            points=tuple(points),
            decisions=tuple(self._decisions),
            processor=tuple(self._processor),
            making_room=tuple(self._making_room),
            moved=None if self._running is None else self._moved,
        )

    def _place(self, demand: Demand) -> None:
        begun = time.perf_counter_ns(), time.thread_time_ns()
        if self._learns:
            self._mix.add(demand)
        found = plan(self._view, demand, self._policy)
        ended = time.perf_counter_ns(), time.thread_time_ns()
        if demand.count:
            self._decisions.append(ended[0] - begun[0])
            self._processor.append(ended[1] - begun[1])
            if isinstance(found, NoRoom) and self._running is not None:
                looked = time.perf_counter_ns()
                found = self._make_room(demand, self._running) or found
                self._making_room.append(time.perf_counter_ns() - looked)
            self._refused += not isinstance(found, Plan)
        if isinstance(found, Plan):
            self._view.take(demand, found)
            self._placed += demand.count > 0
            self._remote += found.remote > 0
            if self._running is not None and demand.count:
                claim = _running(f"claim-{self._placed}", demand, found)
                self._running[claim.claim_id] = claim

    def _make_room(self, demand: Demand, running: dict[str, Running]) -> Plan | None:
        """Move a vGPU where that makes room; return the place then."""
        move = make_room(self._view, running.values(), demand, self._policy)
        if move is None:
            return None
        before = running[move.claim_id]
        after = running[move.claim_id] = apply(self._view, before, move)
        self._remote += (after.plan.remote > 0) - (before.plan.remote > 0)
        self._moved += 1
        return place(self._view, demand, self._policy)

    def _point(self) -> Point:
        compute = self._view.compute
        return Point(
            arrived=100 * self._arrived / self._total,
            granted=100 * int(compute.granted.sum()) / self._total,
            covered=100 * int(np.minimum(compute.granted, compute.total).sum()) / self._total,
            fragmented=100 * self._measure.fragmentation(self._view) / self._total,
            remote=100 * self._remote / max(self._placed, 1),
            refused=self._refused,
        )


def _running(claim_id: str, demand: Demand, planned: Plan) -> Running:
    return Running(
        claim_id=claim_id,
        project_id="",
        demand=demand,
        plan=planned,
        priority=0,
        bound_at=0.0,
        ends_at=None,
        preemptible=False,
    )
