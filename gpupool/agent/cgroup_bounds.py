"""Limits that control groups put on this process: of processes and of memory."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gpupool.agent.cgroup_mounts import mounts

# Above this a limit of version 1 means that there is none.
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class Bound:
    """What a group may use of something, and how much of that it has left."""

    limit: int
    left: int


def pids() -> Iterator[Bound]:
    """Yield the bounds on processes and threads of this process's group and those above it."""
    for group in _groups("pids"):
        limit, used = _number(group / "pids.max"), _number(group / "pids.current")
        if limit is not None and used is not None:
            yield Bound(limit, limit - used)


def memory() -> Iterator[Bound]:
    """Yield the same on bytes of memory; file pages that can be dropped count as left."""
    for group in _groups("memory"):
        limit = _number(group / "memory.max", group / "memory.limit_in_bytes")
        used = _number(group / "memory.current", group / "memory.usage_in_bytes")
        if limit is not None and used is not None and limit < _NO_LIMIT:
            yield Bound(limit, limit - used + _droppable(group))


def _groups(controller: str) -> Iterator[Path]:
    """Yield this process's group of a controller and those above it, of either version of cgroups."""
    with suppress(OSError):
        for mount in mounts():
            if controller in mount.controllers or not mount.controllers:
                groups = (mount.own, *mount.own.parents)
                yield from (each for each in groups if each.is_relative_to(mount.point))


def _droppable(group: Path) -> int:
    """Return the bytes of file pages that the kernel drops when it needs memory."""
    stats = dict(line.split() for line in _read(group / "memory.stat").splitlines())
    return int(stats.get("total_inactive_file", stats.get("inactive_file", 0)))


def _number(*paths: Path) -> int | None:
    """Return the number in the first of the files that has one."""
    texts = [_read(path).strip() for path in paths]
    return next((int(text) for text in texts if text.isdigit()), None)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
