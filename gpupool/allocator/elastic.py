"""Elastic claims: which of them may have more vGPUs than now, and where these go.

An elastic claim waits for the minimum it needs and has a place from then on. Every vGPU beyond that is a
running claim of its own to the queue: one that loses nothing when it goes while no session uses it, that
any claim of its claim's priority may take the place of, and that has its claim's project, end and
minimum run time. So shrinking is preemption, of these first, and all that holds for that holds for it.
"""

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from gpupool.allocator import filters
from gpupool.allocator.claims import Running
from gpupool.allocator.decisions import Decided, Grow, Start
from gpupool.allocator.demand import Demand
from gpupool.allocator.order import Kind
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import place
from gpupool.allocator.policy import Policy
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout


def one_of(demand: Demand) -> Demand:
    """Return what one vGPU of a claim of ``demand`` takes, without its program."""
    return replace(demand, count=1, cpu_milli=0, host_memory_mib=0)


def beyond(claim: Running, name: str, plan: Plan, bound_at: float, loses: float | None = 0.0) -> Running:
    """Return a vGPU that ``claim`` has beyond its minimum, as a claim called ``name``.

    ``loses`` is as on Running: nothing to speak of unless a session uses it.
    """
    return Running(
        claim_id=name,
        project_id=claim.project_id,
        demand=one_of(claim.demand),
        plan=plan,
        priority=claim.priority - 1,
        bound_at=bound_at,
        ends_at=claim.ends_at,
        preemptible=True,
        loses=loses,
    )


@dataclass
class _Elastic:
    """A claim with its minimum, and what it has beyond it by name; the kinds of vGPU it looked for."""

    claim: Running
    beyond: dict[str, Running]
    kinds: dict[Demand, Kind]

    def device_ids(self) -> tuple[str, ...]:
        more = (each.plan.device_ids for each in self.beyond.values() if not each.leaving)
        return (*self.claim.plan.device_ids, *(device_id for ids in more for device_id in ids))

    def may_grow(self) -> bool:
        """Return whether it may have more; not while something of it leaves, which others wait for."""
        most = self.claim.max_count
        if most is None or any(each.leaving for each in (self.claim, *self.beyond.values())):
            return False
        return len(self.device_ids()) < most

    def leave(self, names: Collection[str]) -> None:
        if self.claim.claim_id in names:
            self.claim = replace(self.claim, leaving=True)
        for name in self.beyond.keys() & names:
            self.beyond[name] = replace(self.beyond[name], leaving=True)


class Elastic:
    """The elastic claims that have a place in one pool."""

    def __init__(self) -> None:
        self._claims: dict[str, _Elastic] = {}
        self._numbers = itertools.count()

    def put(self, claim: Running, more: Iterable[Running]) -> None:
        """Add or change an elastic claim; ``more`` is what it has beyond its minimum."""
        self._claims[claim.claim_id] = _Elastic(claim, {each.claim_id: each for each in more}, {})

    def beyond(self, claim_id: str) -> list[Running]:
        """Return what a claim has beyond its minimum; nothing for one that is not here."""
        known = self._claims.get(claim_id)
        return list(known.beyond.values()) if known else []

    def remove(self, claim_id: str) -> list[str]:
        """Remove a claim, if it is here; return the names of what it has beyond its minimum."""
        known = self._claims.pop(claim_id, None)
        return list(known.beyond) if known else []

    def ids(self) -> list[str]:
        """Return the claims that are here."""
        return list(self._claims)

    def leave(self, names: Collection[str]) -> None:
        """Note that claims, or what they have beyond their minimum, are being taken apart."""
        for one in self._claims.values():
            one.leave(set(names))

    def may_grow(self) -> bool:
        """Return whether any may have more than now."""
        return any(each.may_grow() for each in self._claims.values())

    def grow(
        self,
        view: PoolView,
        policy: Policy,
        standing: Callable[[str], float],
        full: set[Kind],
        now: float,
    ) -> Iterator[tuple[str, Running]]:
        """Yield vGPUs that claims get now, each with the claim's id, after taking it out of the view.

        One at a time: the highest priority, then the project that has had least of its part, then the
        claim that has run for longest. The caller counts each before it asks for the next. Kinds that
        found no room are added to ``full``, and those that are there already have none.
        """
        turns = [self._turn(each, standing) for each in self._claims.values() if each.may_grow()]
        heapq.heapify(turns)
        while turns:
            claim_id = heapq.heappop(turns)[-1]
            one = self._claims[claim_id]
            planned = _one_more(view, one, policy, full)
            if planned is None:
                continue
            name = f"{claim_id}+{next(self._numbers)}"
            found = one.beyond[name] = beyond(one.claim, name, planned, now)
            view.take(found.demand, planned)
            yield claim_id, found
            if one.may_grow():
                heapq.heappush(turns, self._turn(one, standing))

    @staticmethod
    def _turn(one: _Elastic, standing: Callable[[str], float]) -> tuple[float, float, float, str]:
        claim = one.claim
        return -claim.priority, standing(claim.project_id), claim.bound_at, claim.claim_id


def with_growth(decided: Iterable[Decided], plans: dict[str, list[Plan]]) -> list[Decided]:
    """Return decisions in which claims get more vGPUs, by claim; one that starts does so with them."""
    found = [
        replace(each, plan=joined([each.plan, *plans.pop(each.claim_id)]))
        if isinstance(each, Start) and each.claim_id in plans
        else each
        for each in decided
    ]
    return found + [Grow(claim_id=claim_id, plan=joined(each)) for claim_id, each in plans.items()]


def joined(plans: Iterable[Plan]) -> Plan:
    """Return one plan of several of the same claim, of which the first says where the program is."""
    each = list(plans)
    return Plan(
        host=each[0].host,
        shares=tuple(share for one in each for share in one.shares),
        remote=sum(one.remote for one in each),
    )


def roomiest(
    view: PoolView,
    demand: Demand,
    most: int,
    planned: Plan,
    search: Callable[[Demand], Plan | None],
) -> Plan:
    """Return a place for the minimum of a claim, where it may grow most; ``planned`` is one.

    ``search`` finds a place for a demand. Larger numbers are looked at in halves, so that it is few.
    """
    if filters.may_spread(view, demand):
        return planned
    best, low, high = planned, demand.count, most
    while low < high:
        middle = high if high == most else (low + high + 1) // 2
        found = search(replace(demand, count=middle))
        if found is None:
            high = middle - 1
        else:
            best, low = found, middle
    return replace(best, shares=best.shares[: demand.count])


def _one_more(view: PoolView, one: _Elastic, policy: Policy, full: set[Kind]) -> Plan | None:
    for demand in _demands(view, one):
        kind = one.kinds.setdefault(demand, Kind(demand))
        if kind in full:
            continue
        found = place(view, demand, policy)
        if found is not None:
            one.kinds.clear()
            return found
        full.add(kind)
    return None


def _demands(view: PoolView, one: _Elastic) -> Iterator[Demand]:
    """Yield what is looked for, in order: as the layout says, then wherever there is room."""
    claim, had = one.claim, one.device_ids()
    demand = replace(one_of(claim.demand), products=_products(view, claim.demand, had))
    if filters.may_spread(view, claim.demand):
        yield demand
        return
    near = replace(demand, host=claim.plan.host)
    allowed = _beside(view, claim, demand.devices)
    used = set(had)
    first = [each for each in allowed if (each in used) == (claim.demand.layout == Layout.PACK)]
    for devices in (first, allowed):
        if devices:
            yield replace(near, devices=tuple(devices))


def _products(view: PoolView, demand: Demand, had: Iterable[str]) -> tuple[str, ...]:
    """Return which products one more device may be of: the same where all are to be of one type."""
    known = [view.device_index[each] for each in had if each in view.device_index]
    if not demand.same_type or not known:
        return demand.products
    return (view.classes[int(view.device_class[known[0]])].product,)


def _beside(view: PoolView, claim: Running, named: tuple[str, ...]) -> list[str]:
    """Return the devices of the program's host that one more vGPU may be on, and links allow."""
    host = view.host_index.get(claim.plan.host or "")
    if host is None:
        return []
    there = view.exists[host].copy()
    places = [view.device_index.get(each) for each in claim.plan.device_ids]
    if claim.demand.linked:
        links = {int(view.link[at]) for at in places if at is not None} - {-1}
        there &= np.isin(view.link[host], sorted(links))
    found = [view.device_id((host, int(slot))) for slot in np.flatnonzero(there)]
    return [each for each in found if not named or each in named]
