"""Planning: finds where the vGPUs of a claim and its program go, or why there is no room."""

from dataclasses import dataclass, replace

import numpy as np

from gpupool.allocator import filters, geometry, layouts, shortage
from gpupool.allocator.demand import Demand
from gpupool.allocator.filters import Counts
from gpupool.allocator.gangs import fits, gang_cost, laid_out, may_fit
from gpupool.allocator.gathering import gathered
from gpupool.allocator.plan import Plan
from gpupool.allocator.policy import Policy
from gpupool.allocator.ranking import ranking
from gpupool.allocator.view import Place, PoolView
from gpupool.model.claim import Layout
from gpupool.model.reason import Reason


@dataclass(frozen=True, kw_only=True)
class NoRoom:
    """Why a claim has no place.

    ``reason`` says so to the one who asked for it (see ``shortage``), and to operators which filters
    left how many devices and which hosts are closed. ``filters`` are what devices (hosts, for a claim
    without vGPUs) had to pass, in order, each with how many were left after it. ``impossible`` when
    the pool could not hold the claim even empty, with every device and host in order; reason and
    filters then are about that empty pool. A pool without devices is never impossible.
    """

    reason: Reason
    impossible: bool
    filters: Counts


def plan(view: PoolView, demand: Demand, policy: Policy) -> Plan | NoRoom:
    """Return places for all ``demand.count`` vGPUs and for the program, or NoRoom.

    Everything is on one host where that is possible; else, where the view and the claim allow it,
    devices may be of several hosts and of others than the program's. vGPUs go to different devices
    where there are enough that fit, else they share. Where the layout is to pack they are on the fewest
    hosts, and there on the fewest devices; where it is to spread on as many devices as there are, and
    those on as many hosts as the view and the claim allow. The same view and demand give the same plan.
    """
    return place(view, demand, policy) or no_room(view, demand)


def place(view: PoolView, demand: Demand, policy: Policy) -> Plan | None:
    """Return the plan, or None: ``plan`` without the reason, which costs more than most plans."""
    if demand.count == 0:
        host = ranking(view, demand, policy, program=True).best()
        return None if host is None else Plan(host=view.hosts[host], shares=())
    anywhere = filters.may_spread(view, demand)
    if anywhere and demand.count > 1 and demand.layout == Layout.SPREAD:
        chosen = None
    else:
        chosen = _on_one_host(view, demand, policy)
    if chosen is None and anywhere:
        chosen = _anywhere(view, demand, policy)
    return None if chosen is None else _plan(view, demand, *chosen)


def no_room(view: PoolView, demand: Demand) -> NoRoom:
    """Return why ``demand`` has no place in ``view``, where it has none."""
    possible = filters.ever(view, demand)
    impossible = not possible and len(view) > 0
    counts = filters.counts(view, demand, empty=impossible)
    text = shortage.sentence(view, demand, counts, impossible)
    if impossible:
        text = f"the pool could not hold it even without other claims: {text}"
    detail = _detail(view, demand, counts, impossible)
    return NoRoom(reason=Reason(text, detail), impossible=impossible, filters=counts)


def _on_one_host(view: PoolView, demand: Demand, policy: Policy) -> tuple[int, list[Place]] | None:
    """Return the cheapest host for the whole claim and the places on it."""
    if demand.count > 1 and not may_fit(view, demand, policy):
        return None
    ranked = ranking(view, demand, policy, program=True)
    host = ranked.best()
    if host is None:
        return None
    if demand.count == 1:
        return host, [(host, int(ranked.slot[host]))]
    return host, _gang(view, demand, policy, host)


def _gang(view: PoolView, demand: Demand, policy: Policy, host: int) -> list[Place]:
    """Return the cheapest places on a host that has room for all."""
    laid = [
        (fit, laid_out(demand, fit))
        for fit in fits(view, demand, policy, np.array([host]), program=True)
    ]
    if len(laid) > 1:
        laid.sort(key=lambda each: float(gang_cost(view, demand, policy, *each)[0]))
    fit, taken = laid[0]
    slots = layouts.places(taken[0], np.argsort(fit.cost[0], kind="stable"))
    return [(host, slot) for slot in slots]


def _anywhere(view: PoolView, demand: Demand, policy: Policy) -> tuple[int, list[Place]] | None:
    """Return a host for the program and places of any hosts, the cheapest first."""
    if demand.count == 1:
        ranked = ranking(view, demand, policy, program=False)
        nearest = ranked.best()
        places = [] if nearest is None else [(nearest, int(ranked.slot[nearest]))]
    else:
        places = gathered(view, demand, policy)
    if not places:
        return None
    # With the program beside some of its devices fewer are remote.
    programs = filters.programs(view, demand)
    near = np.bincount([host for host, _ in places if programs[host]], minlength=1)
    if near.any():
        return int(near.argmax()), places
    alone = replace(demand, count=0, compute=0, memory_mib=0)
    host = ranking(view, alone, policy, program=True).best()
    return None if host is None else (host, places)


def _plan(view: PoolView, demand: Demand, host: int, places: list[Place]) -> Plan:
    return Plan(
        host=view.hosts[host],
        shares=geometry.cut(view, demand, places),
        remote=sum(place[0] != host for place in places),
    )


def _detail(view: PoolView, demand: Demand, found: Counts, impossible: bool) -> str:
    """Return for operators which filter left how many, up to none, and why hosts are closed."""
    ended = next((at for at, (_, left) in enumerate(found) if left == 0), len(found))
    steps = ", ".join(f"{left} after {name}" for name, left in found[: ended + 1])
    closed = "" if impossible else shortage.closed(view)
    among = f"{len(view)} devices" if demand.count else f"{len(view.hosts)} hosts"
    return f"{among} in the pool, {steps}{closed and '; '}{closed}"
