"""Which devices a gang must not mix, and which are of one class: numbered host by host.

A host has few groups of devices, most often one, however many there are in the pool: to look at the
first group of every host at once, then at the second, takes no longer where a pool has more products.
"""

from collections.abc import Iterator
from typing import cast

import numpy as np

from gpupool.allocator.arrays import across, rows
from gpupool.allocator.demand import Demand
from gpupool.allocator.view import ALL, Amounts, PoolView, Rows


def is_grouped(demand: Demand) -> bool:
    """Return whether a gang must not mix devices of different links or products."""
    return demand.count > 1 and (demand.linked or demand.same_type)


def on_hosts(view: PoolView, demand: Demand, room: Amounts, hosts: Rows = ALL) -> Iterator[Amounts]:
    """Yield ``room``, as from ``filters.slots``, of the first group of each host, then of the second."""
    if not is_grouped(demand):
        yield room
        return
    key = "groups", demand.linked, demand.same_type
    columns = rows(cast(Amounts, view.remember(key, lambda: _columns(view, *key[1:]))), hosts)
    for number in range(int(columns.max(initial=-1)) + 1):
        yield room * (columns == number)


def in_pool(view: PoolView, demand: Demand, room: Amounts) -> Iterator[tuple[Amounts, Amounts]]:
    """Yield for each group of devices of all hosts the hosts that may have some, and their rows."""
    if not is_grouped(demand):
        yield np.arange(len(room)), room
        return
    groups = cast(
        "list[tuple[Amounts, Amounts | None]]",
        view.remember("products", lambda: list(_products(view))),
    )
    for hosts, chosen in groups:
        found = rows(room, hosts) if chosen is None else rows(room, hosts) * chosen
        some = np.flatnonzero(across(found))
        yield hosts.take(some), rows(found, some)


def classes(view: PoolView) -> tuple[Amounts, Amounts]:
    """Return classes of devices host by host.

    First which of its host's classes each device is of (hosts x slots), -1 for none; then the classes
    (their number on a host x hosts), 0 where a host has fewer.
    """
    return cast("tuple[Amounts, Amounts]", view.remember("classes", lambda: _classes(view)))


def _columns(view: PoolView, linked: bool, same_type: bool) -> Amounts:
    keys = np.where(view.exists, 0, -1)
    if same_type:
        keys = np.where(view.exists, _product_numbers(view)[view.device_class], -1)
    if linked:
        # Devices without a link are linked to nobody.
        links = int(view.link.max(initial=-1)) + 1
        keys = np.where((keys >= 0) & (view.link >= 0), keys * links + view.link, -1)
    return _ordinals(keys)


def _products(view: PoolView) -> Iterator[tuple[Amounts, Amounts | None]]:
    """Yield for each product the hosts that have it, and which of their devices are; None for all."""
    numbers = np.where(view.exists, _product_numbers(view)[view.device_class], -1)
    for number in range(len({kind.product for kind in view.classes})):
        chosen = numbers == number
        hosts = np.flatnonzero(chosen.any(axis=1))
        mixed = bool((chosen[hosts] != view.exists[hosts]).any())
        yield hosts, chosen[hosts] if mixed else None


def _product_numbers(view: PoolView) -> Amounts:
    """Return the number of each class's product, in the order of their names."""
    products = sorted({kind.product for kind in view.classes})
    numbers = [products.index(kind.product) for kind in view.classes]
    return np.array(numbers or [0], dtype=np.int64)


def _classes(view: PoolView) -> tuple[Amounts, Amounts]:
    columns = _ordinals(np.where(view.exists, view.device_class, -1))
    kinds = np.zeros((max(int(columns.max(initial=-1)) + 1, 1), len(columns)), dtype=np.int64)
    hosts, slots = np.nonzero(view.exists)
    kinds[columns[hosts, slots], hosts] = view.device_class[hosts, slots]
    return columns, kinds


def _ordinals(keys: Amounts) -> Amounts:
    """Return the number of each key among its row's different ones, smallest first; -1 for -1."""
    if not keys.size:
        return keys
    order = np.argsort(keys, axis=1, kind="stable")
    ordered = np.take_along_axis(keys, order, axis=1)
    before = np.column_stack([np.full(len(keys), -1), ordered[:, :-1]])
    numbers = (ordered != before).cumsum(axis=1) - 1
    found = np.empty_like(keys)
    np.put_along_axis(found, order, np.where(ordered < 0, -1, numbers), axis=1)
    return found
