# ruff: noqa: ARG002 - every policy is asked alike, this one needs little of the question
"""Policies of a kind: those without prices, and costs that were worked out beforehand."""

from collections.abc import Hashable

import numpy as np

from gpupool.allocator.demand import Demand
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.view import Amounts, PoolView


class Unpriced:
    """Base of policies to which no class of devices is dearer than another."""

    def prices(self, view: PoolView, demand: Demand) -> Floats | None:
        """See Policy."""
        return None


class DeviceCosts(Unpriced):
    """Takes the devices that ``costs`` (hosts x slots) says are the cheapest; see Policy."""

    alike = False

    def __init__(self, costs: Floats) -> None:
        self._costs = costs

    def basis(self, view: PoolView) -> Hashable:
        """See Policy."""
        return self

    def device_cost(self, view: PoolView, demand: Demand, hosts: Amounts, program: bool) -> Floats:
        """See Policy."""
        return self._costs[hosts]

    def host_cost(
        self, view: PoolView, demand: Demand, hosts: Amounts, taken: Amounts, program: bool
    ) -> Floats:
        """See Policy."""
        found: Floats = np.where(taken > 0, self._costs[hosts], 0.0).sum(axis=1)
        return found
