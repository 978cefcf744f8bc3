"""A control group for each vGPU's workers, where this agent may make some: the kernel's own bounds.

What workers charge to their ledger bounds honest ones; a worker that its client has taken over is
bounded by its group. Groups lie below the agent's own, so what bounds that bounds them. See cgroups(7).
"""

import errno
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gpupool.agent.cgroup_mounts import mounts

LOG = logging.getLogger(__name__)
MIB = 1 << 20
CONTROLLERS = ("memory", "pids", "cpu")
# Where the agent's own processes are, in version 2: a group with groups below it holds none.
LEAF = "agent"


@dataclass(frozen=True)
class Limits:
    """What all workers of a vGPU may have: MiB of memory, and processes and threads."""

    memory_mib: int
    tasks: int


class Cgroups(ABC):
    """The groups of one agent. Methods raise OSError; making and removing again changes nothing."""

    @abstractmethod
    def folders(self) -> Mapping[str, Path]:
        """Return by controller the folder that has the agent's groups."""

    def prepare(self) -> None:
        """Make the folders, which are there only while they hold groups: an agent killed leaves none."""
        for folder in self._distinct():
            folder.mkdir(mode=0o755, exist_ok=True)

    def _distinct(self) -> set[Path]:
        return set(self.folders().values())

    @abstractmethod
    def values(self, limits: Limits) -> Iterator[tuple[str, str, int, bool]]:
        """Yield controller, file, value, and whether a kernel may lack the file."""

    def make(self, name: str, limits: Limits) -> None:
        """Make the group, or bring one that is there to ``limits``."""
        self.prepare()
        for folder in self._distinct():
            (folder / name).mkdir(mode=0o755, exist_ok=True)
        for controller, file, value, optional in self.values(limits):
            if controller not in self.folders():
                continue
            path = self.folders()[controller] / name / file
            if path.exists() or not optional:
                path.write_text(str(value))

    def add(self, name: str, pid: int) -> None:
        """Put a process with all its threads into the group."""
        for folder in self._distinct():
            (folder / name / "cgroup.procs").write_text(str(pid))

    def remove(self, name: str) -> None:
        """Remove the group; one whose processes have not all ended stays."""
        for folder in self._distinct():
            for path in (folder / name, folder):
                try:
                    path.rmdir()
                except FileNotFoundError:
                    continue
                except OSError as exc:
                    if exc.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                        raise

    def shared_mib(self, name: str) -> int:
        """Return the MiB of shared memory that the group is charged for, also of ended processes."""
        try:
            text = (self.folders()["memory"] / name / "memory.stat").read_text()
        except FileNotFoundError:  # a crash may leave a group of some controllers only
            return 0
        values = dict(line.split() for line in text.splitlines())
        return int(values.get("shmem", 0)) // MIB

    def names(self) -> set[str]:
        """Return the groups there are."""
        found = set()
        for folder in self._distinct():
            with suppress(FileNotFoundError):
                found |= {entry.name for entry in os.scandir(folder) if entry.is_dir()}
        return found

    def close(self) -> None:
        """Remove what is not used any more, of an agent that ends."""
        for name in self.names():
            self.remove(name)


class Unified(Cgroups):
    """Groups of version 2. The group of the agent must be delegated to it."""

    def __init__(self, own: Path, name: str) -> None:
        known = set((own / "cgroup.controllers").read_text().split())
        self._controllers = [one for one in CONTROLLERS if one in known]
        if "memory" not in known:
            raise OSError(errno.ENOTSUP, "no memory controller", str(own))
        in_leaf = own.name == LEAF
        above = own.parent if in_leaf else own
        _enable(above, self._controllers, movable=not in_leaf)
        self._folder = above / name

    def prepare(self) -> None:
        """See Cgroups."""
        super().prepare()
        _enable(self._folder, self._controllers, movable=False)

    def folders(self) -> Mapping[str, Path]:
        """See Cgroups."""
        return dict.fromkeys(self._controllers, self._folder)

    def values(self, limits: Limits) -> Iterator[tuple[str, str, int, bool]]:
        """See Cgroups. Memory that is swapped out is as much the host's."""
        yield "memory", "memory.max", limits.memory_mib * MIB, False
        yield "memory", "memory.swap.max", 0, True
        yield "pids", "pids.max", limits.tasks, False
        yield "cpu", "cpu.weight", 100, True


class Legacy(Cgroups):
    """Groups of version 1: one in each controller's hierarchy."""

    def __init__(self, own: Mapping[str, Path], name: str) -> None:
        if "memory" not in own:
            raise OSError(errno.ENOTSUP, "no memory controller is mounted", "/sys/fs/cgroup")
        writable = {one: folder for one, folder in own.items() if os.access(folder, os.W_OK)}
        if "memory" not in writable:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(own["memory"]))
        self._folders = {one: folder / name for one, folder in writable.items()}

    def folders(self) -> Mapping[str, Path]:
        """See Cgroups."""
        return self._folders

    def values(self, limits: Limits) -> Iterator[tuple[str, str, int, bool]]:
        """See Cgroups."""
        yield "memory", "memory.limit_in_bytes", limits.memory_mib * MIB, False
        yield "memory", "memory.swappiness", 0, True
        yield "pids", "pids.max", limits.tasks, False
        yield "cpu", "cpu.shares", 1024, True


def find(name: str) -> Cgroups | None:
    """Return the groups of the agent ``name``; None, and one line in the log, where it may make none."""
    mounted = list(mounts())
    reasons = []
    for mount in mounted:
        if not mount.controllers:
            try:
                return Unified(mount.own, name)
            except OSError as exc:
                reasons.append(str(exc))
    own = {one: mount.own for mount in mounted for one in CONTROLLERS if one in mount.controllers}
    if own or not reasons:
        try:
            return Legacy(own, name)
        except OSError as exc:
            reasons.append(str(exc))
    LOG.warning(
        "workers have no control groups, only what they charge bounds them: %s", "; ".join(reasons)
    )
    return None


def _enable(folder: Path, controllers: list[str], movable: bool) -> None:
    """Enable the controllers below ``folder``. It may hold no processes, so the agent moves to a leaf.

    Not ``movable`` is one that is not in ``folder`` itself: then others are.
    """
    file, wanted = folder / "cgroup.subtree_control", " ".join(f"+{one}" for one in controllers)
    if set(controllers) <= set(file.read_text().split()):
        return
    try:
        file.write_text(wanted)
    except OSError as exc:
        if exc.errno != errno.EBUSY or not movable:
            raise
        (folder / LEAF).mkdir(mode=0o755, exist_ok=True)
        (folder / LEAF / "cgroup.procs").write_text("0")
        try:
            file.write_text(wanted)
        except OSError:  # others are in it, too
            (folder / "cgroup.procs").write_text("0")
            (folder / LEAF).rmdir()
            raise
