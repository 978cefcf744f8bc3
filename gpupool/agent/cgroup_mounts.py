"""Where the hierarchies of control groups are mounted, and which group this process has in each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SELF = Path("/proc/self")


@dataclass(frozen=True)
class Mount:
    """One mounted hierarchy: what it controls (nothing: version 2) and where it is mounted.

    ``own`` is the folder of this process's group, at the mount point or below it.
    """

    controllers: frozenset[str]
    point: Path
    own: Path


def mounts() -> Iterator[Mount]:
    """Yield the hierarchies that are mounted; see proc(5), /proc/PID/mountinfo and /proc/PID/cgroup."""
    groups = {}
    for line in (SELF / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups[frozenset(controllers.split(",")) - {""}] = path
    for line in (SELF / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        key = frozenset(options.split(",")) if kind == "cgroup" else frozenset[str]()
        found = next((one for one in groups if one <= key and bool(one) == bool(key)), None)
        if kind in ("cgroup", "cgroup2") and found is not None:
            root, point = before.split(" ")[3:5]
            inside = groups[found].removeprefix(root if root != "/" else "").lstrip("/")
            yield Mount(found, Path(point), Path(point) / inside)
