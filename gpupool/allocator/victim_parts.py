"""Victim parts: on devices that are not cut freely, whose parts lie where one more would."""

from collections.abc import Callable, Collection, Iterator

import numpy as np

from gpupool.allocator import geometry
from gpupool.allocator.demand import Demand
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.view import Flags, Place, PoolView
from gpupool.model.device import SharingMode
from gpupool.model.share import Part

# What it costs to take claims apart, by their numbers.
Cost = Callable[[Collection[int]], tuple[float, int]]


def cheapest(
    view: PoolView, demand: Demand, occupancy: Occupancy, allowed: Flags, cost: Cost
) -> dict[Place, frozenset[int]]:
    """Return the ``allowed`` claims (by number) that cost least to have one vGPU on their devices.

    Devices are left out on which they can't make room, and those on which they need not.
    """
    found: dict[Place, frozenset[int]] = {}
    for at, holders in _holders(view, occupancy, allowed).items():
        choices = [victims for victims in _choices(view, demand, at, holders) if victims]
        if choices:
            found[at] = min(choices, key=lambda each: (cost(each), sorted(map(occupancy.name, each))))
    return found


def _choices(
    view: PoolView, demand: Demand, at: Place, holders: dict[Part | None, int]
) -> Iterator[frozenset[int]]:
    """Yield the sets of claims without which one more part has a place on a device."""
    if demand.sharing_mode == SharingMode.EXCLUSIVE:
        yield frozenset(holders.values())
        return
    for parts in geometry.blockers(view, demand, at):
        if holders.keys() >= parts:
            yield frozenset(holders[part] for part in parts)


def _holders(
    view: PoolView, occupancy: Occupancy, allowed: Flags
) -> dict[Place, dict[Part | None, int]]:
    """Return which of the ``allowed`` has which part of each device, None for all of it."""
    found: dict[Place, dict[Part | None, int]] = {}
    for number in np.flatnonzero(allowed).tolist():
        claim = occupancy.get(occupancy.name(number))
        if claim is None:
            continue
        for share in claim.plan.shares:
            at = view.device_index.get(share.device_id)
            if at is not None:
                found.setdefault(at, {})[share.part] = number
    return found
