"""Preemption: which running claims make room for one that finds none, at the lowest cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gpupool.allocator.claims import Running, Waiting
from gpupool.allocator.costs import DeviceCosts
from gpupool.allocator.demand import Demand
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.order import Kind, kind_of
from gpupool.allocator.plan import Plan
from gpupool.allocator.policy import Policy
from gpupool.allocator.reservation import Reservation, find, needs
from gpupool.allocator.view import Place, PoolView
from gpupool.model.claim import Qos

# A place, what is short there (0: compute, 1: memory), and whether of what is guaranteed.
_Row = tuple[Place, int, bool]
# Percent of a device times seconds, and how many claims: the lowest is the cheapest.
Cost = tuple[float, int]
# So many claims are looked at first; and so many sets on one device before the best of them has to do.
_FEW = 64
_SETS = 2000


@dataclass(frozen=True)
class Victims:
    """Claims to take apart, and the place that they leave."""

    claim_ids: tuple[str, ...]
    plan: Plan


class Preemption:
    """What preemption decides with in one pass, at ``now`` in seconds.

    ``projects`` are all that run or wait; they share the pool. Claims that ran less than
    ``min_run_time`` seconds are left alone.
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
    ) -> None:
        self._occupancy, self._shares, self._policy = occupancy, shares, policy
        self._projects, self._now = sorted(projects), now
        self._has: dict[str, dict[Place, tuple[int, int]]] = {}
        self._ripe = [
            claim
            for claim in occupancy
            if claim.preemptible and not claim.leaving and now - claim.bound_at >= min_run_time
        ]
        self._ripe.sort(key=lambda claim: (self._lost(claim), claim.claim_id))

    def legal(self, claim: Waiting, before: Sequence[Reservation]) -> list[Running]:
        """Return the claims that may be taken apart for ``claim``, from the cheapest on.

        These are preemptible ones that have run long enough: all of lower priority, and so many of its
        own priority as projects have beyond their part of the pool, if the claim's project stays
        within its own part. ``before`` are reservations that go before the claim.
        """
        alive = [
            each for each in self._ripe if each.claim_id in self._occupancy and not self._left(each)
        ]
        lower = [each for each in alive if each.priority < claim.priority]
        same = [each for each in alive if each.priority == claim.priority]
        if not same:
            return lower
        reserved = sum(each.rate for each in before if each.project_id == claim.project_id)
        given_back = self._borrowed(claim, same, reserved)
        return sorted(lower + given_back, key=lambda each: (self._lost(each), each.claim_id))

    def victims(self, claim: Waiting, before: Sequence[Reservation]) -> Victims | None:
        """Return the cheapest legal claims to take apart so that there is room for ``claim``, or None.

        Cheapest is: the highest priority among them as low as can be, then the least work lost
        (percent of a device times seconds run), then the fewest. So it is for a claim of one vGPU, as
        far as its device decides; for others it is near that. None of them could be left out. None,
        too, where claims that are leaving already leave enough.
        """
        kind, legal = kind_of(claim), self.legal(claim, before)
        if not legal or self._find(kind, [], before) is not None:
            return None
        priority = self._priority(kind, legal, before)
        if priority is None:
            return None
        allowed = [each for each in legal if each.priority <= priority]
        few = min(_FEW, len(allowed))
        while self._find(kind, allowed[:few], before) is None:
            few = min(few * 2, len(allowed))
        best = self._cheapest(kind, allowed[:few], before)
        # Every claim of a cheaper set is cheaper than this set.
        most = sum(self._lost(each) for each in best)
        more = sum(self._lost(each) <= most for each in allowed)
        if few < more:
            other = self._cheapest(kind, allowed[: min(more, few * 8)], before)
            best = min(best, other, key=self._cost)
        return self._done(kind, best, before)

    def _left(self, claim: Running) -> bool:
        known = self._occupancy.get(claim.claim_id)
        return known is None or known.leaving

    def _lost(self, claim: Running) -> float:
        return claim.rate * max(self._now - claim.bound_at, 0.0)

    def _cost(self, claims: Sequence[Running]) -> Cost:
        return sum(self._lost(claim) for claim in claims), len(claims)

    def _borrowed(self, claim: Waiting, same: list[Running], reserved: int) -> list[Running]:
        """Return as many of ``same`` as their projects have beyond their parts."""
        view, rates = self._occupancy.view, self._occupancy.rates
        size = float((view.compute.total * (view.usable & view.up[:, None])).sum())
        demand = claim.demand
        wanted = rates.get(claim.project_id, 0) + reserved + demand.count * demand.compute
        if wanted > size * self._shares.part(claim.project_id, self._projects):
            return []
        beyond = {
            project: rates.get(project, 0) - size * self._shares.part(project, self._projects)
            for project in {each.project_id for each in same} - {claim.project_id}
        }
        found = []
        for each in same:
            if beyond.get(each.project_id, 0.0) > 0:
                beyond[each.project_id] -= each.rate
                found.append(each)
        return found

    def _view(self, claims: Iterable[Running], before: Sequence[Reservation]) -> PoolView:
        """Return the view without ``claims`` and those that are leaving, with what is reserved taken."""
        rows = self._occupancy.until(-np.inf) | self._occupancy.of(each.claim_id for each in claims)
        view = self._occupancy.without(rows)
        for each in before:
            view.take(each.demand, each.plan)
        return view

    def _find(self, kind: Kind, claims: Iterable[Running], before: Sequence[Reservation]) -> Plan | None:
        return find(self._view(claims, before), kind, self._policy)

    def _priority(
        self, kind: Kind, legal: Sequence[Running], before: Sequence[Reservation]
    ) -> int | None:
        """Return the lowest priority so that the claims up to it leave room, None if all leave none."""
        priorities = sorted({each.priority for each in legal})
        low, high = 0, len(priorities)
        while low < high:
            middle = (low + high) // 2
            up_to = [each for each in legal if each.priority <= priorities[middle]]
            if self._find(kind, up_to, before) is None:
                low = middle + 1
            else:
                high = middle
        return priorities[low] if low < len(priorities) else None

    def _cheapest(
        self, kind: Kind, claims: Sequence[Running], before: Sequence[Reservation]
    ) -> list[Running]:
        """Return the cheapest of ``claims`` that leave room, which all of them together do."""
        full = self._view([], before)
        costs = DeviceCosts(self._device_costs(full, kind[0], claims))
        planned = find(self._view(claims, before), kind, costs)
        if planned is None:
            raise RuntimeError("no room where there was room")
        chosen = self._cover(full, kind[0], needs(full, kind[0], planned), claims)
        return self._needed(kind, chosen, before)

    def _needed(
        self, kind: Kind, claims: Sequence[Running], before: Sequence[Reservation]
    ) -> list[Running]:
        """Return ``claims`` without those that are not needed for room anywhere, dearest first."""
        left = list(claims)
        for each in sorted(claims, key=lambda claim: (-self._lost(claim), claim.claim_id)):
            others = [other for other in left if other is not each]
            if self._find(kind, others, before) is not None:
                left = others
        return left

    def _device_costs(self, view: PoolView, demand: Demand, claims: Sequence[Running]) -> Floats:
        """Return what it costs to have room for one vGPU on each device, as far as ``claims`` tell."""
        found = np.zeros(view.exists.shape)
        on_device: dict[Place, list[Running]] = {}
        for claim in claims:
            places = {view.device_index.get(each) for each in claim.plan.device_ids}
            for place in sorted(at for at in places if at is not None):
                on_device.setdefault(place, []).append(claim)
        for place, there in on_device.items():
            one = {place: (demand.compute, demand.memory_mib)}
            lost, number = self._cost(self._cover(view, demand, one, there))
            found[place] = lost + number / 1000
            if demand.count > 1:
                # What is taken apart as a whole frees devices for the other vGPUs too.
                widest = max(len(set(claim.plan.device_ids)) for claim in there)
                found[place] /= min(widest, demand.count)
        return found

    def _cover(
        self,
        view: PoolView,
        demand: Demand,
        wanted: dict[Place, tuple[int, int]],
        claims: Sequence[Running],
    ) -> list[Running]:
        """Return the cheapest of ``claims`` that leave ``wanted`` free, all if that is not enough."""
        short = _shortage(view, demand, wanted)
        if not short:
            return []
        gains = {claim.claim_id: self._gains(claim, short) for claim in claims}
        touching = [claim for claim in claims if any(gains[claim.claim_id])]
        chosen = cheapest_cover(
            list(short.values()),
            [gains[claim.claim_id] for claim in touching],
            [self._cost([claim]) for claim in touching],
        )
        return [touching[number] for number in chosen]

    def _gains(self, claim: Running, short: Iterable[_Row]) -> list[int]:
        """Return how much of each shortage is gone when the claim is."""
        has = self._has.get(claim.claim_id)
        if has is None:
            has = self._occupancy.amounts(self._occupancy.of([claim.claim_id]))
            self._has[claim.claim_id] = has
        counts = claim.demand.qos == Qos.GUARANTEED
        return [
            has.get(place, (0, 0))[part] if counts or not guaranteed else 0
            for place, part, guaranteed in short
        ]

    def _done(
        self, kind: Kind, claims: Sequence[Running], before: Sequence[Reservation]
    ) -> Victims | None:
        planned = self._find(kind, claims, before)
        if planned is None:
            return None
        return Victims(tuple(sorted(each.claim_id for each in claims)), planned)


def cheapest_cover(
    short: Sequence[int], gains: Sequence[Sequence[int]], costs: Sequence[Cost]
) -> list[int]:
    """Return which sets of ``gains`` add up to ``short`` in every part at the lowest cost.

    The number of each is returned, in order. All, if all do not suffice. After many steps of looking
    the best set found so far has to do; leaving out the dearest first is the first one looked at.
    """
    order = sorted(range(len(gains)), key=lambda number: (costs[number], number), reverse=True)
    spare = tuple(sum(gain[row] for gain in gains) - wanted for row, wanted in enumerate(short))
    if min(spare) < 0:
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
        if min(without) >= 0:
            stack.append((at + 1, without, cost, chosen))
    return sorted(best[1] if best is not None else range(len(gains)))


def _shortage(view: PoolView, demand: Demand, wanted: dict[Place, tuple[int, int]]) -> dict[_Row, int]:
    """Return what is missing of ``wanted`` at places (host's CPU and memory in slot -1)."""
    found: dict[_Row, int] = {}
    for place, amounts in wanted.items():
        host, slot = place
        if slot < 0:
            free = int(view.cpu_free[host]), int(view.host_memory_free[host])
            rows = {(place, part, False): amounts[part] - free[part] for part in (0, 1)}
        else:
            rows = {}
            for part, shares in enumerate((view.compute, view.memory)):
                left = int(shares.limit[place] - shares.granted[place])
                rows[place, part, False] = amounts[part] - left
                if demand.qos == Qos.GUARANTEED:
                    left = int(shares.total[place] - shares.guaranteed[place])
                    rows[place, part, True] = amounts[part] - left
        # A claim that asks for none of it does not care how little there is.
        found |= {row: missing for row, missing in rows.items() if missing > 0 and amounts[row[1]]}
    return found
