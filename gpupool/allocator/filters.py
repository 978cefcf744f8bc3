"""Filters: which devices and hosts a demand may have, and how many were left after each, for people."""

import itertools
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np

from gpupool.allocator import geometry
from gpupool.allocator.arrays import rows
from gpupool.allocator.demand import Demand
from gpupool.allocator.view import ALL, Amounts, Flags, PoolView, Rows
from gpupool.model.claim import Qos, Tier
from gpupool.model.device import SharingMode

Counts = tuple[tuple[str, int], ...]


def slots(view: PoolView, demand: Demand, hosts: Rows = ALL, empty: bool = False) -> Amounts:
    """Return how many vGPUs of ``demand`` each device of ``hosts`` can take (hosts x slots).

    ``empty``: if nothing were granted and everything in order.
    """
    open_ = rows(_all(_of_kind(view, demand), view.exists) if empty else suited(view, demand), hosts)
    if demand.sharing_mode != SharingMode.SHARED:
        return geometry.slots(view, demand, open_, hosts, empty)
    compute, memory = (rows(each, hosts) for each in _amounts(view, demand, empty))
    if demand.count == 1:
        fits = open_ & (compute >= demand.compute) & (memory >= demand.memory_mib)
        return fits.astype(np.int64)
    return _times(compute, memory, demand) * open_


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


def groups(view: PoolView, demand: Demand, found: Amounts) -> Iterator[Amounts]:
    """Yield ``found``, as from ``slots``, once for each group of devices a claim must not mix."""
    if demand.count > 1 and (demand.linked or demand.same_type):
        links = range(int(view.link.max(initial=-1)) + 1) if demand.linked else (None,)
        products = sorted({kind.product for kind in view.classes}) if demand.same_type else (None,)
        for link, product in itertools.product(links, products):
            # Devices without a link are linked to nobody.
            group = found if link is None else found * (view.link == link)
            if product is not None:
                group = group * view.of_classes([kind.product == product for kind in view.classes])
            yield group
    else:
        yield found


def may_spread(view: PoolView, demand: Demand) -> bool:
    """Return whether a claim may have devices of several hosts, and of others than its program's."""
    bound = demand.same_host or demand.linked or demand.host is not None
    return view.remote and demand.tier == Tier.POOL and not bound


def ever(view: PoolView, demand: Demand) -> bool:
    """Return whether the pool could hold ``demand`` if nothing else were there and all in order."""
    return counts(view, demand, empty=True)[-1][1] > 0


def counts(view: PoolView, demand: Demand, empty: bool) -> Counts:
    """Return the filters in order, each with how many devices are left after it.

    ``empty`` as for ``slots``. Of a demand without vGPUs they are about hosts.
    """
    left = np.ones(len(view.hosts), dtype=np.bool_) if demand.count == 0 else view.exists
    steps = _of_hosts(view, demand, empty) if demand.count == 0 else _of_devices(view, demand, empty)
    found = []
    for name, passing in steps:
        left = left & passing
        found.append((name, int(left.sum())))
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
        yield "named devices", view.named(demand.devices)
    if demand.host is not None:
        yield f"host {demand.host}", view.on(demand.host)
    if any(kind.sharing_mode != demand.sharing_mode for kind in kinds):
        fits = [kind.sharing_mode == demand.sharing_mode for kind in kinds]
        yield f"sharing mode {demand.sharing_mode}", view.of_classes(fits)
    if demand.products:
        yield "product", view.of_classes([kind.product in demand.products for kind in kinds])
    if demand.required_traits:
        fits = [kind.traits.issuperset(demand.required_traits) for kind in kinds]
        yield "required traits", view.of_classes(fits)
    if demand.forbidden_traits:
        fits = [kind.traits.isdisjoint(demand.forbidden_traits) for kind in kinds]
        yield "forbidden traits", view.of_classes(fits)


def _of_devices(view: PoolView, demand: Demand, empty: bool) -> Iterator[tuple[str, Flags]]:
    shape = view.exists.shape
    yield from _of_kind(view, demand)
    if not empty:
        yield "enabled and healthy", view.usable
        yield _up(view), np.broadcast_to(view.up[:, None], shape)
        if name := _closed(view):
            yield name, np.broadcast_to(view.open[:, None], shape)
        if view.holding:
            yield "not kept for claims before it", ~view.held
    if demand.sharing_mode == SharingMode.SHARED:
        compute, memory = _amounts(view, demand, empty)
        yield "compute", compute >= demand.compute
        yield "memory", memory >= demand.memory_mib
    else:
        free = geometry.slots(view, demand, view.exists, ALL, empty)
        yield f"free part {demand.partition}".rstrip(), free > 0
    if demand.cpu_milli or demand.host_memory_mib:
        hosts = programs(view, demand, empty=empty)
        left = np.full(shape, hosts.any()) if may_spread(view, demand) else hosts[:, None]
        yield "host CPU and memory", np.broadcast_to(left, shape)
    where = "in all" if may_spread(view, demand) else "on one host"
    yield f"{demand.count} {where}{_together(demand)}", _enough(view, demand, empty)


def _enough(view: PoolView, demand: Demand, empty: bool) -> Flags:
    """Return which devices are among those that can take the whole claim."""
    found = slots(view, demand, empty=empty)
    left = np.zeros_like(view.exists)
    hosts = programs(view, demand, empty=empty)
    for group in groups(view, demand, found):
        if may_spread(view, demand):
            left |= (group > 0) & (group.sum() >= demand.count) & hosts.any()
        else:
            left |= (group > 0) & ((group.sum(axis=1) >= demand.count) & hosts)[:, None]
    return left


def _together(demand: Demand) -> str:
    wishes = {", linked": demand.linked, ", of one type": demand.same_type}
    return "".join(wish for wish, wanted in wishes.items() if wanted and demand.count > 1)


def _of_hosts(view: PoolView, demand: Demand, empty: bool) -> Iterator[tuple[str, Flags]]:
    if demand.host is not None:
        yield f"host {demand.host}", view.is_host(demand.host)
    if not empty:
        yield _up(view), view.up
        if name := _closed(view):
            yield name, view.open
    yield "host CPU and memory", programs(view, demand, empty=empty)


def _up(view: PoolView) -> str:
    """Return the name of the filter of hosts that are up, with the first reason of one that is not."""
    why = _first(view, [host for host in view.closed if not view.up[host]], "is down")
    return f"host up ({why})" if why else "host up"


def _closed(view: PoolView) -> str:
    """Return the name of the filter of hosts that are up and take no new vGPUs; empty without any."""
    why = _first(view, [host for host in view.closed if view.up[host]], "takes no new vGPUs")
    return f"host open ({why})" if why else ""


def _first(view: PoolView, closed: Sequence[int], what: str) -> str:
    """Return what is the matter with the first of these hosts, and how many more there are."""
    if not closed:
        return ""
    host = min(closed)
    more = f", and {len(closed) - 1} more" if len(closed) > 1 else ""
    return f"host {view.hosts[host]} {what}: {view.closed[host]}{more}"


def _amounts(view: PoolView, demand: Demand, empty: bool) -> tuple[Amounts, Amounts]:
    if not empty:
        return view.compute.left(demand.qos), view.memory.left(demand.qos)
    if demand.qos == Qos.BEST_EFFORT:
        return view.compute.limit, view.memory.limit
    return view.compute.total, view.memory.total


def _times(compute: Amounts, memory: Amounts, demand: Demand) -> Amounts:
    """Return how often the sizes of ``demand`` go into what is left."""
    found = compute // demand.compute
    return np.minimum(found, memory // demand.memory_mib) if demand.memory_mib else found
