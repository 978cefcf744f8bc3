"""Processes that the agent did not always start itself: known by pid and start, held by pidfd."""

import ctypes
import os
import resource
import select
import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
_PR_SET_DUMPABLE = 4
_STATE_FIELD = 0
_START_FIELD = 19
ANYONE = (range(2**32),)


@dataclass(frozen=True)
class Identity:
    """What tells a process from every other that had or will have its pid; see start_of."""

    pid: int
    start: str


def raise_open_files() -> None:
    """Let this process have as many open files as it may: attachments and sessions take some each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def forbid_memory_access() -> None:
    """Close this process's memory to other processes of the same user; root may still open it."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def boot_id() -> str:
    """Return what tells this boot of the machine from every other; see random(4)."""
    return BOOT.read_text().strip()


def start_of(pid: int) -> str | None:
    """Return what tells this process from every other that had or will have its pid; None if dead.

    See proc_pid_stat(5): fields from the third on follow the name in parentheses.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[_STATE_FIELD] in "ZX":
        return None
    return f"{boot_id()}:{fields[_START_FIELD]}"


def hold(pid: int, start: str) -> int | None:
    """Return a pidfd of the process that had ``pid`` since ``start``; None when it ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    same = False
    try:
        same = start_of(pid) == start
    finally:
        if not same:
            os.close(pidfd)
    return pidfd if same else None


def ended(pidfd: int) -> bool:
    """Tell whether the process has ended."""
    return not wait([pidfd], 0)


def kill(pidfd: int) -> None:
    """Send SIGKILL; to a process that ended it does nothing."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait(pidfds: Sequence[int], seconds: float) -> list[int]:
    """Wait until every process has ended, or ``seconds``; return those that have not."""
    left = set(pidfds)
    poll = select.poll()
    for pidfd in left:
        poll.register(pidfd, select.POLLIN)
    deadline = time.monotonic() + seconds
    while left:
        ready = poll.poll(max(0, deadline - time.monotonic()) * 1000)
        if not ready:
            break
        for pidfd, _ in ready:
            poll.unregister(pidfd)
            left.discard(pidfd)
    return list(left)


def find_by_argument(option: str, value: str, users: Collection[range] = ANYONE) -> Identity | None:
    """Return a process of ``users`` whose command line has ``option`` followed by ``value``.

    Anyone can write what they like into their own processes' command lines.
    """
    wanted = b"\0".join([b"", option.encode(), value.encode(), b""])
    for entry in Path("/proc").iterdir():
        # The user first: a process can have whoever reads its command line wait for ever.
        if not entry.name.isdigit() or not any(_user(entry) in each for each in users):
            continue
        try:
            command = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        start = start_of(int(entry.name)) if wanted in command else None
        if start is not None:
            return Identity(int(entry.name), start)
    return None


def _user(folder: Path) -> int:
    """Return the real user of a process in /proc, -1 when it ended; see proc_pid_status(5)."""
    try:
        lines = (folder / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), -1)
