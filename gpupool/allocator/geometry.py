"""Devices that are not shared freely: how many vGPUs they take, and what of them each is given.

``exclusive`` devices go to one vGPU as a whole. Those of other modes are cut into parts of the demanded
kind, where the partitioning of their product has room for them.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from gpupool.allocator import products
from gpupool.allocator.demand import Demand
from gpupool.allocator.partitioning import Partitioning, Profile
from gpupool.allocator.view import Amounts, Flags, Place, PoolView, Rows
from gpupool.model.device import SharingMode
from gpupool.model.share import Part, Share

_NOTHING: frozenset[Part] = frozenset()


def slots(view: PoolView, demand: Demand, open_: Flags, hosts: Rows, empty: bool) -> Amounts:
    """Return how many vGPUs of ``demand`` each of the ``open_`` devices of ``hosts`` takes."""
    fits = open_ & (view.compute.total[hosts] >= demand.compute)
    fits &= view.memory.total[hosts] >= demand.memory_mib
    if demand.sharing_mode != SharingMode.EXCLUSIVE:
        return _parts(view, demand, fits, hosts, empty)
    if not empty:
        fits &= (view.compute.granted[hosts] == 0) & (view.memory.granted[hosts] == 0)
    return fits.astype(np.int64)


def cut(view: PoolView, demand: Demand, places: Sequence[Place]) -> tuple[Share, ...]:
    """Return the share of each vGPU: of the size that is demanded, a whole device, or one part of it."""
    if demand.sharing_mode == SharingMode.SHARED:
        return demand.shares(view.device_id(at) for at in places)
    if demand.sharing_mode == SharingMode.EXCLUSIVE:
        return tuple(
            _share(view, at, int(view.compute.total[at]), int(view.memory.total[at])) for at in places
        )
    found = []
    taken = {at: view.parts[at] for at in places}
    for at in places:
        partitioning, profile = _of(view, demand, at)
        part = Part(profile.kind, partitioning.best(profile.kind, taken[at]))
        taken[at] |= {part}
        found.append(_share(view, at, *_size(view, profile, at), part))
    return tuple(found)


def _share(view: PoolView, at: Place, compute: int, memory_mib: int, part: Part | None = None) -> Share:
    return Share(device_id=view.device_id(at), compute=compute, memory_mib=memory_mib, part=part)


def sizes(view: PoolView, demand: Demand) -> set[tuple[int, int]]:
    """Return percent and MiB of the parts of the demanded kind that the devices of a pool can have."""
    found = set()
    for host, slot in np.argwhere(view.exists).tolist():
        at = host, slot
        if _partitioning(view, int(view.device_class[at]), demand) is not None:
            found.add(_size(view, _of(view, demand, at)[1], at))
    return found


def kinds(view: PoolView, mode: SharingMode) -> set[str]:
    """Return the kinds of parts that the devices of a pool that are cut in a mode can have."""
    tables = (
        products.partitioning(mode, each.product) for each in view.classes if each.sharing_mode == mode
    )
    return {profile.kind for table in tables if table is not None for profile in table.profiles}


def are_free(view: PoolView, demand: Demand, shares: Iterable[Share]) -> bool:
    """Return whether the parts of ``shares`` can lie on their devices; where there are none they can."""
    for share in shares:
        if share.part is None:
            continue
        at = view.device_index[share.device_id]
        partitioning = _partitioning(view, int(view.device_class[at]), demand)
        if partitioning is None or not partitioning.is_free(share.part, view.parts[at]):
            return False
    return True


def blockers(view: PoolView, demand: Demand, at: Place) -> list[frozenset[Part]]:
    """Return for each place of a part on a device which parts would have to go, if that helps."""
    partitioning = _partitioning(view, int(view.device_class[at]), demand)
    found = [] if partitioning is None else partitioning.blockers(demand.partition, view.parts[at])
    # Where one more is kept there already it stays taken.
    return [parts for parts in found if not any(view.is_twice(at, part) for part in parts)]


def _parts(view: PoolView, demand: Demand, fits: Flags, hosts: Rows, empty: bool) -> Amounts:
    """Return how many parts of the demanded kind each of the devices that ``fits`` can be cut into."""
    found = np.zeros(fits.shape, dtype=np.int64)
    cuts = [_partitioning(view, number, demand) is not None for number in range(len(view.classes))]
    rows = np.arange(len(view.hosts))[hosts]
    for row, slot in np.argwhere(fits & view.of_classes(cuts)[hosts]):
        found[row, slot] = _room(view, demand, (int(rows[row]), int(slot)), empty)
    return found


def _room(view: PoolView, demand: Demand, at: Place, empty: bool) -> int:
    """Return how many parts still fit one device, in its slices as in what of it is not granted."""
    partitioning, profile = _of(view, demand, at)
    compute, memory = _size(view, profile, at)
    if compute < demand.compute or memory < demand.memory_mib:
        return 0
    if empty:
        return partitioning.room(profile.kind, _NOTHING)
    free = int(view.compute.left(demand.qos)[at]), int(view.memory.left(demand.qos)[at])
    # Others may have something of the device that is not known as a part.
    times = (left // each for left, each in zip(free, (compute, memory), strict=True) if each)
    most = min(times, default=0)
    return min(partitioning.room(profile.kind, view.parts[at]), most)


def _of(view: PoolView, demand: Demand, at: Place) -> tuple[Partitioning, Profile]:
    partitioning = _partitioning(view, int(view.device_class[at]), demand)
    profile = None if partitioning is None else partitioning.profile(demand.partition)
    if partitioning is None or profile is None:
        raise ValueError(f"{view.device_id(at)} has no parts {demand.partition}")
    return partitioning, profile


def _partitioning(view: PoolView, number: int, demand: Demand) -> Partitioning | None:
    """Return how devices of a class are cut, None when not into parts of the demanded kind."""
    kind = view.classes[number]
    if kind.sharing_mode != demand.sharing_mode:
        return None
    found = products.partitioning(kind.sharing_mode, kind.product)
    return found if found is not None and found.profile(demand.partition) else None


def _size(view: PoolView, profile: Profile, at: Place) -> tuple[int, int]:
    """Return percent and MiB of one part: shares that together are never more than the device."""
    compute, memory = int(view.compute.total[at]), int(view.memory.total[at])
    return int(compute * profile.compute), int(memory * profile.memory)
