"""Filters: which devices and hosts a demand may have, and how many were left after each, for people."""

from collections.abc import Iterator
from typing import cast

import numpy as np

from gpupool.allocator import geometry, grouping
from gpupool.allocator.arrays import across, rows
from gpupool.allocator.demand import Demand
from gpupool.allocator.view import ALL, Amounts, Flags, PoolView, Rows
from gpupool.model.claim import Qos, Tier
from gpupool.model.device import SharingMode

Counts = tuple[tuple[str, int], ...]
# Names of filters, as operators read them and ``shortage`` looks them up.
NAMED, PRODUCT = "named devices", "product"
REQUIRED, FORBIDDEN = "required traits", "forbidden traits"
USABLE, UP, OPEN = "enabled and healthy", "host up", "host open"
KEPT = "not kept for claims before it"
COMPUTE, MEMORY = "compute", "memory"
PROGRAM = "host CPU and memory"


def slots(view: PoolView, demand: Demand, hosts: Rows = ALL, empty: bool = False) -> Amounts:
    """Return how many vGPUs of ``demand`` each device of ``hosts`` can take (hosts x slots).

    ``empty``: if nothing were granted and everything in order.
    """
    open_ = rows(of_kind(view, demand) if empty else suited(view, demand), hosts)
    if demand.sharing_mode != SharingMode.SHARED:
        return geometry.slots(view, demand, open_, hosts, empty)
    compute, memory = (rows(each, hosts) for each in amounts(view, demand, empty))
    if demand.count == 1:
        fits = open_ & (compute >= demand.compute) & (memory >= demand.memory_mib)
        return fits.astype(np.int64)
    return _times(compute, memory, demand) * open_


def of_kind(view: PoolView, demand: Demand) -> Flags:
    """Return which devices are such as ``demand`` asks for, in order or not."""
    return _all(_of_kind(view, demand), view.exists)


def suited(view: PoolView, demand: Demand) -> Flags:
    """Return which devices ``demand`` may have as far as what is granted does not decide."""
    found = cast(Flags, view.remember(("open", demand), lambda: _open(view, demand)))
    return found & ~view.held if view.holding else found


def programs(view: PoolView, demand: Demand, hosts: Rows = ALL, empty: bool = False) -> Flags:
    """Return which of ``hosts`` can take the program of ``demand``; ``empty`` as for ``slots``."""
    cpu = view.cpu_total if empty else view.cpu_free
    memory = view.host_memory_total if empty else view.host_memory_free
    left = np.ones_like(view.up)[hosts] if empty else view.open[hosts]
    if demand.host is not None:
        left = left & view.is_host(demand.host)[hosts]
    if demand.cpu_milli:
        left = left & (cpu[hosts] >= demand.cpu_milli)
    if demand.host_memory_mib:
        left = left & (memory[hosts] >= demand.host_memory_mib)
    return left


def may_spread(view: PoolView, demand: Demand) -> bool:
    """Return whether a claim may have devices of several hosts, and of others than its program's."""
    bound = demand.same_host or demand.linked or demand.host is not None
    return view.remote and demand.tier == Tier.POOL and not bound


def ever(view: PoolView, demand: Demand) -> bool:
    """Return whether the pool could hold ``demand`` if nothing else were there and all in order."""
    return bool(view.remember(("ever", demand), lambda: counts(view, demand, empty=True)[-1][1] > 0))


def now(view: PoolView, demand: Demand) -> bool:
    """Return whether what is in order of the pool now could hold ``demand`` if nothing else were there.

    In order are healthy, enabled devices of hosts that are up and take new vGPUs.
    """
    return bool(view.remember(("now", demand), lambda: _now(view, demand)))


def _now(view: PoolView, demand: Demand) -> bool:
    hosts = programs(view, demand, empty=True) & view.open
    if demand.count == 0:
        return bool(hosts.any())
    found = slots(view, demand, empty=True) * (view.usable & view.open[:, None])
    return bool(_among(view, demand, found, hosts).any())


def counts(view: PoolView, demand: Demand, empty: bool) -> Counts:
    """Return the filters in order, each with how many devices are left after it.

    ``empty`` as for ``slots``. Of a demand without vGPUs they are about hosts.
    """
    left = np.ones(len(view.hosts), dtype=np.bool_) if demand.count == 0 else view.exists
    steps = _of_hosts(view, demand, empty) if demand.count == 0 else _of_devices(view, demand, empty)
    found = []
    for name, passing in steps:
        left = left & passing
        found.append((name, int(np.count_nonzero(left))))
    return tuple(found)


def _open(view: PoolView, demand: Demand) -> Flags:
    """Return which devices ``demand`` may have as far as what is granted does not decide."""
    return _all(_of_kind(view, demand), view.usable & view.open[:, None])


def _all(steps: Iterator[tuple[str, Flags]], left: Flags) -> Flags:
    for _, passing in steps:
        left = left & passing
    return left


def _of_kind(view: PoolView, demand: Demand) -> Iterator[tuple[str, Flags]]:
    """Yield the filters about what devices are."""
    kinds = view.classes
    if demand.devices:
        yield NAMED, view.named(demand.devices)
    if demand.host is not None:
        yield f"host {demand.host}", view.on(demand.host)
    if any(kind.sharing_mode != demand.sharing_mode for kind in kinds):
        fits = [kind.sharing_mode == demand.sharing_mode for kind in kinds]
        yield f"sharing mode {demand.sharing_mode}", view.of_classes(fits)
    if demand.products:
        yield PRODUCT, view.of_classes([kind.product in demand.products for kind in kinds])
    if demand.required_traits:
        fits = [kind.traits.issuperset(demand.required_traits) for kind in kinds]
        yield REQUIRED, view.of_classes(fits)
    if demand.forbidden_traits:
        fits = [kind.traits.isdisjoint(demand.forbidden_traits) for kind in kinds]
        yield FORBIDDEN, view.of_classes(fits)


def _of_devices(view: PoolView, demand: Demand, empty: bool) -> Iterator[tuple[str, Flags]]:
    shape = view.exists.shape
    yield from _of_kind(view, demand)
    if not empty:
        yield USABLE, view.usable
        yield UP, np.broadcast_to(view.up[:, None], shape)
        if view.closed:
            yield OPEN, np.broadcast_to(view.open[:, None], shape)
        if view.holding:
            yield KEPT, ~view.held
    if demand.sharing_mode == SharingMode.SHARED:
        compute, memory = amounts(view, demand, empty)
        yield COMPUTE, compute >= demand.compute
        yield MEMORY, memory >= demand.memory_mib
    else:
        free = geometry.slots(view, demand, view.exists, ALL, empty)
        yield f"free part {demand.partition}".rstrip(), free > 0
    if demand.cpu_milli or demand.host_memory_mib:
        hosts = programs(view, demand, empty=empty)
        left = np.full(shape, hosts.any()) if may_spread(view, demand) else hosts[:, None]
        yield PROGRAM, np.broadcast_to(left, shape)
    where = "in all" if may_spread(view, demand) else "on one host"
    yield f"{demand.count} {where}{_together(demand)}", _enough(view, demand, empty)


def _enough(view: PoolView, demand: Demand, empty: bool) -> Flags:
    """Return which devices are among those that can take the whole claim."""
    found, hosts = slots(view, demand, empty=empty), programs(view, demand, empty=empty)
    return _among(view, demand, found, hosts)


def _among(view: PoolView, demand: Demand, found: Amounts, hosts: Flags) -> Flags:
    """Return the same by how many vGPUs each device takes, and which hosts take the program."""
    if may_spread(view, demand):
        return (found > 0) & (grouping.totals(view, demand, found) >= demand.count) & hosts.any()
    left = np.zeros_like(view.exists)
    for group in grouping.on_hosts(view, demand, found):
        left |= (group > 0) & ((across(group) >= demand.count) & hosts)[:, None]
    return left


def _together(demand: Demand) -> str:
    wishes = {", linked": demand.linked, ", of one type": demand.same_type}
    return "".join(wish for wish, wanted in wishes.items() if wanted and demand.count > 1)


def _of_hosts(view: PoolView, demand: Demand, empty: bool) -> Iterator[tuple[str, Flags]]:
    if demand.host is not None:
        yield f"host {demand.host}", view.is_host(demand.host)
    if not empty:
        yield UP, view.up
        if view.closed:
            yield OPEN, view.open
    yield PROGRAM, programs(view, demand, empty=empty)


def amounts(view: PoolView, demand: Demand, empty: bool) -> tuple[Amounts, Amounts]:
    """Return the compute and memory of each device that ``demand`` could take.

    ``empty`` as for ``slots``.
    """
    if not empty:
        return view.compute.left(demand.qos), view.memory.left(demand.qos)
    if demand.qos == Qos.BEST_EFFORT:
        return view.compute.limit, view.memory.limit
    return view.compute.total, view.memory.total


def _times(compute: Amounts, memory: Amounts, demand: Demand) -> Amounts:
    """Return how often the sizes of ``demand`` go into what is left."""
    found = compute // demand.compute
    return np.minimum(found, memory // demand.memory_mib) if demand.memory_mib else found
