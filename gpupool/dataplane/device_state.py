"""What all workers of one device read of it; native/worker/device_state.h describes the file.

Workers of all projects map it, so they have it for reading only: the agent alone writes.
"""

import os
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

MAGIC = 0x56454447
VERSION = 1
# magic, version, frozen
LAYOUT = struct.Struct("<III52x")
FROZEN_OFFSET = 8


class DeviceState:
    """One device's file. Every method raises OSError when it can't be reached."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self) -> None:
        """Make the file, unless it is there: workers have that mapped."""
        if self._path.exists():
            return
        with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=".") as made:
            made.write(LAYOUT.pack(MAGIC, VERSION, 0))
            made.flush()
            with suppress(FileExistsError):  # somebody else was faster
                os.link(made.name, self._path)

    def open(self) -> int:
        """Return a descriptor of the file for a worker; the caller closes it."""
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def set_frozen(self, frozen: bool) -> None:
        """Freeze or thaw the work of all the device's vGPUs."""
        self.make()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.pwrite(descriptor, struct.pack("<I", frozen), FROZEN_OFFSET)
        finally:
            os.close(descriptor)

    def is_frozen(self) -> bool:
        """Return whether work waits."""
        try:
            return any(self._path.read_bytes()[FROZEN_OFFSET : FROZEN_OFFSET + 4])
        except FileNotFoundError:
            return False
