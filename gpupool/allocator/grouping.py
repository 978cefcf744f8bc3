"""Which devices a gang must not mix, and which are of one class: numbered host by host.

A host has few groups of devices, most often one, however many there are in the pool: to look at the
first group of every host at once, then at the second, takes no longer where a pool has more products.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, starmap
from typing import cast

import numpy as np

from gpupool.allocator.arrays import rows
from gpupool.allocator.demand import Demand
from gpupool.allocator.view import ALL, Amounts, Flags, PoolView, Rows


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


@dataclass(frozen=True)
class Groups:
    """Groups of devices of all hosts, one after the other, with a row for each host that has some.

    ``hosts`` are those of the rows, ``starts`` the first row of each group, ``chosen`` which of its
    host's devices are of a row's group; None for all.
    """

    hosts: Amounts
    starts: Amounts
    chosen: Flags | None = None

    def room(self, room: Amounts) -> Amounts:
        """Return the rows of ``room``, as from ``filters.slots``."""
        found = rows(room, self.hosts)
        return found if self.chosen is None else found * self.chosen

    def sums(self, of_rows: Amounts) -> Amounts:
        """Return the sum of all rows of each group."""
        return np.add.reduceat(of_rows, self.starts)

    @cached_property
    def parts(self) -> list[slice]:
        """The rows of each group."""
        return list(starmap(slice, pairwise([*self.starts.tolist(), len(self.hosts)])))


def in_pool(view: PoolView, demand: Demand) -> Groups:
    """Return the groups of devices that a gang may not mix where it may have those of several hosts."""
    if not _of_types(demand):
        every = np.arange(len(view.hosts))
        return Groups(every, 0 * every[:1])
    return cast(Groups, view.remember("types in pool", lambda: _in_pool(view)))


def totals(view: PoolView, demand: Demand, room: Amounts) -> Amounts:
    """Return for each device the ``room`` of all that are of the same group in the pool."""
    if not _of_types(demand):
        return np.broadcast_to(room.sum(), room.shape)
    types = _types(view)
    return np.bincount(types.ravel(), weights=room.ravel()).astype(np.int64).take(types)


def classes(view: PoolView) -> tuple[Amounts, Amounts]:
    """Return classes of devices host by host.

    First which of its host's classes each device is of (hosts x slots), -1 for none; then the classes
    (their number on a host x hosts), 0 where a host has fewer.
    """
    return cast("tuple[Amounts, Amounts]", view.remember("classes", lambda: _classes(view)))


def _columns(view: PoolView, linked: bool, same_type: bool) -> Amounts:
    keys = _types(view) - 1 if same_type else np.where(view.exists, 0, -1)
    if linked:
        # Devices without a link are linked to nobody.
        links = int(view.link.max(initial=-1)) + 1
        keys = np.where((keys >= 0) & (view.link >= 0), keys * links + view.link, -1)
    return _ordinals(keys)


def _of_types(demand: Demand) -> bool:
    return demand.count > 1 and demand.same_type


def _types(view: PoolView) -> Amounts:
    """Return a number from 1 for the product of each device, in the order of their names; 0 for none."""
    return cast(Amounts, view.remember("types", lambda: _numbered(view)))


def _numbered(view: PoolView) -> Amounts:
    products = sorted({kind.product for kind in view.classes})
    numbers = [products.index(kind.product) + 1 for kind in view.classes]
    return np.array([*numbers, 0], dtype=np.int64)[np.where(view.exists, view.device_class, -1)]


def _in_pool(view: PoolView) -> Groups:
    types = _types(view)
    numbers = np.arange(1, int(types.max(initial=0)) + 1)
    group, hosts = np.nonzero((types == numbers[:, None, None]).any(axis=2))
    chosen = rows(types, hosts) == numbers[group][:, None]
    alone = bool((chosen == rows(view.exists, hosts)).all())
    return Groups(hosts, np.flatnonzero(np.diff(group, prepend=-1)), None if alone else chosen)


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
