"""Room on the state disk for records that vGPUs which are there need, when somebody else fills it."""

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpupool.agent import record

# Bytes: some dozen sessions' records, or a desired state of a thousand vGPUs; of a small disk this part.
_SIZE = 256 << 10
_PART = 20
_STEP = 16 << 10
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Reserve:
    """A file that takes room as long as there is enough of it. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "reserve"
        self._lock = threading.Lock()

    def keep(self) -> None:
        """Take as much as is to be kept; call it when the disk has room for more than that."""
        with self._lock, suppress(OSError):
            found = os.statvfs(self._path.parent)
            size = min(_SIZE, found.f_blocks * found.f_frsize // _PART)
            if self._size() < size:
                with self._path.open("ab") as file:
                    os.posix_fallocate(file.fileno(), 0, size)

    def write(self, path: Path, value: Any, *, durable: bool = True) -> None:
        """Do as record.write; where the disk is full, in the room that was kept."""
        while True:
            try:
                record.write(path, value, durable=durable)
                return
            except OSError as exc:
                if exc.errno not in _FULL or not self._spend():
                    raise

    def _spend(self) -> bool:
        """Give some room back to the disk; return False when none is left."""
        with self._lock:
            size = self._size()
            if size:
                os.truncate(self._path, max(size - _STEP, 0))
            return bool(size)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0
