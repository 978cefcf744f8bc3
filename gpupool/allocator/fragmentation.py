"""How much of what is free is of no use: fragmentation, and its change by a placement.

The measure is that of Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with
Fragmentation Gradient Descent", USENIX ATC 2023, section 4: what is free of a host's devices counts as
fragment for a demand that could not use it there, averaged over the demands of the mix. Here in closed
form: what is of use is looked up in tables by device class, bins of the host's free CPU and of the
device's free memory, and free compute; so a placement costs a few look-ups a host.
"""

from bisect import bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gpupool.allocator.arrays import across, rows
from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import Weights
from gpupool.allocator.view import Amounts, DeviceClass, PoolView
from gpupool.model.claim import COMPUTE_MAX, Qos

Floats = NDArray[np.float64]
# Amounts up to so many, a thousand cores or a TiB, have a table of 8 MiB: ten times as fast as a search.
_TABLED = 2**20


def suits(kind: DeviceClass, demand: Demand) -> bool:
    """Return whether ``demand`` may have a device of ``kind``, as far as what devices are decides."""
    return (
        kind.sharing_mode == demand.sharing_mode
        and kind.traits.issuperset(demand.required_traits)
        and kind.traits.isdisjoint(demand.forbidden_traits)
        and (not demand.products or kind.product in demand.products)
    )


class Usefulness:
    """Tables of how much of what is free the demands of a mix could use; in percent of a device.

    ``split``: a guaranteed claim and a best-effort one find different room, since more than there is
    may be granted somewhere; there is a table of devices for each then.
    """

    def __init__(self, view: PoolView, weights: Weights) -> None:
        wanted = [(demand, share) for demand, share in weights if demand.count]
        self._cpu = _Bins((demand.cpu_milli for demand, _ in wanted), view.cpu_total)
        self._memory = _Bins((demand.memory_mib for demand, _ in wanted), view.memory.limit)
        self._steps = int(view.compute.limit.max(initial=100)) + 1
        self._counts = view.slots + 1
        self.split = bool((view.compute.limit > view.compute.total).any())
        gangs = [pair for pair in wanted if _is_gang(pair[0])]
        others = [pair for pair in wanted if not _is_gang(pair[0])]
        groups = [others]
        if self.split:
            groups = [[pair for pair in others if pair[0].qos == qos] for qos in Qos]
        # How much of the mix finds what is lent free too.
        self.lent = sum((share for _, share in groups[-1]), 0.0) if self.split else 0.0
        self._devices = [self._of_devices(view.classes, group) for group in groups]
        self._hosts = self._of_hosts(view.classes, gangs)

    def starts(self, kind: Amounts, cpu_free: Amounts) -> Amounts:
        """Return where tables begin for devices (hosts x slots) of classes ``kind`` on hosts (hosts)."""
        table = self._memory.count * self._steps
        return kind * (self._cpu.count * table) + (self._cpu.of(cpu_free) * table)[:, None]

    def of_devices(self, starts: Amounts, memory: Amounts, free: Amounts, spare: Amounts) -> Floats:
        """Return what is of use of devices to demands of which one device at a time can meet a part.

        ``memory`` is what is free of it, ``free`` and ``spare`` are as on Shares.
        """
        if self._memory.count > 1:
            starts = starts + self._memory.of(memory) * self._steps
        found: Floats = self._devices[0].take(starts + free)
        if self.split:
            found += self._devices[1].take(starts + spare)
        return found

    def of_hosts(self, kind: Amounts, cpu_free: Amounts, whole: Amounts) -> Floats:
        """Return what is of use of hosts with ``whole`` devices untouched to demands of several such."""
        row = (kind * self._cpu.count + self._cpu.of(cpu_free)) * self._counts
        found: Floats = self._hosts.take(row + whole)
        return found

    def _of_devices(self, classes: list[DeviceClass], wanted: list[tuple[Demand, float]]) -> Floats:
        shape = (max(len(classes), 1), self._cpu.count, self._memory.count, self._steps)
        shares = np.zeros(shape)
        for demand, share in wanted:
            cpu, memory = self._cpu.first(demand.cpu_milli), self._memory.first(demand.memory_mib)
            if cpu < self._cpu.count and memory < self._memory.count:
                shares[_suited(classes, demand), cpu, memory, demand.compute] += share
        return _of_use(shares, 1)

    def _of_hosts(self, classes: list[DeviceClass], wanted: list[tuple[Demand, float]]) -> Floats:
        shares = np.zeros((max(len(classes), 1), self._cpu.count, self._counts))
        for demand, share in wanted:
            cpu = self._cpu.first(demand.cpu_milli)
            if cpu < self._cpu.count and demand.count < self._counts:
                shares[_suited(classes, demand), cpu, demand.count] += share
        return _of_use(shares, COMPUTE_MAX)


def _suited(classes: list[DeviceClass], demand: Demand) -> list[int]:
    return [number for number, kind in enumerate(classes) if suits(kind, demand)]


def _of_use(shares: Floats, unit: int) -> Floats:
    """Return the table of what is of use, made of which share of the mix needs just so much.

    The first axis is of classes, the others are of amounts, the last of ``unit`` percent of a device
    each. Who finds an amount enough finds more enough too.
    """
    for axis in range(1, shares.ndim):
        # np.cumsum takes longer along any axis but the last.
        along = np.moveaxis(shares, axis, 0)
        for at in range(1, len(along)):
            along[at] += along[at - 1]
    shares *= unit * np.arange(shares.shape[-1])
    return shares.ravel()


class _Bins:
    """Which of the ``wanted`` amounts some free amount meets: their number, looked up or searched."""

    def __init__(self, wanted: Iterable[int], totals: Amounts) -> None:
        largest = int(totals.max(initial=0))
        self._bounds = sorted({amount for amount in wanted if 0 < amount <= largest})
        self.count = len(self._bounds) + 1
        self._searched = np.array(self._bounds, dtype=np.int64)
        self._table: Amounts | None = None
        last = max(self._bounds, default=0)
        if last < _TABLED:
            # The last bin is that of all larger amounts too.
            self._table = np.repeat(np.arange(self.count), np.diff([0, *self._bounds, last + 1]))

    def of(self, amounts: Amounts) -> Amounts:
        """Return the bin of each of ``amounts``."""
        if self._table is None:
            return self._searched.searchsorted(amounts, side="right")
        return self._table.take(amounts, mode="clip")

    def first(self, amount: int) -> int:
        """Return the first bin in which there is ``amount``, one past the last when there is none."""
        if amount <= 0:
            return 0
        return bisect_right(self._bounds, amount) if amount in self._bounds else self.count


class Hosts:
    """What some hosts have left, and how much of it is of use; changes here leave the view alone."""

    def __init__(self, view: PoolView, useful: Usefulness, hosts: Amounts) -> None:
        usable = rows(view.usable, hosts)
        self._useful = useful
        self._kind = rows(view.device_class, hosts)
        self._cpu = rows(view.cpu_free, hosts)
        self._starts = useful.starts(self._kind, self._cpu)
        self._total = rows(view.compute.total, hosts)
        self._free = rows(view.compute.free, hosts) * usable
        self._spare = rows(view.compute.spare, hosts) * usable
        self._memory = rows(view.memory.free, hosts)
        self._memory_spare = rows(view.memory.spare, hosts)
        self._whole = (self._free == self._total) & usable

    def free(self) -> Floats:
        """Return what is free of each host to a demand of the mix, on average."""
        found: Floats = across(self._free) + self._useful.lent * across(self._spare - self._free)
        return found

    def of_use(self) -> Floats:
        """Return what is of use of each host."""
        return across(self._of_devices()) + self._of_hosts(across(self._whole))

    def take_cpu(self, cpu_milli: int) -> None:
        """Take CPU of every host."""
        self._cpu = self._cpu - cpu_milli
        self._starts = self._useful.starts(self._kind, self._cpu)

    def take(self, demand: Demand, taken: Amounts) -> None:
        """Take ``taken`` vGPUs (hosts x slots) of ``demand``."""
        compute, memory = demand.compute * taken, demand.memory_mib * taken
        self._free, self._spare = _less(self._free, self._spare, compute, demand.qos)
        self._memory, self._memory_spare = _less(self._memory, self._memory_spare, memory, demand.qos)
        self._whole = self._whole & (self._free == self._total)

    def lost_with_one(self, demand: Demand, program: bool) -> Floats:
        """Return how much less would be of use of each host with one more vGPU on a slot.

        Hosts x slots; with ``program``, which is taken here then, its CPU is gone too.
        """
        whole = across(self._whole)
        devices, of_host = self._of_devices(), self._of_hosts(whole)
        if program and demand.cpu_milli:
            before = devices
            self.take_cpu(demand.cpu_milli)
            devices = self._of_devices()
            of_host = of_host + across(before - devices)
        untouched, touched = self._of_hosts(whole), self._of_hosts(np.maximum(whole - 1, 0))
        free, spare = _less(self._free, self._spare, demand.compute, demand.qos)
        memory, _ = _less(self._memory, self._memory_spare, demand.memory_mib, demand.qos)
        lost = devices
        lost -= self._useful.of_devices(self._starts, memory, free, spare)
        lost += (of_host - untouched)[:, None]
        lost += (self._whole & (free != self._total)) * (untouched - touched)[:, None]
        return lost

    def _of_devices(self) -> Floats:
        """Return what is of use of each device to demands met device by device."""
        return self._useful.of_devices(self._starts, self._memory, self._free, self._spare)

    def _of_hosts(self, whole: Amounts) -> Floats:
        kind = self._kind[:, 0] if self._kind.shape[1] else np.zeros(len(self._kind), dtype=np.int64)
        return self._useful.of_hosts(kind, self._cpu, whole)


def _less(free: Amounts, spare: Amounts, amount: Amounts | int, qos: Qos) -> tuple[Amounts, Amounts]:
    """Return ``free`` and ``spare`` with ``amount`` less; best effort takes what is lent first."""
    spare = np.maximum(spare - amount, 0)
    return np.maximum(free - amount, 0) if qos == Qos.GUARANTEED else np.minimum(free, spare), spare


def _is_gang(demand: Demand) -> bool:
    """Return whether a demand needs several whole devices of one host; others are seen one by one."""
    return demand.count > 1 and demand.compute == COMPUTE_MAX
