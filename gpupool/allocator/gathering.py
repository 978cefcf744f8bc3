"""Gathering: what one vGPU of a gang costs on each device of the pool, kept up to date.

A gang that no host can take has devices of many hosts, so all devices are compared. As with rankings,
most of what a decision needs is known from the last one: for any gang of vGPUs of the same size, however
many they are and however they are to lie.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import numpy as np

from gpupool.allocator import filters, grouping, layouts
from gpupool.allocator.arrays import across, rows
from gpupool.allocator.demand import Demand
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.layouts import NEVER
from gpupool.allocator.policy import Policy
from gpupool.allocator.view import Amounts, Place, PoolView
from gpupool.model.claim import Layout
from gpupool.model.device import SharingMode


@dataclass
class _Costs:
    """Costs (hosts x slots) as of a mark in the view's journal and a basis of the policy."""

    values: Floats
    basis: Hashable = None
    mark: int = -1


class Devices:
    """How many vGPUs of one size each device can take, and what one costs there.

    Both (hosts x slots) are as for ``layouts``, and as the view was when they were asked for last.
    """

    def __init__(self, view: PoolView, demand: Demand, policy: Policy) -> None:
        self._demand, self._policy = demand, policy
        self._mark = -1
        self._room = np.zeros((len(view.hosts), view.slots), dtype=np.int64)
        # With the claim's program on the same host, and the devices alone.
        self._costs = {program: _Costs(np.full(self._room.shape, NEVER)) for program in (True, False)}

    def room(self, view: PoolView) -> Amounts:
        """Return how many vGPUs each device can take."""
        changed, self._mark = view.changed_since(self._mark)
        if isinstance(changed, slice) or len(changed):
            self._room[changed] = filters.slots(view, self._demand, changed)
        return self._room

    def cost(self, view: PoolView, program: bool) -> Floats:
        """Return what one vGPU costs, NEVER where there is no room; ``program`` as for rankings."""
        room, known, basis = self.room(view), self._costs[program], self._policy.basis(view)
        changed, mark = view.changed_since(known.mark if basis == known.basis else -1)
        known.basis, known.mark = basis, mark
        if not isinstance(changed, slice):
            self._write(view, room, changed, program)
        elif not self._policy.alike or is_choosy(self._demand):
            self._write(view, room, np.arange(len(room)), program)
        else:
            twins = view.twins()
            self._write(view, room, np.flatnonzero(twins == np.arange(len(twins))), program)
            known.values = rows(known.values, twins)
        return known.values

    def _write(self, view: PoolView, room: Amounts, hosts: Amounts, program: bool) -> None:
        if not len(hosts):
            return
        values, there = self._costs[program].values, rows(room, hosts)
        values[hosts] = NEVER
        some = np.flatnonzero(across(there))
        if len(some):
            chosen = hosts.take(some)
            found = self._policy.device_cost(view, self._demand, chosen, program)
            values[chosen] = np.where(rows(there, some) > 0, found, NEVER)


def is_choosy(demand: Demand) -> bool:
    """Return whether a demand may tell hosts apart that differ in nothing but names and parts."""
    named = demand.host is not None or demand.devices
    return bool(named) or demand.sharing_mode != SharingMode.SHARED


def devices(view: PoolView, demand: Demand, policy: Policy) -> Devices:
    """Return what is kept about devices for gangs of vGPUs of the size that ``demand`` has."""
    size = _size(demand)
    # With the policy itself, so that its id does not become another's.
    _, found = cast(
        "tuple[Policy, Devices]",
        view.devices.get((id(policy), size), lambda: (policy, Devices(view, size, policy))),
    )
    return found


@lru_cache(maxsize=1024)
def _size(demand: Demand) -> Demand:
    """Return a gang of vGPUs of the same size that may lie anyhow."""
    return replace(demand, count=2, layout=Layout.ANY, same_host=False, same_type=False, linked=False)


def gathered(view: PoolView, demand: Demand, policy: Policy) -> list[Place]:
    """Return the cheapest places for several vGPUs on any hosts; none when there are too few."""
    every = devices(view, demand, policy)
    groups = [
        (_lies(room, demand), hosts, room)
        for hosts, room in grouping.in_pool(view, demand, every.room(view))
        if room.sum() >= demand.count
    ]
    if not groups:
        return []
    least = min(lies for lies, *_ in groups)
    costs, prices = every.cost(view, program=False), policy.prices(view, demand)
    laid = []
    for number, (lies, hosts, room) in enumerate(groups):
        if lies > least:
            continue
        cost = costs if len(hosts) == len(costs) else rows(costs, hosts)
        if prices is not None:
            cost = cost + prices.take(rows(view.device_class, hosts))
        if grouping.is_grouped(demand):
            cost = np.where(room > 0, cost, NEVER)
        chosen, taken = _laid_out(room, cost, demand)
        cost = rows(cost, chosen)
        price = round(float(layouts.price(taken, cost).sum()), 6)
        laid.append((int((taken > 0).sum()), price, number, hosts.take(chosen), taken, cost))
    *_, hosts, taken, cost = min(laid, key=lambda one: one[:3])
    return _places(view, hosts, taken, cost)


def _places(view: PoolView, hosts: Amounts, taken: Amounts, cost: Floats) -> list[Place]:
    """Return the slots that are taken, the cheapest first, each again after all others."""
    chosen = np.flatnonzero(taken)
    order = chosen[np.argsort(cost.ravel()[chosen], kind="stable")]
    found = (divmod(at, view.slots) for at in layouts.places(taken.ravel(), order))
    return [(int(hosts[row]), slot) for row, slot in found]


def _laid_out(room: Amounts, cost: Floats, demand: Demand) -> tuple[Amounts, Amounts]:
    """Return hosts, and how many vGPUs each of their slots gets, as the layout says."""
    if demand.layout == Layout.ANY:
        found = layouts.share_out_cheapest(room.ravel(), cost.ravel(), demand.count)
        taken = found.reshape(room.shape)
        hosts = np.flatnonzero(across(taken))
        return hosts, rows(taken, hosts)
    if demand.layout == Layout.PACK:
        hosts = layouts.fewest(room, cost, demand.count)
        flat = rows(room, hosts).reshape(1, -1)
        found = layouts.pack(flat, rows(cost, hosts).reshape(1, -1), demand.count)
    else:
        # No more hosts than vGPUs, each of which has one of its own then.
        hosts = np.argsort(cost.min(axis=1), kind="stable")[: demand.count]
        flat = rows(room, hosts).reshape(1, -1)
        found = layouts.share_out(flat, _by_turns(rows(cost, hosts)), demand.count)
    order = np.argsort(hosts)
    return hosts.take(order), rows(found.reshape(-1, room.shape[1]), order)


def _by_turns(cost: Floats) -> Amounts:
    """Return the slots of all hosts in one row: the cheapest of each host, then the second of each."""
    rank = np.argsort(np.argsort(cost, axis=1, kind="stable"), axis=1, kind="stable")
    return np.lexsort((cost.ravel(), rank.ravel())).reshape(1, -1)


def _lies(room: Amounts, demand: Demand) -> tuple[int, ...]:
    """Return how a gang lies on a group of devices, less for what its layout wants rather."""
    of_host = across(room)
    if demand.layout == Layout.PACK:
        return (int(np.sort(of_host)[::-1].cumsum().searchsorted(demand.count)),)
    spread = demand.layout == Layout.SPREAD
    hosts = min(int((of_host > 0).sum()), demand.count) if spread else 0
    return -min(int((room > 0).sum()), demand.count), -hosts
