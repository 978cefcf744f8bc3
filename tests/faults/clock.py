"""Clocks of services, each set by itself: see clock.c."""

import mmap
import struct
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def compile_c(name: str, output: Path, *options: str) -> Path:
    """Return ``output``, made from a C file of this folder."""
    command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", *options, HERE / name, "-o", output, "-ldl"]
    subprocess.run(command, check=True)
    return output


class ServiceClock:
    """The wall clock of services that are started with ``environment``."""

    def __init__(self, library: Path, path: Path) -> None:
        path.write_bytes(bytes(mmap.PAGESIZE))
        path.chmod(0o644)
        self.environment = {"LD_PRELOAD": str(library), "FAULTS_CLOCK": str(path)}
        with path.open("r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def set(self, ahead: int) -> None:
        """Set it ahead of the machine's by so many seconds."""
        self._mapped[:8] = struct.pack("q", ahead)
