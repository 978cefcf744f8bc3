"""What the devices of one pool have left, as arrays with one element a device."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Amounts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class DeviceRoom:
    """One device and what is free of it: compute in percent, memory in MiB.

    ``usable`` when it is enabled and healthy, ``host_up`` while its host reports.
    """

    device_id: str
    host: str
    host_up: bool
    traits: AbstractSet[str]
    usable: bool
    compute_total: int
    compute_free: int
    memory_total: int
    memory_free: int


class PoolView:
    """The devices of one pool, by host and id whatever order they came in: plans are repeatable.

    ``hosts`` are the hosts' names, ``host`` each device's index into them.
    """

    def __init__(self, devices: Iterable[DeviceRoom]) -> None:
        rooms = sorted(devices, key=lambda room: (room.host, room.device_id))
        self._traits = [room.traits for room in rooms]
        self.device_ids = tuple(room.device_id for room in rooms)
        self.hosts = tuple(sorted({room.host for room in rooms}))
        index = {host: number for number, host in enumerate(self.hosts)}
        self.host = _amounts([index[room.host] for room in rooms])
        self.host_up = _flags([room.host_up for room in rooms])
        self.usable = _flags([room.usable for room in rooms])
        self.compute_total = _amounts([room.compute_total for room in rooms])
        self.compute_free = _amounts([room.compute_free for room in rooms])
        self.memory_total = _amounts([room.memory_total for room in rooms])
        self.memory_free = _amounts([room.memory_free for room in rooms])

    def __len__(self) -> int:
        return len(self.device_ids)

    def having(self, traits: Iterable[str]) -> Flags:
        """Return which devices have all of ``traits``."""
        wanted = frozenset(traits)
        return _flags([wanted <= has for has in self._traits])

    def lacking(self, traits: Iterable[str]) -> Flags:
        """Return which devices have none of ``traits``."""
        unwanted = frozenset(traits)
        return _flags([unwanted.isdisjoint(has) for has in self._traits])

    def named(self, device_ids: Iterable[str]) -> Flags:
        """Return which devices are among ``device_ids``."""
        wanted = frozenset(device_ids)
        return _flags([device_id in wanted for device_id in self.device_ids])

    def on(self, host: str) -> Flags:
        """Return which devices are on ``host``, its name."""
        return _flags([self.hosts[number] == host for number in self.host])


def _amounts(values: Sequence[int]) -> Amounts:
    return np.array(values, dtype=np.int64)


def _flags(values: Sequence[bool]) -> Flags:
    return np.array(values, dtype=np.bool_)
