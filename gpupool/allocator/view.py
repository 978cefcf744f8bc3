"""What the devices and hosts of one pool have left, as arrays that are updated in place.

Arrays of devices have one row a host and one column a slot; hosts with fewer devices than columns
have empty slots at the end, which nothing fits.
"""

import copy
import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gpupool.allocator.arrays import across
from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.allocator.demand import Demand
from gpupool.allocator.plan import Plan
from gpupool.allocator.recent import Recent
from gpupool.model.claim import Qos
from gpupool.model.device import SharingMode
from gpupool.model.share import Part

Flags = NDArray[np.bool_]
Amounts = NDArray[np.int64]
# Indexes of hosts, or all.
Rows = Amounts | slice
ALL = slice(None)
# Changes remembered: who has not looked for so many looks at everything again.
JOURNAL = 20_000
# Host and slot.
Place = tuple[int, int]
# Tells views apart for good; the id of one may become another's when it is gone.
_NUMBERS = itertools.count()


class Shares:
    """Compute or memory of all devices; see DeviceCapacity.

    ``free`` is what a guaranteed claim may still take, ``spare`` what a best-effort claim may.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.total = np.zeros(shape, dtype=np.int64)
        self.limit = np.zeros(shape, dtype=np.int64)
        self.granted = np.zeros(shape, dtype=np.int64)
        self.guaranteed = np.zeros(shape, dtype=np.int64)
        self.free = np.zeros(shape, dtype=np.int64)
        self.spare = np.zeros(shape, dtype=np.int64)

    def put(self, place: Place, total: int, limit: int, granted: int, guaranteed: int) -> None:
        """Write one device."""
        self.total[place], self.limit[place] = total, limit
        self.granted[place], self.guaranteed[place] = granted, guaranteed
        self._derive(place)

    def add(self, place: Place, amount: int, guaranteed: bool) -> None:
        """Grant ``amount`` more of one device, or take it back when negative."""
        self.granted[place] += amount
        if guaranteed:
            self.guaranteed[place] += amount
        self._derive(place)

    def give(self, places: tuple[Amounts, Amounts], amounts: Amounts, guaranteed: Flags) -> None:
        """Take back many grants at once."""
        np.subtract.at(self.granted, places, amounts)
        np.subtract.at(self.guaranteed, places, amounts * guaranteed)
        np.maximum(self.limit - self.granted, 0, out=self.spare)
        np.minimum(self.spare, self.total - self.guaranteed, out=self.free)
        np.maximum(self.free, 0, out=self.free)

    def fork(self) -> "Shares":
        """Return shares that are granted on their own."""
        found = copy.copy(self)
        found.granted, found.guaranteed = self.granted.copy(), self.guaranteed.copy()
        found.free, found.spare = self.free.copy(), self.spare.copy()
        return found

    def left(self, qos: Qos) -> Amounts:
        """Return what a claim of ``qos`` may still take of each device."""
        return self.free if qos == Qos.GUARANTEED else self.spare

    def _derive(self, place: Place) -> None:
        spare = max(int(self.limit[place] - self.granted[place]), 0)
        self.spare[place] = spare
        self.free[place] = max(min(spare, int(self.total[place] - self.guaranteed[place])), 0)


@dataclass(frozen=True)
class DeviceClass:
    """What devices have that does not change with what is granted of them."""

    product: str = ""
    sharing_mode: SharingMode = SharingMode.SHARED
    traits: frozenset[str] = frozenset()


class PoolView:
    """The hosts and devices of one pool, by name and id whatever order they came in.

    ``remote``: a claim of tier pool may have devices of other hosts than its program's. ``held``
    devices are kept for somebody: plans leave them out. ``device_class`` is each device's index into
    ``classes``, ``link`` the ordinal within its host of its link group, -1 without one. ``version``
    changes with every change.
    """

    def __init__(self, capacities: Iterable[HostCapacity], remote: bool = False) -> None:
        ordered = sorted(capacities, key=lambda room: room.name)
        self._number = next(_NUMBERS)
        self.remote = remote
        self.version = 0
        self.hosts = tuple(room.name for room in ordered)
        self.host_index = {name: number for number, name in enumerate(self.hosts)}
        self.slots = max((len(room.devices) for room in ordered), default=0)
        shape = (len(ordered), self.slots)
        # Hosts that report; of these, those that take new vGPUs; and why the others don't.
        self.up = np.zeros(len(ordered), dtype=np.bool_)
        self.open = np.zeros(len(ordered), dtype=np.bool_)
        self.closed: dict[int, str] = {}
        self.cpu_total = np.zeros(len(ordered), dtype=np.int64)
        self.cpu_free = np.zeros(len(ordered), dtype=np.int64)
        self.host_memory_total = np.zeros(len(ordered), dtype=np.int64)
        self.host_memory_free = np.zeros(len(ordered), dtype=np.int64)
        self.compute, self.memory = Shares(shape), Shares(shape)
        self.exists = np.zeros(shape, dtype=np.bool_)
        self.usable = np.zeros(shape, dtype=np.bool_)
        self.held = np.zeros(shape, dtype=np.bool_)
        self.holding = False
        self.link = np.full(shape, -1, dtype=np.int64)
        self.device_class = np.zeros(shape, dtype=np.int64)
        self.classes: list[DeviceClass] = []
        self.parts: dict[Place, frozenset[Part]] = {}
        # Parts are kept for a claim to come while somebody has them still: how often more than once.
        self._twice: Counter[tuple[Place, Part]] = Counter()
        self.device_index: dict[str, Place] = {}
        self._ids: dict[Place, str] = {}
        self._links: dict[Place, str] = {}
        self._fixed = 0
        # Hosts in the order in which they changed; marks count from the first change ever.
        self._changed: list[int] = []
        self._first_mark = 0
        self._remembered: dict[Hashable, tuple[int, object]] = {}
        # Kept here for those that follow its changes; rankings take 16 bytes a host or so, the others
        # 24 bytes a device and 48 a host.
        self.rankings = Recent[object](512)
        self.devices = Recent[object](32)
        for host, room in enumerate(ordered):
            for slot, device in enumerate(_by_id(room)):
                self.device_index[device.device_id] = (host, slot)
                self._ids[host, slot] = device.device_id
            self._write(host, room)

    def __len__(self) -> int:
        """Return how many devices there are."""
        return len(self.device_index)

    def device_id(self, place: Place) -> str:
        """Return the id of the device in a slot; KeyError for an empty one."""
        return self._ids[place]

    def put(self, room: HostCapacity) -> None:
        """Replace what is known of one host; KeyError unless it is here with the same devices."""
        host = self.host_index[room.name]
        known = {self._ids[host, slot] for slot in range(self.slots) if self.exists[host, slot]}
        if known != {device.device_id for device in room.devices}:
            raise KeyError(room.name)
        self._write(host, room)

    def take(self, demand: Demand, plan: Plan) -> None:
        """Grant ``plan``, which was made for ``demand``."""
        self._grant(demand, plan, 1)

    def give(self, demand: Demand, plan: Plan) -> None:
        """Take back what ``take`` granted; the view is as before then."""
        self._grant(demand, plan, -1)

    def give_part(self, place: Place, part: Part) -> None:
        """Take back one part of a device, and nothing else of what was granted with it."""
        if self.is_twice(place, part):
            self._twice[place, part] -= 1
        else:
            self.parts[place] -= {part}

    def _take_part(self, place: Place, part: Part) -> None:
        if part in self.parts[place]:
            self._twice[place, part] += 1
        else:
            self.parts[place] |= {part}

    def is_twice(self, place: Place, part: Part) -> bool:
        """Return whether a part would be taken still if who has it gave it back."""
        return self._twice[place, part] > 0

    def bounds(self) -> tuple[int, ...]:
        """Return what tables about this view depend on: equal ones are of it or a fork of it."""
        return cast("tuple[int, ...]", self.remember("bounds", self._bounds))

    def _bounds(self) -> tuple[int, ...]:
        amounts = (self.compute.limit, self.compute.total, self.memory.limit, self.cpu_total)
        lends = int((self.compute.limit > self.compute.total).any())
        largest = (int(each.max(initial=0)) for each in amounts)
        return (self._number, len(self.classes), lends, *largest)

    def named(self, device_ids: Iterable[str]) -> Flags:
        """Return which devices are among ``device_ids``."""
        found = np.zeros_like(self.exists)
        for device_id in device_ids:
            if device_id in self.device_index:
                found[self.device_index[device_id]] = True
        return found

    def is_host(self, name: str) -> Flags:
        """Return which host is called ``name``."""
        found = np.zeros_like(self.up)
        if name in self.host_index:
            found[self.host_index[name]] = True
        return found

    def on(self, name: str) -> Flags:
        """Return which devices are on the host called ``name``."""
        return self.exists & self.is_host(name)[:, None]

    def of_classes(self, chosen: Sequence[bool]) -> Flags:
        """Return which devices are of the classes that are ``chosen``."""
        found: Flags = np.array([*chosen, False], dtype=np.bool_)[self.device_class] & self.exists
        return found

    def twins(self) -> Amounts:
        """Return for each host the first that differs in nothing but names; itself if it is touched.

        Touched is a host of which something is granted or held.
        """
        kind = cast(Amounts, self.remember("kinds of hosts", self._kinds))
        touched = (self.compute.granted != 0) | (self.memory.granted != 0) | self.held
        whole = (self.cpu_free == self.cpu_total) & (self.host_memory_free == self.host_memory_total)
        untouched = np.flatnonzero(whole & (across(touched) == 0))
        first = np.zeros(len(self.hosts), dtype=np.int64)
        # Of several that are written to one place the last one stays.
        first[kind[untouched[::-1]]] = untouched[::-1]
        found = np.arange(len(self.hosts))
        found[untouched] = first[kind[untouched]]
        return found

    def _kinds(self) -> Amounts:
        """Return a number for each host, the same for those of which all that lasts is the same."""
        numbers: dict[bytes, int] = {}
        lasting = np.column_stack([*self._all_lasting()])
        found = [numbers.setdefault(row.tobytes(), len(numbers)) for row in lasting]
        return np.array(found, dtype=np.int64)

    def hold(self, device_ids: Iterable[str], held: bool = True) -> None:
        """Keep devices out of plans, or let them in again."""
        for device_id in device_ids:
            place = self.device_index[device_id]
            self.held[place] = held
            self._touch(place[0])
        self.holding = bool(self.held.any())

    def fork(self) -> "PoolView":
        """Return a view that grants on its own; what grants do not change is shared with this one."""
        found = copy.copy(self)
        found.cpu_free, found.host_memory_free = self.cpu_free.copy(), self.host_memory_free.copy()
        found.held, found.parts, found._twice = self.held.copy(), dict(self.parts), self._twice.copy()
        found.compute, found.memory = self.compute.fork(), self.memory.fork()
        found._changed, found._first_mark = [], 0
        found.rankings, found.devices = self.rankings.fork(), self.devices.fork()
        return found

    def changed_since(self, mark: int) -> tuple[Rows, int]:
        """Return the hosts that changed since ``mark`` (all for -1), and the mark to ask with next."""
        now = self._first_mark + len(self._changed)
        if mark < self._first_mark:
            return ALL, now
        recent = self._changed[mark - self._first_mark :]
        return np.array(sorted(set(recent)), dtype=np.int64), now

    def _touch(self, host: int) -> None:
        self.version += 1
        self._changed.append(host)
        if len(self._changed) > JOURNAL:
            half = JOURNAL // 2
            del self._changed[:half]
            self._first_mark += half

    def remember(self, key: Hashable, make: Callable[[], object]) -> object:
        """Return what ``make`` made for ``key`` since classes, links or usability last changed."""
        found = self._remembered.get(key)
        if found is None or found[0] != self._fixed:
            if len(self._remembered) > 4096:
                self._remembered.clear()
            found = self._remembered[key] = (self._fixed, make())
        return found[1]

    def capacities(self) -> Iterator[HostCapacity]:
        """Yield every host as it is now."""
        for host, name in enumerate(self.hosts):
            yield HostCapacity(
                name=name,
                up=bool(self.up[host]),
                closed=self.closed.get(host, ""),
                cpu_total=int(self.cpu_total[host]),
                cpu_free=int(self.cpu_free[host]),
                memory_total=int(self.host_memory_total[host]),
                memory_free=int(self.host_memory_free[host]),
                devices=tuple(
                    self._device((host, slot)) for slot in range(self.slots) if self.exists[host, slot]
                ),
            )

    def _device(self, place: Place) -> DeviceCapacity:
        kind = self.classes[int(self.device_class[place])]
        compute, memory = self.compute, self.memory
        return DeviceCapacity(
            device_id=self._ids[place],
            usable=bool(self.usable[place]),
            traits=kind.traits,
            product=kind.product,
            sharing_mode=kind.sharing_mode,
            link_group=self._links[place],
            compute_total=int(compute.total[place]),
            compute_limit=int(compute.limit[place]),
            compute_granted=int(compute.granted[place]),
            compute_guaranteed=int(compute.guaranteed[place]),
            memory_total=int(memory.total[place]),
            memory_limit=int(memory.limit[place]),
            memory_granted=int(memory.granted[place]),
            memory_guaranteed=int(memory.guaranteed[place]),
            parts=self.parts.get(place, frozenset()),
        )

    def _write(self, host: int, room: HostCapacity) -> None:
        before = self._lasting(host)
        self.up[host], self.open[host] = room.up, room.up and not room.closed
        self.closed.pop(host, None)
        if room.closed:
            self.closed[host] = room.closed
        self.cpu_total[host], self.cpu_free[host] = room.cpu_total, room.cpu_free
        self.host_memory_total[host] = room.memory_total
        self.host_memory_free[host] = room.memory_free
        groups = sorted({device.link_group for device in room.devices} - {""})
        for device in room.devices:
            place = self.device_index[device.device_id]
            self.exists[place] = True
            self.usable[place] = device.usable
            self.link[place] = groups.index(device.link_group) if device.link_group else -1
            self._links[place] = device.link_group
            self.device_class[place] = self._class(device)
            self._write_shares(place, device)
        if self._lasting(host) != before:
            self._fixed += 1
        self._touch(host)

    def _lasting(self, host: int) -> bytes:
        """Return what of a host ``remember`` may have looked at."""
        return b"".join(each[host].tobytes() for each in self._all_lasting())

    def _all_lasting(self) -> Iterator[NDArray[Any]]:
        """Yield all that a host has and grants do not change."""
        yield from (self.up, self.open, self.cpu_total, self.host_memory_total)
        yield from (self.exists, self.usable, self.link, self.device_class)
        for shares in (self.compute, self.memory):
            yield from (shares.total, shares.limit)

    def _write_shares(self, place: Place, device: DeviceCapacity) -> None:
        self.compute.put(
            place,
            device.compute_total,
            device.compute_limit,
            device.compute_granted,
            device.compute_guaranteed,
        )
        self.memory.put(
            place,
            device.memory_total,
            device.memory_limit,
            device.memory_granted,
            device.memory_guaranteed,
        )
        self.parts[place] = device.parts

    def _class(self, device: DeviceCapacity) -> int:
        kind = DeviceClass(device.product, device.sharing_mode, device.traits)
        if kind not in self.classes:
            self.classes.append(kind)
        return self.classes.index(kind)

    def _grant(self, demand: Demand, plan: Plan, sign: int) -> None:
        guaranteed = demand.qos == Qos.GUARANTEED
        for share in plan.shares:
            place = self.device_index[share.device_id]
            self.compute.add(place, sign * share.compute, guaranteed)
            self.memory.add(place, sign * share.memory_mib, guaranteed)
            if share.part is not None:
                (self._take_part if sign > 0 else self.give_part)(place, share.part)
            self._touch(place[0])
        if plan.host is not None:
            host = self.host_index[plan.host]
            self.cpu_free[host] -= sign * demand.cpu_milli
            self.host_memory_free[host] -= sign * demand.host_memory_mib
            self._touch(host)


def _by_id(room: HostCapacity) -> list[DeviceCapacity]:
    return sorted(room.devices, key=lambda device: device.device_id)
