"""Defragmentation: which vGPUs should be on other devices, so that less of what is free is of no use.

Only devices change, never the host of a program: where the view and the claim allow no devices of other
hosts, vGPUs move between the devices of one host.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpupool.allocator import filters
from gpupool.allocator.claims import Running
from gpupool.allocator.demand import Demand
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import place
from gpupool.allocator.policies import FragmentationGradientDescent
from gpupool.allocator.policy import Policy
from gpupool.allocator.ranking import ranking
from gpupool.allocator.view import Place, PoolView
from gpupool.model.claim import Layout
from gpupool.model.device import SharingMode

# vGPUs that are tried to make room for one claim: the smallest first, which are the easiest to move.
_TRIED = 64
# Percent of a device: what gains less is not worth stopping a program for.
LEAST_GAIN = 1.0


@dataclass(frozen=True, kw_only=True)
class Move:
    """One vGPU and the device it should be on, both devices by id.

    ``gain`` is how much more of what is free the mix can use then, in percent of a device, or how
    much room it makes for a claim; ``cost_mib`` is what has to be copied at most.
    """

    claim_id: str
    index: int
    source: str
    target: str
    gain: float
    cost_mib: int


def moves(
    view: PoolView, running: Iterable[Running], measure: FragmentationGradientDescent, limit: int
) -> list[Move]:
    """Return up to ``limit`` moves, to be made in this order; no vGPU moves twice.

    Each gains ``LEAST_GAIN`` or more. The view is left as it is.
    """
    trial = view.fork()
    known = {claim.claim_id: claim for claim in running if _movable(claim)}
    first = [
        (gain, claim_id, index)
        for claim_id in sorted(known)
        for index in range(len(known[claim_id].plan.device_ids))
        if (gain := _promise(trial, known[claim_id], index, measure)) > 0
    ]
    found: list[Move] = []
    for _, claim_id, index in sorted(first, key=lambda one: (-one[0], *one[1:])):
        if len(found) >= limit:
            break
        before = measure.fragmentation(trial)
        move = _elsewhere(trial, known[claim_id], index, measure, may_stay=True)
        if move is None:
            continue
        after = apply(trial, known[claim_id], move)
        gain = before - measure.fragmentation(trial)
        if gain < LEAST_GAIN:
            apply(trial, after, replace(move, source=move.target, target=move.source))
            continue
        known[claim_id] = after
        found.append(replace(move, gain=gain))
    return found


def make_room(view: PoolView, running: Iterable[Running], demand: Demand, policy: Policy) -> Move | None:
    """Return a move after which there is room for one vGPU that has none now, or None.

    The view is left as it is.
    """
    if demand.count != 1 or demand.sharing_mode != SharingMode.SHARED:
        return None
    for claim, index in _in_the_way(view, running, demand):
        move = _elsewhere(view, claim, index, policy, may_stay=False)
        if move is None:
            continue
        after = apply(view, claim, move)
        fits = place(view, demand, policy) is not None
        apply(view, after, replace(move, source=move.target, target=move.source))
        if fits:
            return replace(move, gain=float(demand.compute))
    return None


def apply(view: PoolView, claim: Running, move: Move) -> Running:
    """Make ``move`` in ``view``, and return the claim with its new plan."""
    shares = list(claim.plan.shares)
    shares[move.index] = shares[move.index]._replace(device_id=move.target)
    hosts = [view.hosts[view.device_index[share.device_id][0]] for share in shares]
    remote = sum(host != claim.plan.host for host in hosts)
    planned = replace(claim.plan, shares=tuple(shares), remote=remote)
    view.give(claim.demand, claim.plan)
    view.take(claim.demand, planned)
    return replace(claim, plan=planned)


def _movable(claim: Running) -> bool:
    demand = claim.demand
    wishes = demand.same_host, demand.same_type, demand.linked, demand.layout == Layout.PACK
    together = demand.count > 1 and any(wishes)
    return not claim.leaving and demand.sharing_mode == SharingMode.SHARED and not together


def _one(view: PoolView, claim: Running, index: int) -> Demand:
    """Return what one vGPU of a claim asks for, without the claim's program."""
    alone = replace(claim.demand, count=1, cpu_milli=0, host_memory_mib=0)
    # One that is spread keeps its hosts, so that they do not become fewer.
    if filters.may_spread(view, claim.demand) and claim.demand.layout != Layout.SPREAD:
        return alone
    host, _ = view.device_index[claim.plan.device_ids[index]]
    return replace(alone, host=view.hosts[host])


def _elsewhere(
    view: PoolView, claim: Running, index: int, policy: Policy, *, may_stay: bool
) -> Move | None:
    """Return the move of a vGPU to the cheapest device that its claim does not have, None without one.

    None, too, where it ``may_stay`` and no other device is cheaper than its own.
    """
    one, source = _one(view, claim, index), claim.plan.device_ids[index]
    closed = {*claim.plan.device_ids} - ({source} if may_stay else set())
    closed -= {each for each in closed if view.held[view.device_index[each]]}
    alone = Plan(host=None, shares=one.shares([source]))
    view.give(one, alone)
    view.hold(closed)
    ranked = ranking(view, one, policy, program=False)
    host = ranked.best()
    target = source if host is None else view.device_id((host, int(ranked.slot[host])))
    view.hold(closed, held=False)
    view.take(one, alone)
    if target == source:
        return None
    return Move(
        claim_id=claim.claim_id,
        index=index,
        source=source,
        target=target,
        gain=0.0,
        cost_mib=claim.demand.memory_mib,
    )


def _promise(view: PoolView, claim: Running, index: int, measure: FragmentationGradientDescent) -> float:
    """Return how much cheaper the best place of a vGPU is than the one it has."""
    one, source = _one(view, claim, index), claim.plan.device_ids[index]
    place_now = view.device_index[source]
    alone = Plan(host=None, shares=one.shares([source]))
    view.give(one, alone)
    ranked = ranking(view, one, measure, program=False)
    host = ranked.best()
    here = measure.device_cost(view, one, np.array([place_now[0]]), program=False)[0, place_now[1]]
    prices = measure.prices(view, one)
    here += 0.0 if prices is None else prices[view.device_class[place_now]]
    best = here if host is None else ranked.cost[host]
    view.take(one, alone)
    return float(here - best)


def _in_the_way(
    view: PoolView, running: Iterable[Running], demand: Demand
) -> Sequence[tuple[Running, int]]:
    """Return vGPUs without which their device would have room for ``demand``, smallest first."""
    suited = filters.suited(view, demand)
    if not filters.may_spread(view, demand):
        suited = suited & filters.programs(view, demand)[:, None]
    short = demand.compute - view.compute.left(demand.qos)
    missing = demand.memory_mib - view.memory.left(demand.qos)
    largest = int(view.compute.left(demand.qos).max(initial=0))

    def fits(claim: Running, at: Place) -> bool:
        size = claim.demand
        enough = size.compute >= short[at] and size.memory_mib >= missing[at]
        return bool(suited[at] and enough and size.compute <= largest)

    found = [
        (claim, index)
        for claim, index, at in _places(view, running)
        if claim.demand.compute < demand.compute and fits(claim, at)
    ]
    found.sort(key=lambda one: (one[0].demand.compute, one[0].claim_id, one[1]))
    return found[:_TRIED]


def _places(view: PoolView, running: Iterable[Running]) -> Iterator[tuple[Running, int, Place]]:
    for claim in running:
        if _movable(claim):
            for index, device_id in enumerate(claim.plan.device_ids):
                yield claim, index, view.device_index[device_id]
