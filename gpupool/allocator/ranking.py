"""Rankings: what a demand would cost on each host, kept up to date instead of made anew.

A placement changes one host or a few, and demands come again and again; so of the thousands of costs
of a decision nearly all are known from the last one for an equal demand.
"""

from collections.abc import Hashable
from typing import cast

import numpy as np

from gpupool.allocator import filters, grouping
from gpupool.allocator.arrays import across, rows
from gpupool.allocator.demand import Demand
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.gangs import fits, gang_cost, laid_out
from gpupool.allocator.gathering import is_choosy
from gpupool.allocator.layouts import NEVER
from gpupool.allocator.policy import Policy
from gpupool.allocator.view import Amounts, PoolView, Rows

# What to add to the cost of a place by how many vGPUs it has room for, none or some.
_NO_ROOM = np.array([NEVER, 0.0])


class Ranking:
    """What a demand costs on each host: ``cost``, NEVER where it does not fit; ``slot`` for one vGPU.

    ``program``: with the claim's program on the same host; the devices alone otherwise. Prices may
    change with every grant, wherever it was: so what is kept is without them, and by class where a host
    has devices of several.
    """

    def __init__(self, view: PoolView, demand: Demand, policy: Policy, program: bool) -> None:
        self._demand, self._policy, self._program = demand, policy, program
        self._basis: Hashable = None
        self._mark = -1
        self._kinds = 0
        self.cost = np.full(len(view.hosts), NEVER)
        self.slot = np.zeros(len(view.hosts), dtype=np.int64)
        # All by the class's number on its host (classes x hosts): of one vGPU cost and slot there; of a
        # gang the cost, in the first, and how many vGPUs are on devices of each class.
        self._cost: Floats
        self._slot: Amounts
        self._vgpus: Amounts

    def refresh(self, view: PoolView) -> None:
        """Rank those hosts again that have changed since, or all when costs mean something else now."""
        basis, (_, kinds) = self._policy.basis(view), grouping.classes(view)
        lasts = basis == self._basis and len(kinds) == self._kinds
        changed, mark = view.changed_since(self._mark if lasts else -1)
        self._basis, self._mark, self._kinds = basis, mark, len(kinds)
        if isinstance(changed, slice):
            self._cost = np.full(kinds.shape, NEVER)
            self._slot, self._vgpus = (np.zeros(kinds.shape, dtype=np.int64) for _ in range(2))
        if isinstance(changed, slice) or len(changed):
            self._rank(view, changed)
        self._add_prices(kinds, self._policy.prices(view, self._demand))

    def best(self) -> int | None:
        """Return the cheapest host, the first by name among equals; None when nothing fits."""
        if not len(self.cost):
            return None
        host = int(self.cost.argmin())
        return None if self.cost[host] == NEVER else host

    def _add_prices(self, kinds: Amounts, prices: Floats | None) -> None:
        cost = self._cost
        if prices is not None and self._demand.count > 1:
            cost = cost + np.round((self._vgpus * prices.take(kinds)).sum(axis=0), 6)
        elif prices is not None:
            cost = cost + prices.take(kinds)
        self.cost, self.slot = cost[0], self._slot[0]
        if len(kinds) > 1 and self._demand.count == 1:
            self.cost = cost.min(axis=0)
            # Classes have numbers in no order that means something; slots have.
            self.slot = np.where(cost == self.cost, self._slot, len(kinds) + self._slot.max()).min(
                axis=0
            )

    def _rank(self, view: PoolView, changed: Rows) -> None:
        if not isinstance(changed, slice):
            self._cost[:, changed] = NEVER
            self._rank_each(view, changed)
        elif not self._policy.alike or is_choosy(self._demand):
            self._rank_each(view, np.arange(len(view.hosts)))
        else:
            # Of untouched hosts there may be thousands, but few kinds.
            twins = view.twins()
            self._rank_each(view, np.flatnonzero(twins == np.arange(len(twins))))
            self._cost, self._slot = self._cost.take(twins, axis=1), self._slot.take(twins, axis=1)
            self._vgpus = self._vgpus.take(twins, axis=1)

    def _rank_each(self, view: PoolView, hosts: Amounts) -> None:
        demand = self._demand
        if self._program:
            hosts = hosts[filters.programs(view, demand, hosts)]
        if demand.count == 0:
            nothing = np.zeros((len(hosts), view.slots), dtype=np.int64)
            self._cost[0, hosts] = self._policy.host_cost(view, demand, hosts, nothing, self._program)
            return
        if demand.count > 1:
            self._rank_gangs(view, hosts)
            return
        room = filters.slots(view, demand, hosts)
        fits = np.flatnonzero(across(room))
        if len(fits):
            self._rank_devices(view, hosts.take(fits), rows(room, fits))

    def _rank_devices(self, view: PoolView, hosts: Amounts, room: Amounts) -> None:
        cost = self._policy.device_cost(view, self._demand, hosts, self._program)
        cost = cost + _NO_ROOM.take(room, mode="clip")
        columns = rows(grouping.classes(view)[0], hosts)
        for number in range(self._kinds):
            there = cost if self._kinds == 1 else np.where(columns == number, cost, NEVER)
            slots = self._slot[number, hosts] = there.argmin(axis=1)
            self._cost[number, hosts] = there[np.arange(len(hosts)), slots]

    def _rank_gangs(self, view: PoolView, hosts: Amounts) -> None:
        columns = grouping.classes(view)[0]
        for fit in fits(view, self._demand, self._policy, hosts, self._program):
            taken = laid_out(self._demand, fit)
            cost = gang_cost(view, self._demand, self._policy, fit, taken)
            cheaper = np.flatnonzero(cost < self._cost[0, fit.hosts])
            chosen, taken = fit.hosts.take(cheaper), rows(taken, cheaper)
            self._cost[0, chosen] = cost.take(cheaper)
            for number in range(self._kinds):
                self._vgpus[number, chosen] = across(taken * (rows(columns, chosen) == number))


def ranking(view: PoolView, demand: Demand, policy: Policy, program: bool) -> Ranking:
    """Return the ranking of ``demand`` as ``view`` is now."""
    # With the policy itself, so that its id does not become another's.
    _, found = cast(
        "tuple[Policy, Ranking]",
        view.rankings.get(
            (id(policy), demand, program), lambda: (policy, Ranking(view, demand, policy, program))
        ),
    )
    found.refresh(view)
    return found
