"""Devices that are not shared freely: how many vGPUs they take, and what of them each is given.

``exclusive`` devices go to one vGPU as a whole. No driver reports devices of the other sharing modes
yet, so nothing fits these.
"""

from collections.abc import Sequence

import numpy as np

from gpupool.allocator.demand import Demand
from gpupool.allocator.rooms import Part
from gpupool.allocator.view import Amounts, Flags, Place, PoolView, Rows
from gpupool.model.device import SharingMode

Sizes = tuple[tuple[int, int], ...]


def slots(view: PoolView, demand: Demand, open_: Flags, hosts: Rows, empty: bool) -> Amounts:
    """Return how many vGPUs of ``demand`` each of the ``open_`` devices of ``hosts`` takes."""
    fits = open_ & (view.compute.total[hosts] >= demand.compute)
    fits &= view.memory.total[hosts] >= demand.memory_mib
    if demand.sharing_mode != SharingMode.EXCLUSIVE:
        fits = np.zeros_like(fits)
    elif not empty:
        fits &= (view.compute.granted[hosts] == 0) & (view.memory.granted[hosts] == 0)
    return fits.astype(np.int64)


def cut(view: PoolView, demand: Demand, places: Sequence[Place]) -> tuple[Sizes, tuple[Part, ...]]:
    """Return size (percent, MiB) and part for each vGPU; none where the demand says the sizes."""
    if demand.sharing_mode == SharingMode.SHARED:
        return (), ()
    return tuple((int(view.compute.total[at]), int(view.memory.total[at])) for at in places), ()
