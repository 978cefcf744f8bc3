# ruff: noqa: ARG002 - every policy is asked alike, few need all of the question
"""The policies that a pool can have, by name."""

from collections.abc import Hashable
from typing import cast

import numpy as np

from gpupool.allocator.arrays import across, rows
from gpupool.allocator.costs import Unpriced
from gpupool.allocator.demand import Demand
from gpupool.allocator.fragmentation import Floats, Hosts, Usefulness
from gpupool.allocator.mix import Mix, Weights
from gpupool.allocator.policy import Policy
from gpupool.allocator.scarcity import Scarcity
from gpupool.allocator.view import Amounts, PoolView
from gpupool.model.claim import COMPUTE_MAX
from gpupool.model.pool import PolicyName

# Percent of a device. The mix only tells what may come: on the openb trace, to take every difference
# at its word leaves half as much again unallocated as to take the fullest device among near equals.
_STEP = 8.0
# Best fit decides between equals: small against any step.
_TIE = 1e-3


def make(name: PolicyName, mix: Mix, seed: int = 0) -> Policy:
    """Return the policy of that name; ``mix`` serves fgd, ``seed`` random."""
    if name == PolicyName.FGD:
        return FragmentationGradientDescent(mix)
    if name == PolicyName.RANDOM:
        return Random(seed)
    others: dict[PolicyName, Policy] = {
        PolicyName.BEST_FIT: BestFit(),
        PolicyName.PACK: Pack(),
        PolicyName.SPREAD: Spread(),
    }
    return others[name]


class FragmentationGradientDescent:
    """Takes the place where least of what is free becomes useless to the mix, of what is not scarce."""

    alike = True

    def __init__(self, mix: Mix) -> None:
        self._mix = mix
        self._known = 0
        self._weights: Weights | None = None
        self._bounds: tuple[int, ...] = ()
        self._useful: Usefulness
        self._scarcity: Scarcity

    def basis(self, view: PoolView) -> Hashable:
        """See Policy."""
        self._usefulness(view)
        return self._known

    def prices(self, view: PoolView, demand: Demand) -> Floats | None:
        """See Policy."""
        self._usefulness(view)
        if self._scarcity.is_even or not demand.count:
            return None
        return demand.compute * self._scarcity.prices(view)

    def device_cost(self, view: PoolView, demand: Demand, hosts: Amounts, program: bool) -> Floats:
        """See Policy."""
        state = Hosts(view, self._usefulness(view), hosts)
        found = _leveled(state.lost_with_one(demand, program) - demand.compute)
        found += _TIE * _left(view, demand, hosts)
        return found

    def host_cost(
        self, view: PoolView, demand: Demand, hosts: Amounts, taken: Amounts, program: bool
    ) -> Floats:
        """See Policy."""
        found = self._lost_on_hosts(view, demand, hosts, taken, program)
        if demand.count or view.remote:
            return _leveled(found)
        # A program alone does no harm where no device is left that its CPU could serve. Devices that
        # other hosts' programs may use are not of that kind.
        return _leveled(found) + _TIE * _free_share(view, hosts)

    def _lost_on_hosts(
        self, view: PoolView, demand: Demand, hosts: Amounts, taken: Amounts, program: bool
    ) -> Floats:
        """Return what of each host gets lost to the mix, beside what the demand takes, in percent."""
        state = Hosts(view, self._usefulness(view), hosts)
        before = state.of_use()
        if program:
            state.take_cpu(demand.cpu_milli)
        state.take(demand, taken)
        found: Floats = before - state.of_use() - demand.compute * taken.sum(axis=1)
        return found

    def fragmentation(self, view: PoolView) -> float:
        """Return how much of what is free is of no use to the mix on average, in percent of a device."""
        state = Hosts(view, self._usefulness(view), np.arange(len(view.hosts)))
        return float(state.free().sum() - state.of_use().sum())

    def _usefulness(self, view: PoolView) -> Usefulness:
        # The weights themselves, not their id: that may be another tuple's when these are gone.
        weights, bounds = self._mix.weights, view.bounds()
        if self._weights is not weights or self._bounds != bounds:
            self._useful = Usefulness(view, weights)
            self._scarcity = Scarcity(view.classes, weights)
            self._weights, self._bounds = weights, bounds
            self._known += 1
        return self._useful


class BestFit(Unpriced):
    """Takes the place where least is left: shares of compute and memory, of CPU and host memory."""

    alike = True

    def basis(self, view: PoolView) -> Hashable:
        """See Policy."""
        return None

    def device_cost(self, view: PoolView, demand: Demand, hosts: Amounts, program: bool) -> Floats:
        """See Policy."""
        found: Floats = _left(view, demand, hosts) + _host_left(view, demand, hosts, program)[:, None]
        return found

    def host_cost(
        self, view: PoolView, demand: Demand, hosts: Amounts, taken: Amounts, program: bool
    ) -> Floats:
        """See Policy."""
        devices = np.where(taken > 0, _left(view, demand, hosts), 0.0).sum(axis=1)
        found: Floats = devices + _host_left(view, demand, hosts, program)
        return found


class Pack(Unpriced):
    """Takes the fullest host, and on it the fullest device."""

    alike = True

    def basis(self, view: PoolView) -> Hashable:
        """See Policy."""
        return None

    def device_cost(self, view: PoolView, demand: Demand, hosts: Amounts, program: bool) -> Floats:
        """See Policy."""
        free = view.compute.free[hosts]
        found: Floats = free.sum(axis=1)[:, None] + free / 1000.0
        return found

    def host_cost(
        self, view: PoolView, demand: Demand, hosts: Amounts, taken: Amounts, program: bool
    ) -> Floats:
        """See Policy."""
        return view.compute.free[hosts].sum(axis=1).astype(np.float64)


class Spread(Unpriced):
    """Takes the emptiest host, and on it the emptiest device."""

    alike = True

    def basis(self, view: PoolView) -> Hashable:
        """See Policy."""
        return None

    def device_cost(self, view: PoolView, demand: Demand, hosts: Amounts, program: bool) -> Floats:
        """See Policy."""
        return -Pack().device_cost(view, demand, hosts, program)

    def host_cost(
        self, view: PoolView, demand: Demand, hosts: Amounts, taken: Amounts, program: bool
    ) -> Floats:
        """See Policy."""
        return -Pack().host_cost(view, demand, hosts, taken, program)


class Random(Unpriced):
    """Takes any place, another one for every version of the view: what the others are compared with."""

    alike = False

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def basis(self, view: PoolView) -> Hashable:
        """See Policy."""
        return view.version

    def device_cost(self, view: PoolView, demand: Demand, hosts: Amounts, program: bool) -> Floats:
        """See Policy."""
        return self._numbers(view, (len(hosts), view.slots))

    def host_cost(
        self, view: PoolView, demand: Demand, hosts: Amounts, taken: Amounts, program: bool
    ) -> Floats:
        """See Policy."""
        return self._numbers(view, (len(hosts),))

    def _numbers(self, view: PoolView, shape: tuple[int, ...]) -> Floats:
        return np.random.default_rng((self._seed, view.version)).random(shape)


def _left(view: PoolView, demand: Demand, hosts: Amounts) -> Floats:
    """Return the shares of compute and memory that one vGPU leaves of each device, added."""
    of_compute, of_memory = cast("tuple[Floats, Floats]", view.remember("units", lambda: _units(view)))
    compute = rows(view.compute.left(demand.qos), hosts) - demand.compute
    memory = rows(view.memory.left(demand.qos), hosts) - demand.memory_mib
    found: Floats = compute * rows(of_compute, hosts)
    found += memory * rows(of_memory, hosts)
    return found


def _units(view: PoolView) -> tuple[Floats, Floats]:
    """Return which share of each device one percent is, and one MiB: to divide takes longer."""
    return 1 / np.maximum(view.compute.total, 1), 1 / np.maximum(view.memory.total, 1)


def _free_share(view: PoolView, hosts: Amounts) -> Floats:
    """Return how much of each host's devices is free, as a share of all that one may have."""
    most = COMPUTE_MAX * max(view.slots, 1)
    found: Floats = across(rows(view.compute.free, hosts) * rows(view.usable, hosts)) / most
    return found


def _host_left(view: PoolView, demand: Demand, hosts: Amounts, program: bool) -> Floats:
    """Return the shares of CPU and memory that the program leaves of each host, added."""
    cpu = view.cpu_free[hosts] - demand.cpu_milli * program
    memory = view.host_memory_free[hosts] - demand.host_memory_mib * program
    of_cpu = cpu / np.maximum(view.cpu_total[hosts], 1)
    found: Floats = of_cpu + memory / np.maximum(view.host_memory_total[hosts], 1)
    return found


def _leveled(cost: Floats) -> Floats:
    """Return ``cost`` in steps: places of one step are equally good as far as fragments go."""
    found: Floats = cost / _STEP
    np.rint(found, out=found)
    found *= _STEP
    return found
