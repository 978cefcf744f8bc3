"""Rankings: what a demand would cost on each host, kept up to date instead of made anew.

A placement changes one host or a few, and demands come again and again; so of the thousands of costs
of a decision nearly all are known from the last one for an equal demand.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import cast

import numpy as np

from gpupool.allocator import filters
from gpupool.allocator.arrays import across, rows
from gpupool.allocator.demand import Demand
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.policy import Policy
from gpupool.allocator.view import Amounts, PoolView, Rows
from gpupool.model.claim import Layout
from gpupool.model.device import SharingMode

# Rankings kept at a time, those used last; each takes 16 bytes a host.
_KEPT = 512
NEVER = np.inf
# What to add to the cost of a place by how many vGPUs it has room for, none or some.
_NO_ROOM = np.array([NEVER, 0.0])
# More than any policy's cost of a host.
_ALONE = 1e6


class Ranking:
    """What a demand costs on each host: ``cost``, NEVER where it does not fit; ``slot`` for one vGPU.

    ``program``: with the claim's program on the same host; the devices alone otherwise.
    """

    def __init__(self, view: PoolView, demand: Demand, policy: Policy, program: bool) -> None:
        self._demand, self._policy, self._program = demand, policy, program
        self._basis: Hashable = None
        self._mark = -1
        self.cost = np.full(len(view.hosts), NEVER)
        self.slot = np.zeros(len(view.hosts), dtype=np.int64)

    def refresh(self, view: PoolView) -> None:
        """Rank those hosts again that have changed since, or all when costs mean something else now."""
        basis = self._policy.basis(view)
        changed, mark = view.changed_since(self._mark if basis == self._basis else -1)
        self._basis, self._mark = basis, mark
        if isinstance(changed, slice) or len(changed):
            self._rank(view, changed)

    def best(self) -> int | None:
        """Return the cheapest host, the first by name among equals; None when nothing fits."""
        if not len(self.cost):
            return None
        host = int(self.cost.argmin())
        return None if self.cost[host] == NEVER else host

    def _rank(self, view: PoolView, changed: Rows) -> None:
        self.cost[changed] = NEVER
        if not isinstance(changed, slice):
            self._rank_each(view, changed)
        elif not self._policy.alike or _is_choosy(self._demand):
            self._rank_each(view, np.arange(len(view.hosts)))
        else:
            # Of untouched hosts there may be thousands, but few kinds.
            twins = view.twins()
            self._rank_each(view, np.flatnonzero(twins == np.arange(len(twins))))
            self.cost, self.slot = self.cost.take(twins), self.slot.take(twins)

    def _rank_each(self, view: PoolView, hosts: Amounts) -> None:
        demand = self._demand
        if self._program:
            hosts = hosts[filters.programs(view, demand, hosts)]
        if demand.count == 0:
            nothing = np.zeros((len(hosts), view.slots), dtype=np.int64)
            self.cost[hosts] = self._policy.host_cost(view, demand, hosts, nothing, self._program)
            return
        room = filters.slots(view, demand, hosts)
        fits = np.flatnonzero(across(room) >= demand.count)
        if len(fits):
            self._rank_devices(view, hosts.take(fits), rows(room, fits))

    def _rank_devices(self, view: PoolView, hosts: Amounts, room: Amounts) -> None:
        cost = self._policy.device_cost(view, self._demand, hosts, self._program)
        cost = cost + _NO_ROOM.take(room, mode="clip")
        if self._demand.count == 1:
            slots = self.slot[hosts] = cost.argmin(axis=1)
            self.cost[hosts] = cost[np.arange(len(hosts)), slots]
        else:
            fit = Fit(hosts, room, cost, self._program)
            self.cost[hosts] = gang_cost(view, self._demand, self._policy, fit)[0]


def _is_choosy(demand: Demand) -> bool:
    """Return whether a demand may tell hosts apart that differ in nothing but names and parts."""
    named = demand.host is not None or demand.devices
    return bool(named) or demand.sharing_mode != SharingMode.SHARED


def ranking(view: PoolView, demand: Demand, policy: Policy, program: bool) -> Ranking:
    """Return the ranking of ``demand`` as ``view`` is now."""
    key = (id(policy), demand, program)
    found = cast("tuple[Policy, Ranking] | None", view.rankings.pop(key, None))
    if found is None:
        found = policy, Ranking(view, demand, policy, program)
        if len(view.rankings) >= _KEPT:
            del view.rankings[next(iter(view.rankings))]
    view.rankings[key] = found
    found[1].refresh(view)
    return found[1]


@dataclass(frozen=True)
class Fit:
    """Hosts that can take a demand: their indexes, how many vGPUs each slot can take, what one costs."""

    hosts: Amounts
    room: Amounts
    cost: Floats
    program: bool


def gang_cost(view: PoolView, demand: Demand, policy: Policy, fit: Fit) -> tuple[Floats, Amounts]:
    """Return what several vGPUs cost on each host, and how many of them each slot gets.

    Hosts where more of them get a device of their own come first; where the layout is to pack, those
    where fewer devices hold them all.
    """
    if demand.layout == Layout.PACK:
        taken = pack(fit.room, fit.cost, demand.count)
    else:
        taken = share_out(fit.room, np.argsort(fit.cost, axis=1, kind="stable"), demand.count)
    total = policy.host_cost(view, demand, fit.hosts, taken, fit.program)
    devices = (taken > 0).sum(axis=1)
    return total + _ALONE * (devices if demand.layout == Layout.PACK else demand.count - devices), taken


def share_out(room: Amounts, order: Amounts, count: int) -> Amounts:
    """Return how many of ``count`` vGPUs each slot gets on each host: one each before any gets two.

    ``order`` are the slots of each host, those that come first.
    """
    sorted_room = np.take_along_axis(room, order, axis=1)
    given = np.zeros_like(sorted_room)
    while (given.sum(axis=1) < count).any():
        offered = np.minimum(1, sorted_room - given)
        before = offered.cumsum(axis=1) - offered
        wanted = count - given.sum(axis=1)
        given = given + np.clip(wanted[:, None] - before, 0, offered)
    taken = np.zeros_like(room)
    np.put_along_axis(taken, order, given, axis=1)
    return taken


def pack(room: Amounts, cost: Floats, count: int) -> Amounts:
    """Return how many of ``count`` vGPUs each slot gets on each host so that the fewest slots get any.

    Among slots that hold as many of those that are left the cheapest is taken.
    """
    taken, rows = np.zeros_like(room), np.arange(len(room))
    left = np.full(len(room), count)
    for _ in range(min(count, room.shape[1])):
        offered = np.where(taken == 0, np.minimum(room, left[:, None]), 0)
        most = offered.max(axis=1)
        slot = np.where(offered == most[:, None], cost, NEVER).argmin(axis=1)
        taken[rows, slot] += most
        left -= most
    return taken
