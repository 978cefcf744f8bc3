"""Which libcuda a program and its children have loaded.

gpupool's runtime is found by LD_LIBRARY_PATH, so another libcuda comes before it where LD_PRELOAD names
one, where the program has an RPATH or loads it by its path, and where a script changes the variable.
Such a program does not use its claim: it finds no device, or another one.
"""

import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

# Equal to RUNTIME_MARKER in dataplane/native/attachment/marker.h.
MARKER = b"gpupool's runtime in place of libcuda"
# Seconds between two looks: a twentieth of how long the program runs, within these. A program that finds
# the wrong library may end soon.
_SOONEST, _LATEST, _PART = 0.1, 10.0, 20


class Watch:
    """Looks at a program now and then, and has ``warn`` tell once of each libcuda that is another's."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._began = time.monotonic()
        self._known: set[str] = set()

    def look(self, pid: int) -> float:
        """Look at process ``pid`` and its descendants; return the seconds until the next look."""
        for each in _tree(pid):
            for path in _libraries(each) - self._known:
                self._known.add(path)
                if _is_other(path):
                    self._warn(
                        f"process {each} has loaded {path}, which is not gpupool's runtime: it does not "
                        "use the claim (see LD_PRELOAD, LD_LIBRARY_PATH and the program's RPATH)"
                    )
        return min(max((time.monotonic() - self._began) / _PART, _SOONEST), _LATEST)


def _tree(pid: int) -> Iterator[int]:
    """Yield the process and its descendants that see the same files as this one."""
    with suppress(OSError, ValueError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in path.read_text().split():
                yield from _tree(int(child))
    with suppress(OSError):
        if os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
            yield pid


def _libraries(pid: int) -> set[str]:
    """Return the paths by which the process has mapped a libcuda."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    fields = (line.split(maxsplit=5) for line in lines if "/libcuda.so" in line)
    return {found[5] for found in fields if Path(found[-1]).name.startswith("libcuda.so")}


def _is_other(path: str) -> bool:
    """Return whether the file is there and is not the runtime."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with (
            open(descriptor, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return content.find(MARKER) < 0
    except (OSError, ValueError):
        return False
