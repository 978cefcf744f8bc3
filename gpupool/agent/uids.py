"""The users that workers run as: numbers without accounts, one for each vGPU of this machine.

The registry is a folder that all agents of the machine share: a symbolic link per number in use, which
leads to the ledger of the vGPU that has it. A link is made at once and whole, so a crash leaves nothing
half done; one that leads nowhere is of a vGPU that is gone.
"""

import fcntl
import logging
import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpupool.model import errors

LOG = logging.getLogger(__name__)
# Not below state_path or run_path: agents that differ in these must not give out the same number.
REGISTRY = Path("/run/gpupool-uids")
# Holds the number that was given out last.
_LOCK = ".lock"
# Where everybody may leave files.
SHARED_FOLDERS = tuple(Path(name) for name in ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"))  # noqa: S108
# Half of what a user's number can be: some programs take larger ones for negative.
UID_LIMIT = 2**31
UID_MAP = Path("/proc/self/uid_map")
SUBORDINATE = Path("/etc/subuid")


class WorkerUids:
    """Gives out the numbers of ``allowed``. Safe to use from several threads and processes."""

    def __init__(
        self,
        allowed: range,
        registry: Path = REGISTRY,
        shared_folders: Iterable[Path] = SHARED_FOLDERS,
    ) -> None:
        self._allowed = allowed
        self._registry = registry
        self._shared_folders = tuple(shared_folders)

    def take(self, ledger: Path) -> int:
        """Return the number of the vGPU of ``ledger``, an absolute path that exists.

        It keeps the one that it has. A number is free when the ledger of the vGPU that had it is gone,
        no process runs as it any more and no file of it lies in a folder that everybody may write to.
        Raises Unavailable when none is free, OSError when the registry can't be used.
        """
        with self._locked() as lock:
            taken = self._taken()
            for uid, owner in taken.items():
                if owner == ledger and uid in self._allowed:
                    return uid
            uid = self._choose(taken, os.pread(lock, 20, 0))
            self._entry(uid).symlink_to(ledger)
            os.pwrite(lock, f"{uid:<20}".encode(), 0)
        return uid

    def has(self, ledger: Path, uid: int) -> bool:
        """Tell whether the number is the vGPU's still: an agent that can't see its ledger frees it."""
        try:
            return self._entry(uid).readlink() == ledger
        except OSError:
            return False

    def give_back(self, ledger: Path, uid: int | None = None) -> None:
        """Let go of the number of a vGPU that is gone, ``uid`` if that is known. Raises OSError."""
        with self._locked():
            if uid is not None and self.has(ledger, uid):
                self._entry(uid).unlink()
                return
            for number, owner in self._taken().items():
                if owner == ledger:
                    self._entry(number).unlink()

    def _entry(self, uid: int) -> Path:
        return self._registry / str(uid)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self._registry.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._registry / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)

    def _taken(self) -> dict[int, Path]:
        """Return the ledgers by number; drop the entries of vGPUs that are gone.

        Those of other ranges are of agents whose ledgers may be out of sight.
        """
        taken = {}
        for entry in self._registry.iterdir():
            if not entry.name.isdecimal():
                continue
            if entry.exists():
                taken[int(entry.name)] = entry.readlink()
            elif int(entry.name) in self._allowed:
                entry.unlink()
        return taken

    def _choose(self, taken: Iterable[int], last: bytes) -> int:
        """Return a free number, those first that were not used for longest."""
        start = _index(self._allowed, last)
        unusable = {*taken, *self._owners_of_files()}
        for step in range(len(self._allowed)):
            uid = self._allowed[(start + step) % len(self._allowed)]
            if uid not in unusable and not _has_process(uid):
                return uid
        raise errors.Unavailable(
            f"no user is left for the workers of another vGPU: all {len(self._allowed)} of [agent] "
            "worker_uids have a vGPU, a process or a file"
        )

    def _owners_of_files(self) -> Iterator[int]:
        for folder in self._shared_folders:
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        yield entry.stat(follow_symlinks=False).st_uid


def _index(allowed: range, last: bytes) -> int:
    """Return where in ``allowed`` to look first, after the number given out last."""
    try:
        return allowed.index(int(last)) + 1
    except ValueError:
        return 0


def _has_process(uid: int) -> bool:
    try:
        os.getpriority(os.PRIO_USER, uid)
    except ProcessLookupError:
        return False
    return True


def parse(text: str) -> range:
    """Return the numbers that ``[agent] worker_uids`` means; Invalid when it means none."""
    first, _, last = (int(part) if part.isdecimal() else 0 for part in text.partition("-"))
    if not 0 < first <= last < UID_LIMIT:
        raise errors.Invalid(
            f"[agent] worker_uids is {text}; allowed: FIRST-LAST, ascending, of 1 to {UID_LIMIT - 1}"
        )
    return range(first, last + 1)


def registry(allowed: range) -> WorkerUids | None:
    """Return this machine's registry; None when this process is not root and can't change the user."""
    return WorkerUids(allowed) if os.geteuid() == 0 else None


def check(allowed: range) -> None:
    """Raise Invalid unless workers can run as each of the numbers, and none is anyone else's."""
    problem = _problem(allowed) if os.geteuid() == 0 else None
    if problem:
        raise errors.Invalid(f"[agent] worker_uids is {allowed[0]}-{allowed[-1]}, {problem}")


def _problem(allowed: range) -> str | None:
    for first, count in _mapped():
        if first <= allowed[0] and allowed[-1] < first + count:
            break
    else:
        here = ", ".join(f"{first}-{first + count - 1}" for first, count in _mapped())
        return f"which this user namespace does not have; allowed: {here}"
    for entry in pwd.getpwall():
        if entry.pw_uid in allowed:
            return f"but {entry.pw_uid} is the user {entry.pw_name}"
    for name, first, count in _subordinates():
        if first <= allowed[-1] and allowed[0] < first + count:
            return f"but {first}-{first + count - 1} is for containers of {name}, says {SUBORDINATE}"
    return None


def _mapped() -> list[tuple[int, int]]:
    """Return the first and the count of each range of users that this process's namespace has."""
    lines = (line.split() for line in UID_MAP.read_text().splitlines())
    return [(int(first), int(count)) for first, _, count in lines]


def _subordinates() -> Iterator[tuple[str, int, int]]:
    """Yield owner, first and count of each range of subuid(5)."""
    with suppress(FileNotFoundError):
        for line in SUBORDINATE.read_text().splitlines():
            name, *numbers = line.split(":")
            if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
                yield name, int(numbers[0]), int(numbers[1])
