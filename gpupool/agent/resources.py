"""What this host has left of what vGPUs and sessions need: with too little it takes no new vGPUs.

It says so before something can't be made: what is left then is for the vGPUs that are there, their
sessions and attachments. What is claimed of devices and of the host's memory is not looked at here.
"""

import errno
import logging
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from gpupool.agent import cgroup_bounds
from gpupool.agent.folders import Folders
from gpupool.agent.reserve import Reserve

LOG = logging.getLogger(__name__)
MIB = 1 << 20
# A session takes a handful of each: a worker has some threads, and the agent some files for it.
_FILES, _INODES, _TASKS = 64, 64, 128
# Of something small this part (one in twenty) is kept, however much is to be kept.
_PART = 20
_PROBE = ".probe"
_PROBE_BYTES, _PROBE_THREADS = 8192, 8
_OF_ERRNO = {
    errno.ENOSPC: "its state disk is full",
    errno.EDQUOT: "its quota on the state disk is used up",
    errno.EROFS: "its state disk is read-only",
    errno.EMFILE: "it has no open files left",
    errno.ENFILE: "it has no open files left",
    errno.ENOMEM: "it has no memory left",
}


@dataclass(frozen=True)
class Left:
    """How much is ``left`` of ``all``, how much to keep, and what to say when it is less."""

    what: str
    all: int
    left: int
    keep: int

    def is_short(self, before: bool) -> bool:
        """Tell whether it is too little; what was ``before`` is so until twice as much is left."""
        keep = min(self.keep, self.all // _PART)
        return self.left < keep * (2 if before else 1)


class Resources:
    """Tells whether this host can take new vGPUs. For one thread."""

    def __init__(self, conf: cfg.ConfigOpts, folders: Folders, reserve: Reserve) -> None:
        self._options = conf.agent
        self._folders = folders
        self._reserve = reserve
        self._short: set[str] = set()
        self._said = ""

    def unable_reason(self) -> str:
        """Return what ran out, in words that do not change while it lasts; empty when nothing did."""
        short = [each.what for each in self._left() if each.is_short(each.what in self._short)]
        short += self._probe_disk() + _probe_threads()
        self._short = set(short)
        reason = "; ".join(dict.fromkeys(short))
        if reason != self._said:
            if reason:
                LOG.warning("this host takes no new vGPUs: %s", reason)
            else:
                LOG.info("this host takes new vGPUs again")
        self._said = reason
        if not reason:
            self._reserve.keep()
        return reason

    def _left(self) -> Iterator[Left]:
        named = {
            "state": self._folders.state,
            "run": self._folders.run,
            "CDI": self._folders.cdi,
        }
        seen: set[int] = set()
        for name, path in named.items():
            with suppress(OSError):
                device = path.stat().st_dev
                if device not in seen:
                    seen.add(device)
                    yield from self._left_of_disk(name, path)
        yield from _left_of_files()
        yield from _left_of_tasks()
        yield from self._left_of_memory()

    def _left_of_disk(self, name: str, path: Path) -> Iterator[Left]:
        found = os.statvfs(path)
        if found.f_flag & os.ST_RDONLY:
            yield Left(f"its {name} disk is read-only", _PART, 0, 1)
        unit, keep = found.f_frsize, self._options.reserved_disk_mib * MIB
        yield Left(f"its {name} disk is full", found.f_blocks * unit, found.f_bavail * unit, keep)
        # Some file systems have no fixed number of files, and say 0.
        what = f"its {name} disk has no room for more files"
        yield Left(what, found.f_files, found.f_favail, _INODES)

    def _left_of_memory(self) -> Iterator[Left]:
        keep = self._options.reserved_memory_mib * MIB
        with suppress(OSError, ValueError, KeyError):
            lines = Path("/proc/meminfo").read_text().splitlines()
            amounts = {
                name: int(rest.split()[0]) << 10 for name, _, rest in (x.partition(":") for x in lines)
            }
            yield Left("it has no memory left", amounts["MemTotal"], amounts["MemAvailable"], keep)
        for bound in cgroup_bounds.memory():
            yield Left("its agent's memory limit is reached", bound.limit, bound.left, keep)

    def _probe_disk(self) -> list[str]:
        """Write a file, as a new vGPU would be: quotas and broken disks show only then."""
        path = self._folders.state / _PROBE
        try:
            path.write_bytes(bytes(_PROBE_BYTES))
        except OSError as exc:
            known = _OF_ERRNO.get(exc.errno or 0)
            return [known or f"its state disk can't be written: {os.strerror(exc.errno or 0)}"]
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        return []


def _left_of_files() -> Iterator[Left]:
    what = "it has no open files left"
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        yield Left(what, limit, limit - len(os.listdir("/proc/self/fd")), _FILES)
        used, _, most = map(int, Path("/proc/sys/fs/file-nr").read_text().split())
        yield Left(what, most, most - used, _FILES)
    except OSError as exc:
        if exc.errno in (errno.EMFILE, errno.ENFILE):
            yield Left(what, _PART, 0, 1)


def _left_of_tasks() -> Iterator[Left]:
    what = "it has no processes left"
    with suppress(OSError, ValueError):
        used = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
        limits = [Path(f"/proc/sys/kernel/{name}").read_text() for name in ("threads-max", "pid_max")]
        most = min(map(int, limits))
        yield Left(what, most, most - used, _TASKS)
    for bound in cgroup_bounds.pids():
        yield Left(what, bound.limit, bound.left, _TASKS)


def _probe_threads() -> list[str]:
    """Start as many threads as a session may need: a limit of the user's processes shows only then."""
    over = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(_PROBE_THREADS):
            thread = threading.Thread(target=over.wait, name="probe", daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        return ["it has no processes left"]
    finally:
        over.set()
        for thread in started:
            thread.join()
    return []
