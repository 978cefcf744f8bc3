"""Gangs, the several vGPUs of one claim, on one host: how they lie there, and what that costs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpupool.allocator import grouping
from gpupool.allocator.arrays import across, rows
from gpupool.allocator.demand import Demand
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.gathering import devices
from gpupool.allocator.layouts import NEVER, pack, share_out
from gpupool.allocator.policy import Policy
from gpupool.allocator.view import Amounts, PoolView
from gpupool.model.claim import Layout

# More than any policy's cost of a host.
_ALONE = 1e6


@dataclass(frozen=True)
class Fit:
    """Hosts that can take a demand: their indexes, how many vGPUs each slot can take, what one costs."""

    hosts: Amounts
    room: Amounts
    cost: Floats
    program: bool


def fits(view: PoolView, demand: Demand, policy: Policy, hosts: Amounts, program: bool) -> Iterator[Fit]:
    """Yield those of ``hosts`` that can take a gang on the first devices it may mix, then others."""
    every = devices(view, demand, policy)
    for group in grouping.on_hosts(view, demand, rows(every.room(view), hosts), hosts):
        which = np.flatnonzero(across(group) >= demand.count)
        if len(which):
            chosen, room = hosts.take(which), rows(group, which)
            cost = np.where(room > 0, rows(every.cost(view, program), chosen), NEVER)
            yield Fit(chosen, room, cost, program)


def may_fit(view: PoolView, demand: Demand, policy: Policy) -> bool:
    """Return whether some host has room for a whole gang, of whatever groups and beside no program."""
    of_host = devices(view, demand, policy).vgpus(view)
    return int(of_host.max(initial=0)) >= demand.count


def laid_out(demand: Demand, fit: Fit) -> Amounts:
    """Return how many of several vGPUs each slot gets on each host."""
    if demand.layout == Layout.PACK:
        return pack(fit.room, fit.cost, demand.count)
    return share_out(fit.room, np.argsort(fit.cost, axis=1, kind="stable"), demand.count)


def gang_cost(view: PoolView, demand: Demand, policy: Policy, fit: Fit, taken: Amounts) -> Floats:
    """Return what several vGPUs cost on each host, ``taken`` as they are laid out there.

    Hosts where more of them get a device of their own come first; where the layout is to pack, those
    where fewer devices hold them all.
    """
    total = policy.host_cost(view, demand, fit.hosts, taken, fit.program)
    devices = across(taken > 0)
    return total + _ALONE * (devices if demand.layout == Layout.PACK else demand.count - devices)
