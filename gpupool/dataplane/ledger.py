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

from gpupool.model import errors

MAGIC = 0x52474C47
VERSION = 2
SLOTS = 64
MIB = 1 << 20
# A vGPU that was busy for 30 years without a pause; a database's BIGINT holds it.
BUSY_MAX = 10**18

# Errors of opening that say nothing about the file.
TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)

# magic, version, slots, lost, memory_limit, compute
HEADER = struct.Struct("<IIIIQI36x")
# memory, busy_ns, pid
SLOT = struct.Struct("<QQI44x")
# struct ledger_time: what the workers keep of this boot's device time
TIME_SIZE = 1024
SIZE = HEADER.size + SLOTS * SLOT.size + TIME_SIZE

# lost, memory_limit, compute: what the agent alone may change
_TERMS = struct.Struct("<IQI")
_LOST_OFFSET = 12
_TIME_OFFSET = SIZE - TIME_SIZE
_BUSY_OFFSET = 8
_PID_OFFSET = 16


@dataclass(frozen=True)
class SlotUsage:
    """What one slot uses: MiB of device memory (rounded up) and ns of device time since its making."""

    memory_mib: int
    busy_ns: int


@dataclass(frozen=True)
class Limits:
    """What a vGPU may use: percent of its device's time, MiB of its memory."""

    compute: int
    memory_mib: int


class Ledger:
    """One ledger file. Every method raises Invalid when the file is not a ledger of this version."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, limits: Limits) -> None:
        """Make the file, with no use and these limits; if it is there, only set its limits."""
        if self.path.exists():
            self.set_limits(limits)
            return
        header = HEADER.pack(MAGIC, VERSION, SLOTS, 0, limits.memory_mib * MIB, limits.compute)
        partial = self.path.with_name(f".{self.path.name}")
        partial.touch(mode=0o600)
        partial.write_bytes(header.ljust(SIZE, b"\0"))
        partial.replace(self.path)

    def sound(self) -> bool:
        """Tell whether the file is there and a ledger, as far as it can be looked at."""
        try:
            with self._file():
                return True
        except errors.Invalid:
            return False
        except OSError as exc:
            return exc.errno in TOO_MANY_FILES

    def remove(self) -> None:
        """Delete the file, if it is there."""
        self.path.unlink(missing_ok=True)

    def open(self) -> int:
        """Return a descriptor of the file for a worker; the caller closes it."""
        with self._file() as descriptor:
            return os.dup(descriptor)

    def set_limits(self, limits: Limits) -> None:
        """Change the limits; workers follow at once. Memory in use stays in use. Lost is found again."""
        wanted = (0, limits.memory_mib * MIB, limits.compute)
        with self._file() as descriptor:
            if _read(descriptor, _TERMS, _LOST_OFFSET) != wanted:
                os.pwrite(descriptor, _TERMS.pack(*wanted), _LOST_OFFSET)

    def set_lost(self) -> None:
        """Tell every worker that the vGPU is being taken away."""
        with self._file() as descriptor:
            os.pwrite(descriptor, b"\1", _LOST_OFFSET)

    def usage(self, slot: int) -> SlotUsage:
        """Return what ``slot`` uses; never more memory than the limit."""
        _check(slot)
        return self.usages()[slot]

    def usages(self) -> list[SlotUsage]:
        """Return what each slot uses."""
        with self._file() as descriptor:
            _, limit, _ = _read(descriptor, _TERMS, _LOST_OFFSET)
            content = os.pread(descriptor, SLOTS * SLOT.size, HEADER.size)
        if len(content) < SLOTS * SLOT.size:
            raise errors.Invalid(f"{self.path}: the ledger was cut short")
        return [_usage(memory, busy, limit) for memory, busy, _ in SLOT.iter_unpack(content)]

    def clear(self, slot: int) -> None:
        """Free the memory and name of a dead worker's slot; its busy time stays counted."""
        with self._file() as descriptor:
            os.pwrite(descriptor, bytes(8), _offset(slot))
            os.pwrite(descriptor, bytes(4), _offset(slot) + _PID_OFFSET)

    def restart(self) -> None:
        """Forget device time of before; for when no worker lives, as after a reboot of the host."""
        with self._file() as descriptor:
            os.pwrite(descriptor, bytes(TIME_SIZE), _TIME_OFFSET)

    @contextmanager
    def _file(self) -> Iterator[int]:
        """Open the file, checked."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            start = os.pread(descriptor, 12, 0)
            if (
                start != struct.pack("<III", MAGIC, VERSION, SLOTS)
                or os.fstat(descriptor).st_size != SIZE
            ):
                raise errors.Invalid(f"{self.path}: not a ledger of version {VERSION}")
            yield descriptor
        finally:
            os.close(descriptor)


def _read(descriptor: int, structure: struct.Struct, offset: int) -> tuple[int, ...]:
    """Return the numbers at ``offset``; the file may have been cut short since it was checked."""
    content = os.pread(descriptor, structure.size, offset)
    if len(content) < structure.size:
        raise errors.Invalid("the ledger was cut short")
    return structure.unpack(content)


def _usage(memory: int, busy_ns: int, limit: int) -> SlotUsage:
    return SlotUsage(memory_mib=-(-min(memory, limit) // MIB), busy_ns=min(busy_ns, BUSY_MAX))


def _check(slot: int) -> None:
    if not 0 <= slot < SLOTS:
        raise errors.Invalid(f"slot {slot}; allowed: 0 to {SLOTS - 1}")


def _offset(slot: int) -> int:
    _check(slot)
    return HEADER.size + slot * SLOT.size
