"""Preemption: which running claims make room for one that finds none, at the lowest cost."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from gpupool.allocator import filters
from gpupool.allocator.claims import Running, Waiting
from gpupool.allocator.costs import DeviceCosts
from gpupool.allocator.demand import Demand
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.order import Kind
from gpupool.allocator.plan import Plan
from gpupool.allocator.policy import Policy
from gpupool.allocator.reservation import Reservation, find, needs
from gpupool.allocator.victim_costs import TOO_DEAR, VictimCosts
from gpupool.allocator.victim_parts import cheapest
from gpupool.allocator.view import Flags, Place, PoolView
from gpupool.model.device import SharingMode

# Percent of a device times seconds, and how many claims: the lowest is the cheapest.
Cost = tuple[float, int]
# So many sets are looked at before the best of them has to do; and so many devices closely.
_SETS = 2000
_CLOSELY = 16


@dataclass(frozen=True)
class Victims:
    """Claims to take apart, and the place that they leave."""

    claim_ids: tuple[str, ...]
    plan: Plan


class Preemption:
    """Whom running claims can make room for, in one pass at ``now`` (seconds).

    ``projects`` are all that run or wait; they share the pool. Claims that ran less than
    ``min_run_time`` seconds are left alone, or the number that ``min_run_times`` has for their project.
    ``view`` is the pool as it will be: claims that are leaving
    have left, and those with reservations are there.
    """

    def __init__(
        self,
        occupancy: Occupancy,
        shares: FairShare,
        policy: Policy,
        *,
        projects: Iterable[str],
        min_run_time: float,
        now: float,
        min_run_times: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._occupancy, self._shares, self._policy = occupancy, shares, policy
        self._projects, self._now = sorted(projects), now
        self.view = occupancy.without(occupancy.until(-np.inf))
        claims = occupancy.claims
        self._claims = claims.copy()
        least = np.full(len(claims), min_run_time)
        for project_id, seconds in min_run_times.items():
            least[claims["project"] == occupancy.project(project_id)] = seconds
        self._legal = claims["movable"] & (now - claims["bound"] >= least)
        ran = claims["rate"] * np.maximum(now - claims["bound"], 0.0)
        self._lost = np.where(np.isnan(claims["loses"]), ran, claims["loses"])
        self._victim_costs = VictimCosts(occupancy, self._legal, self._lost)
        # The pool without all legal claims up to a priority.
        self._levels: dict[int, PoolView] = {}
        self._reserved: Counter[str] = Counter()

    def take(self, demand: Demand, planned: Plan) -> None:
        """Add a running claim to all that is decided from now on."""
        for view in (self.view, *self._levels.values()):
            view.take(demand, planned)

    def keep(self, reservation: Reservation) -> None:
        """Add a claim that has a reservation."""
        self.take(reservation.demand, reservation.plan)
        self._reserved[reservation.project_id] += reservation.rate

    def drop(self, reservation: Reservation) -> None:
        """Remove a claim that had a reservation."""
        for view in (self.view, *self._levels.values()):
            view.give(reservation.demand, reservation.plan)
        self._reserved[reservation.project_id] -= reservation.rate

    def victims(self, claim: Waiting) -> Victims | None:
        """Return the cheapest legal claims that leave room for ``claim``, or None; they count as gone.

        Legal are preemptible claims that have run long enough: all of lower priority, and as many of
        the claim's own priority as projects have beyond their part of the pool, if the claim's project
        stays within its own part and has had no more of it of late. Cheapest is: the highest priority
        among them as low as can be, then the least work lost (percent of a device times seconds run),
        then the fewest. That holds for a claim of one vGPU, as far as its device decides and, where
        devices are shared freely, among those that were looked at closely; for others it is near that.
        None of the victims could be left out.
        None, too, where claims that are leaving already leave enough.
        """
        kind = Kind(claim.demand, claim.refused_by)
        if not self._legal.any() or find(self.view, kind, self._policy) is not None:
            return None
        found = self._lower(kind, claim) or self._borrowed(kind, claim)
        if found is None:
            return None
        chosen = self._needed(kind, self._cheapest(kind, *found))
        for number in chosen:
            self._leave(number)
        planned = find(self.view, kind, self._policy)
        if planned is None:
            raise RuntimeError("no room where room was made")
        return Victims(tuple(sorted(self._occupancy.name(number) for number in chosen)), planned)

    def _running(self, number: int) -> Running:
        found = self._occupancy.get(self._occupancy.name(number))
        if found is None:
            raise RuntimeError("a claim without a place")
        return found

    def _leave(self, number: int) -> None:
        """Remove a claim that ended; ``view`` is without it already."""
        self._legal[number] = False
        claim = self._running(number)
        for priority, view in self._levels.items():
            if claim.priority > priority:
                view.give(claim.demand, claim.plan)

    def _level(self, priority: int) -> PoolView:
        """Return the pool without all legal claims up to ``priority``."""
        if priority not in self._levels:
            gone = self._legal & (self._claims["priority"] <= priority)
            rows = self._occupancy.of_numbers(gone)
            self._levels[priority] = self._occupancy.without(rows, self.view)
        return self._levels[priority]

    def _lower(self, kind: Kind, claim: Waiting) -> tuple[Flags, PoolView] | None:
        """Return the claims of lower priority up to the lowest that suffices, and the pool without."""
        priorities = self._claims["priority"]
        below = np.unique(priorities[self._legal & (priorities < claim.priority)]).tolist()
        low, high = 0, len(below) - 1
        if high < 0 or find(self._level(below[high]), kind, self._policy) is None:
            return None
        while low < high:
            middle = (low + high) // 2
            if find(self._level(below[middle]), kind, self._policy) is None:
                low = middle + 1
            else:
                high = middle
        return self._legal & (priorities <= below[low]), self._level(below[low])

    def _borrowed(self, kind: Kind, claim: Waiting) -> tuple[Flags, PoolView] | None:
        """Return the claims of lower priority and those that give back, and the pool without."""
        given_back = self._given_back(claim)
        if not given_back.any():
            return None
        gone = given_back | (self._legal & (self._claims["priority"] < claim.priority))
        view = self._occupancy.without(self._occupancy.of_numbers(gone), self.view)
        return None if find(view, kind, self._policy) is None else (gone, view)

    def _given_back(self, claim: Waiting) -> Flags:
        """Return the cheapest of the claim's priority that projects have beyond their parts.

        A project that has had less of its part of late than the claim's project gives nothing back: what
        it has beyond its part now, it is owed.
        """
        found = np.zeros_like(self._legal)
        same = self._legal & (self._claims["priority"] == claim.priority)
        rates, view, demand = self._occupancy.rates, self._occupancy.view, claim.demand
        size = float((view.compute.total * (view.usable & view.open[:, None])).sum())
        wanted = self._reserved[claim.project_id] + demand.count * demand.compute
        if not same.any() or wanted + rates.get(claim.project_id, 0) > size * self._part(
            claim.project_id
        ):
            return found
        for project in rates.keys() - {claim.project_id}:
            if self._had(project) < self._had(claim.project_id):
                continue
            beyond = rates[project] + self._reserved[project] - size * self._part(project)
            theirs = np.flatnonzero(same & (self._claims["project"] == self._occupancy.project(project)))
            ordered = np.array(self._by_cost(theirs.tolist()), dtype=np.int64)
            given = self._claims["rate"][ordered]
            found[ordered[given.cumsum() - given < beyond]] = True
        return found

    def _part(self, project_id: str) -> float:
        return self._shares.part(project_id, self._projects)

    def _had(self, project_id: str) -> float:
        return self._shares.standing(project_id, self._now, 0)

    def _by_cost(self, numbers: Iterable[int]) -> list[int]:
        """Return claims from the cheapest on, equal ones by id."""
        return sorted(numbers, key=lambda number: (self._lost[number], self._occupancy.name(number)))

    def _cheapest(self, kind: Kind, allowed: Flags, without: PoolView) -> list[int]:
        """Return ``allowed`` claims that leave room, as all together do; the last may stay sooner."""
        if kind.demand.sharing_mode != SharingMode.SHARED:
            return self._cheapest_parts(kind, allowed, without)
        costs = self._victim_costs.costs(self.view, kind.demand, allowed)
        if kind.demand.count == 1:
            near = np.argsort(np.where(costs > 0, costs, TOO_DEAR), axis=None, kind="stable")
            for at in near[:_CLOSELY].tolist():
                place = divmod(at, costs.shape[1])
                if 0 < costs[place] < TOO_DEAR:
                    one = {place: (kind.demand.compute, kind.demand.memory_mib)}
                    costs[place] = _single(self._costs(self._cover(kind.demand, one, allowed)))
        planned = _planned(without, kind, costs)
        return self._by_cost(self._cover(kind.demand, needs(self.view, kind.demand, planned), allowed))

    def _cheapest_parts(self, kind: Kind, allowed: Flags, without: PoolView) -> list[int]:
        """Return the same for devices that are not cut freely, where it counts what lies where."""
        demand = kind.demand
        victims = cheapest(self.view, demand, self._occupancy, allowed, self._costs)
        costs = np.where(filters.slots(self.view, demand) > 0, 0.0, TOO_DEAR)
        for place, numbers in victims.items():
            costs[place] = _single(self._costs(numbers))
        wanted = needs(self.view, demand, _planned(without, kind, costs))
        programs = {place: amounts for place, amounts in wanted.items() if place[1] < 0}
        first = set(self._cover(demand, programs, allowed))
        first.update(*(victims[place] for place in wanted if place in victims))
        # All others on these devices too, until it is seen which of them can stay.
        rows = self._occupancy.on(wanted.keys() - programs.keys()) & self._occupancy.of_numbers(allowed)
        others = set(self._occupancy.rows["claim"][rows].tolist()) - first
        return [*self._by_cost(first), *self._by_cost(others)]

    def _costs(self, numbers: Collection[int]) -> Cost:
        return sum(float(self._lost[number]) for number in numbers), len(numbers)

    def _cover(self, demand: Demand, wanted: dict[Place, tuple[int, int]], allowed: Flags) -> list[int]:
        """Return the cheapest of the ``allowed`` that leave ``wanted`` free, all if none do."""
        short = self._victim_costs.shortage(self.view, demand, wanted)
        gains = self._victim_costs.gains(list(short), allowed)
        touching = self._by_cost(number for number, gain in gains.items() if any(gain))
        chosen = cheapest_cover(
            list(short.values()),
            [gains[number] for number in touching],
            [self._costs([number]) for number in touching],
        )
        return [touching[number] for number in chosen]

    def _needed(self, kind: Kind, numbers: Sequence[int]) -> list[int]:
        """Return the claims less those not needed for room anywhere, from the last; take them away."""
        left = list(numbers)
        for number in left:
            claim = self._running(number)
            self.view.give(claim.demand, claim.plan)
        for number in left[::-1]:
            claim = self._running(number)
            self.view.take(claim.demand, claim.plan)
            if find(self.view, kind, self._policy) is None:
                self.view.give(claim.demand, claim.plan)
            else:
                left.remove(number)
        return left


def _planned(without: PoolView, kind: Kind, costs: Floats) -> Plan:
    """Return the cheapest place in the pool without all claims that may make room."""
    planned = find(without, kind, DeviceCosts(costs))
    if planned is None:
        raise RuntimeError("no room where there was room")
    return planned


def _single(cost: Cost) -> float:
    """Return a cost as one number: among those that lose the same work the fewest count."""
    return cost[0] + cost[1] / 1000


def cheapest_cover(
    short: Sequence[int], gains: Sequence[Sequence[int]], costs: Sequence[Cost]
) -> list[int]:
    """Return which sets of ``gains`` add up to ``short`` in every part at the lowest cost.

    The number of each is returned, in order. All, if all do not suffice. After many steps of looking
    the best set found so far has to do; leaving out the dearest first is the first one looked at.
    """
    order = sorted(range(len(gains)), key=lambda number: (costs[number], number), reverse=True)
    spare = tuple(sum(gain[row] for gain in gains) - wanted for row, wanted in enumerate(short))
    if min(spare, default=0) < 0:
        return list(range(len(gains)))
    best: tuple[Cost, list[int]] | None = None
    stack: list[tuple[int, tuple[int, ...], Cost, list[int]]] = [(0, spare, (0.0, 0), [])]
    for _ in range(max(_SETS, 2 * len(gains) + 1)):
        if not stack:
            break
        at, left, cost, chosen = stack.pop()
        if best is not None and cost >= best[0]:
            continue
        if at == len(order):
            best = cost, chosen
            continue
        number = order[at]
        more = cost[0] + costs[number][0], cost[1] + costs[number][1]
        stack.append((at + 1, left, more, [*chosen, number]))
        without = tuple(part - gain for part, gain in zip(left, gains[number], strict=True))
        if min(without, default=0) >= 0:
            stack.append((at + 1, without, cost, chosen))
    return sorted(best[1] if best is not None else range(len(gains)))
