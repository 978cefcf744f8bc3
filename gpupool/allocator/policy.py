"""Policies: which of the devices that could hold a vGPU should. A later one needs only ``cost``."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpupool.allocator.view import PoolView
from gpupool.model.claim import Claim

Costs = NDArray[np.float64]


class Policy(Protocol):
    """Ranks devices."""

    def cost(self, view: PoolView, claim: Claim) -> Costs:
        """Return what one vGPU of ``claim`` costs on each device of ``view``; the lowest is taken.

        Only devices that can hold the vGPU are looked at; others may have any finite cost.
        """


class BestFit:
    """Takes the device that has least left afterwards: its shares of compute and memory, summed."""

    def cost(self, view: PoolView, claim: Claim) -> Costs:
        """See Policy."""
        compute_left = (view.compute_free - claim.compute) / np.maximum(view.compute_total, 1)
        memory_left = (view.memory_free - claim.memory_mib) / np.maximum(view.memory_total, 1)
        left: Costs = compute_left + memory_left
        return left
