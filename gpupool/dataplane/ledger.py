"""The agent's side of a vGPU's ledger; native/worker/ledger.h describes the file.

Workers that may have been taken over by their client write to it. So nothing here maps the file
(a file cut short would kill the agent), waits for a lock, or believes a number without bounds.
"""

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpupool.dataplane import device_time
from gpupool.model import errors, whole_file

MAGIC = 0x52474C47
VERSION = 3
# Version 2 is an agent's of before an upgrade, whose workers live on: 64 slots, no host memory.
VERSIONS = (2, VERSION)
SLOTS_MAX = 1024
MIB = 1 << 20
# A vGPU that was busy for 30 years without a pause; a database's BIGINT holds it.
BUSY_MAX = 10**18

# Errors of opening that say nothing about the file.
HOST_ERRORS = (
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
)

# magic, version, slots, lost, memory_limit, compute, host_limit, frozen
HEADER = struct.Struct("<IIIIQI4xQI20x")
# memory, busy_ns, pid, host_memory, in_flight_ns, ended_ns
SLOT = struct.Struct("<QQI4xQQQ16x")

# magic, version, slots
_START = struct.Struct("<III")
# lost, memory_limit, compute, host_limit: what the agent alone may change
_TERMS = struct.Struct("<IQI4xQ")
LOST_OFFSET = 12
FROZEN_OFFSET = 40
BUSY_OFFSET = 8
PID_OFFSET = 16
HOST_MEMORY_OFFSET = 24
IN_FLIGHT_OFFSET = 32
ENDED_OFFSET = 40


def size_of(slots: int) -> int:
    """Return the bytes of a ledger with so many slots."""
    return HEADER.size + slots * SLOT.size + device_time.SIZE


@dataclass(frozen=True)
class SlotUsage:
    """What one slot uses: MiB of device memory (rounded up) and ns of device time since its making.

    ``host_mib`` is MiB of the host's memory that its worker is charged for (rounded up).
    """

    memory_mib: int
    busy_ns: int
    host_mib: int = 0


@dataclass(frozen=True)
class Limits:
    """What a vGPU may use: percent of its device's time, MiB of its memory, MiB of the host's memory.

    Without ``host_mib`` workers take as much of the host's memory as there is.
    """

    compute: int
    memory_mib: int
    host_mib: int = 0

    def terms(self) -> tuple[int, int, int, int]:
        """Return what the file says of them, of a vGPU that is not lost."""
        return (0, self.memory_mib * MIB, self.compute, self.host_mib * MIB)


class Ledger:
    """One ledger file. Every method raises Invalid when the file is no ledger of a known version."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, limits: Limits, slots: int, debt_ns: int = 0, now_ns: int = 0) -> None:
        """Make the file, with no use, these limits and ``slots`` (1 to SLOTS_MAX) sessions.

        ``debt_ns`` of device time is owed at ``now_ns`` of CLOCK_MONOTONIC. If the file is there, only
        set its limits: its slots are counted once and for all.
        """
        if self.path.exists():
            self.set_limits(limits)
            return
        if not 1 <= slots <= SLOTS_MAX:
            raise errors.Invalid(f"a ledger of {slots} slots; allowed: 1 to {SLOTS_MAX}")
        header = HEADER.pack(MAGIC, VERSION, slots, *limits.terms(), 0)
        content = header + bytes(slots * SLOT.size) + device_time.start(debt_ns, now_ns)
        whole_file.write(self.path, content)

    def slots(self) -> int:
        """Return how many sessions it has room for."""
        with self._file(os.O_RDONLY) as (_, slots):
            return slots

    def sound(self) -> bool:
        """Tell whether the file is there and a ledger, as far as it can be looked at."""
        try:
            with self._file(os.O_RDONLY):
                return True
        except errors.Invalid:
            return False
        except OSError as exc:
            return exc.errno in HOST_ERRORS

    def remove(self) -> None:
        """Delete the file, if it is there."""
        self.path.unlink(missing_ok=True)

    def open(self) -> int:
        """Return a descriptor of the file for a worker; the caller closes it."""
        with self._file() as (descriptor, _):
            return os.dup(descriptor)

    def set_limits(self, limits: Limits) -> None:
        """Change the limits; workers follow at once. Memory in use stays in use. Lost is found again."""
        wanted = limits.terms()
        with self._file() as (descriptor, _):
            if _read(descriptor, _TERMS, LOST_OFFSET) != wanted:
                os.pwrite(descriptor, _TERMS.pack(*wanted), LOST_OFFSET)

    def set_lost(self) -> None:
        """Tell every worker that the vGPU is being taken away."""
        with self._file() as (descriptor, _):
            os.pwrite(descriptor, b"\1", LOST_OFFSET)

    def set_frozen(self, frozen: bool) -> None:
        """Freeze or thaw every worker's work; workers older than control channels take no notice."""
        with self._file() as (descriptor, _):
            os.pwrite(descriptor, struct.pack("<I", frozen), FROZEN_OFFSET)

    def is_frozen(self) -> bool:
        """Return whether work waits."""
        with self._file(os.O_RDONLY) as (descriptor, _):
            return any(os.pread(descriptor, 4, FROZEN_OFFSET))

    def usage(self, slot: int) -> SlotUsage:
        """Return what ``slot`` uses; never more memory than the limit."""
        with self._file(os.O_RDONLY) as (descriptor, slots):
            _check(slot, slots)
            return self._usages(descriptor, slot, 1)[0]

    def usages(self) -> list[SlotUsage]:
        """Return what each slot uses."""
        with self._file(os.O_RDONLY) as (descriptor, slots):
            return self._usages(descriptor, 0, slots)

    def _usages(self, descriptor: int, first: int, count: int) -> list[SlotUsage]:
        _, limit, _, host_limit = _read(descriptor, _TERMS, LOST_OFFSET)
        content = os.pread(descriptor, count * SLOT.size, HEADER.size + first * SLOT.size)
        if len(content) < count * SLOT.size:
            raise errors.Invalid(f"{self.path}: the ledger was cut short")
        return [
            SlotUsage(_mib(memory, limit), min(busy_ns, BUSY_MAX), _mib(host_memory, host_limit))
            for memory, busy_ns, _, host_memory, *_ in SLOT.iter_unpack(content)
        ]

    def debt_ns(self, compute: int, now_ns: int) -> int:
        """Return the device time that a vGPU with this share owes now that all its workers are gone."""
        with self._file() as (descriptor, slots):
            content = os.pread(descriptor, size_of(slots), 0)
        if len(content) < size_of(slots):
            raise errors.Invalid(f"{self.path}: the ledger was cut short")
        used = SLOT.iter_unpack(content[HEADER.size : -device_time.SIZE])
        abandoned = [(begin, end) for *_, begin, end in used if begin]
        return device_time.debt(content[-device_time.SIZE :], abandoned, compute, now_ns)

    def clear(self, slot: int, ended_ns: int = 0) -> None:
        """Free the memory and name of a dead worker's slot; its busy time stays counted.

        ``ended_ns`` is when it was seen to end, by CLOCK_MONOTONIC: what it had in flight is charged
        until then, by the next worker or when the vGPU is removed. Of one that ended unseen it is not.
        A worker takes that off the books before anything else: when it is there still, no worker began
        since, and it stays.
        """
        with self._file() as (descriptor, slots):
            _check(slot, slots)
            at = HEADER.size + slot * SLOT.size
            os.pwrite(descriptor, bytes(8), at)
            os.pwrite(descriptor, bytes(4), at + PID_OFFSET)
            os.pwrite(descriptor, bytes(8), at + HOST_MEMORY_OFFSET)
            if any(os.pread(descriptor, 8, at + ENDED_OFFSET)):
                return
            if not ended_ns:
                os.pwrite(descriptor, bytes(8), at + IN_FLIGHT_OFFSET)
            os.pwrite(descriptor, struct.pack("<Q", ended_ns), at + ENDED_OFFSET)

    def restart(self) -> None:
        """Forget device time of before; for when no worker lives, as after a reboot of the host."""
        with self._file() as (descriptor, slots):
            for slot in range(slots):
                at = HEADER.size + slot * SLOT.size
                os.pwrite(descriptor, bytes(8), at + IN_FLIGHT_OFFSET)
                os.pwrite(descriptor, bytes(8), at + ENDED_OFFSET)
            os.pwrite(descriptor, bytes(device_time.SIZE), size_of(slots) - device_time.SIZE)

    @contextmanager
    def _file(self, mode: int = os.O_RDWR) -> Iterator[tuple[int, int]]:
        """Open the file, checked; yield its descriptor and how many slots it has."""
        descriptor = os.open(self.path, mode | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            start = os.pread(descriptor, _START.size, 0)
            magic, version, slots = _START.unpack(start.ljust(_START.size, b"\0"))
            if (
                magic != MAGIC
                or version not in VERSIONS
                or not 1 <= slots <= SLOTS_MAX
                or os.fstat(descriptor).st_size != size_of(slots)
            ):
                raise errors.Invalid(f"{self.path}: not a ledger of version {VERSION}")
            yield descriptor, slots
        finally:
            os.close(descriptor)


def _read(descriptor: int, structure: struct.Struct, offset: int) -> tuple[int, ...]:
    """Return the numbers at ``offset``; the file may have been cut short since it was checked."""
    content = os.pread(descriptor, structure.size, offset)
    if len(content) < structure.size:
        raise errors.Invalid("the ledger was cut short")
    return structure.unpack(content)


def _mib(used: int, limit: int) -> int:
    """Return bytes in use as MiB, rounded up and no more than the limit."""
    return -(-min(used, limit) // MIB)


def _check(slot: int, slots: int) -> None:
    if not 0 <= slot < slots:
        raise errors.Invalid(f"slot {slot}; allowed: 0 to {slots - 1}")
