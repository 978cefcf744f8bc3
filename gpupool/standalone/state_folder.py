"""The folder of all state of a standalone, which one process uses at a time."""

import fcntl
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpupool.standalone.errors import CannotStart

# The file in it that says where to reach what, while all is ready.
ENDPOINTS = "endpoints.json"
# Bytes on the disk of the folder, with less of which it counts as full.
_ROOM = 1 << 20


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Lock the state folder for this process, from now to its end."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (state_dir / "lock").open("a+")
        _warn_of_others(state_dir)
    except OSError as exc:
        raise CannotStart(f"the state folder {state_dir} cannot be used: {exc.strerror}") from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            lock.seek(0)
            who = lock.read().strip()
            why = f"gpupool-standalone runs already in {state_dir}, as process {who}"
            raise CannotStart(f"{why}; stop it, or choose another folder by --state-dir") from exc
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _warn_of_others(state_dir: Path) -> None:
    """Say when others than the owner can look into the state folder: keys and sockets are in it."""
    if (mode := stat.S_IMODE(state_dir.stat().st_mode)) & 0o077:
        print(
            f"gpupool-standalone: warning: others can look into the state folder {state_dir} "
            f"(mode {mode:o}): chmod 700 {state_dir}",
            file=sys.stderr,
        )


def make_run_folder(state_dir: Path) -> Path:
    """Return the folder of the session sockets, which keep their paths from one start to the next.

    So it is in the state folder, which nobody empties but its owner, and stays there when this stops: a
    container holds the folder itself. Earlier versions had a link there, to a folder in /tmp.
    """
    folder = state_dir / "run"
    if folder.is_symlink():
        if folder.readlink().name.startswith("gpupool-"):
            shutil.rmtree(folder.readlink(), ignore_errors=True)
        folder.unlink()
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def fullness(state_dir: Path) -> str:
    """Return what goes before the reason why this can't start: that the disk is full, if it is.

    What meets a full disk may have given its room back, and Placement tells it like any other error.
    """
    try:
        found = os.statvfs(state_dir)
    except OSError:
        return ""
    if found.f_favail and found.f_bavail * found.f_frsize >= _ROOM:
        return ""
    return f"the disk of the state folder {state_dir} is full: "
