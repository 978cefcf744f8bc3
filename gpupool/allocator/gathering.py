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
from gpupool.allocator.grouping import Groups
from gpupool.allocator.layouts import NEVER, Slots, Sums
from gpupool.allocator.policy import Policy
from gpupool.allocator.view import Amounts, Place, PoolView
from gpupool.model.claim import Layout
from gpupool.model.device import SharingMode

# By what it is compared, on which slots it is, and on which of their hosts (in rows), how many of a gang
# each slot of these gets.
_Laid = tuple[tuple[int, float, int], Slots, Amounts, Amounts]


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
        # Of the devices alone.
        self._sums = Sums.of(self._room, self._costs[False].values)

    def room(self, view: PoolView) -> Amounts:
        """Return how many vGPUs each device can take."""
        changed, self._mark = view.changed_since(self._mark)
        if isinstance(changed, slice) or len(changed):
            found = self._room[changed] = filters.slots(view, self._demand, changed)
            self._sums.vgpus[changed] = across(found)
        return self._room

    def vgpus(self, view: PoolView) -> Amounts:
        """Return how many vGPUs each host can take."""
        self.room(view)
        return self._sums.vgpus

    def sums(self, view: PoolView) -> Sums:
        """Return the sums of each host, of the devices alone."""
        self.cost(view, program=False)
        return self._sums

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
            if not program:
                self._sums = self._sums.take(twins)
        return known.values

    def _write(self, view: PoolView, room: Amounts, hosts: Amounts, program: bool) -> None:
        if not len(hosts):
            return
        there = rows(room, hosts)
        cost = np.full(there.shape, NEVER)
        some = np.flatnonzero(self._sums.vgpus.take(hosts))
        if len(some):
            found = self._policy.device_cost(view, self._demand, hosts.take(some), program)
            cost[some] = np.where(rows(there, some) > 0, found, NEVER)
        self._costs[program].values[hosts] = cost
        if not program:
            self._sums.write(hosts, Sums.of(there, cost))


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
    groups = grouping.in_pool(view, demand)
    every = devices(view, demand, policy)
    if groups.chosen is None:
        vgpus = every.vgpus(view).take(groups.hosts)
    else:
        vgpus = across(groups.room(every.room(view)))
    enough = np.flatnonzero(groups.sums(vgpus) >= demand.count)
    if not len(enough):
        return []
    slots = _slots(view, demand, policy, groups)
    parts = [slots.part(groups.parts[number]) for number in enough.tolist()]
    _, part, chosen, taken = _best(parts, demand)
    return _places(view, part.hosts.take(chosen), taken, part.take(chosen)[1])


def _slots(view: PoolView, demand: Demand, policy: Policy, groups: Groups) -> Slots:
    """Return the slots of each group's hosts, with prices."""
    every = devices(view, demand, policy)
    room, cost, prices = every.room(view), every.cost(view, program=False), policy.prices(view, demand)
    if prices is None and groups.chosen is None:
        return Slots(groups.hosts, room, cost, every.sums(view).take(groups.hosts), groups.hosts)
    room, cost = groups.room(room), rows(cost, groups.hosts)
    if prices is not None:
        cost = cost + prices.take(rows(view.device_class, groups.hosts))
    cost = np.where(room > 0, cost, NEVER)
    return Slots(groups.hosts, room, cost, Sums.of(room, cost), np.arange(len(room)))


def _best(parts: list[Slots], demand: Demand) -> _Laid:
    """Return hosts of the group that the layout wants rather, of several the cheapest, and the slots."""
    if len(parts) > 1:
        lies = [_lies(part.sums, demand) for part in parts]
        parts = [part for part, lie in zip(parts, lies, strict=True) if lie == min(lies)]
    bounds = [_bound(part.sums, demand) for part in parts]
    found: list[_Laid] = []
    for number in sorted(range(len(parts)), key=bounds.__getitem__):
        if found and bounds[number] > found[0][0][1]:
            break
        chosen, taken = _laid_out(parts[number], demand)
        price = float(layouts.price(taken, parts[number].take(chosen)[1]).sum())
        weight = int(np.count_nonzero(taken)), round(price, 6), number
        found = [min([*found, (weight, parts[number], chosen, taken)], key=lambda laid: laid[0])]
    return found[0]


def _bound(sums: Sums, demand: Demand) -> float:
    """Return what a gang costs on a group of devices at least, if that alone decides."""
    # Where the layout is to pack the number of devices decides first.
    pack = demand.layout == Layout.PACK
    return -NEVER if pack else round(demand.count * float(sums.least.min()), 6)


def _places(view: PoolView, hosts: Amounts, taken: Amounts, cost: Floats) -> list[Place]:
    """Return the slots that are taken, the cheapest first, each again after all others."""
    chosen = np.flatnonzero(taken)
    order = chosen[np.argsort(cost.ravel()[chosen], kind="stable")]
    row, slot = np.divmod(layouts.places(taken.ravel(), order), view.slots)
    return list(zip(hosts.take(row).tolist(), slot.tolist(), strict=True))


def _laid_out(slots: Slots, demand: Demand) -> tuple[Amounts, Amounts]:
    """Return hosts, in rows, and how many vGPUs each of their slots gets, as the layout says."""
    if demand.layout == Layout.ANY:
        hosts = layouts.cheapest(slots, demand.count)
        room, cost = slots.take(hosts)
        found = layouts.share_out_cheapest(room.ravel(), cost.ravel(), demand.count)
        return hosts, found.reshape(room.shape)
    if demand.layout == Layout.PACK:
        hosts = layouts.fewest(slots, demand.count)
        room, cost = slots.take(hosts)
        found = layouts.pack(room.reshape(1, -1), cost.reshape(1, -1), demand.count)
    else:
        # No more hosts than vGPUs, each of which has one of its own then.
        hosts = np.argsort(slots.sums.least, kind="stable")[: demand.count]
        room, cost = slots.take(hosts)
        found = layouts.share_out(room.reshape(1, -1), _by_turns(cost), demand.count)
    order = np.argsort(hosts)
    return hosts.take(order), rows(found.reshape(room.shape), order)


def _by_turns(cost: Floats) -> Amounts:
    """Return the slots of all hosts in one row: the cheapest of each host, then the second of each."""
    rank = np.argsort(np.argsort(cost, axis=1, kind="stable"), axis=1, kind="stable")
    return np.lexsort((cost.ravel(), rank.ravel())).reshape(1, -1)


def _lies(sums: Sums, demand: Demand) -> tuple[int, ...]:
    """Return how a gang lies on a group of devices, less for what its layout wants rather."""
    if demand.layout == Layout.PACK:
        return (int(np.sort(sums.vgpus)[::-1].cumsum().searchsorted(demand.count)),)
    spread = demand.layout == Layout.SPREAD
    hosts = min(int(np.count_nonzero(sums.vgpus)), demand.count) if spread else 0
    return -min(int(sums.slots.sum()), demand.count), -hosts
