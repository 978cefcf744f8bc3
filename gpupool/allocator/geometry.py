"""Geometries: what parts a device can be cut into that is not shared freely, and where they may lie."""

from collections.abc import Sequence

from gpupool.allocator.demand import Demand
from gpupool.allocator.rooms import Part
from gpupool.allocator.view import Amounts, Flags, Place, PoolView, Rows
from gpupool.model.device import SharingMode


def slots(view: PoolView, demand: Demand, open_: Flags, hosts: Rows, empty: bool) -> Amounts:
    """Return how many parts of the demanded kind each of the ``open_`` devices can still be cut into."""
    raise NotImplementedError


def cut(
    view: PoolView, demand: Demand, places: Sequence[Place]
) -> tuple[tuple[tuple[int, int], ...], tuple[Part, ...]]:
    """Return size (percent, MiB) and part for each vGPU, both empty for devices that are shared freely."""
    if demand.sharing_mode == SharingMode.SHARED:
        return (), ()
    raise NotImplementedError
