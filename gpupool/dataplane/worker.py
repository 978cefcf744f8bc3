"""Starts workers: one process per session (D4)."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gpupool.dataplane import paths

CHECK_SECONDS = 30


class Sandbox(StrEnum):
    """Which system calls and files a worker has; see native/worker/sandbox.h and view.h."""

    REFERENCE = "reference"
    NVIDIA = "nvidia"


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """What a worker is started with.

    ``library`` is the device's own libcuda, ``ordinal`` the device's number in it, ``environment``
    all of the worker's environment. ``ledger_fd`` is the vGPU's ledger, ``slot`` the session's place
    in it. ``connection_fd`` is the agent's end of the runtime's connection, ``ring_fd`` the ring,
    ``control_fd`` the socket at which the worker is told of its session, None: it is not;
    ``device_state_fd`` is what it reads of its device, None: nothing;
    ``context_mib`` is charged to the vGPU's device memory for the session's context; ``granule`` is in
    how many bytes the device backs allocations. ``log_fd`` takes what the worker writes before it runs
    anything of the tenant's, None: nothing does. The caller closes its own copies after spawn. The
    worker begins when ``start_fd``, a pipe, has no writer any more, or at once without. ``uid`` is the
    user and group to run as: root must name one, others can't.
    """

    session_id: str
    library: Path
    ordinal: int
    sandbox: Sandbox
    environment: Mapping[str, str]
    ledger_fd: int
    slot: int
    connection_fd: int
    ring_fd: int
    context_mib: int = 0
    granule: int = 512
    control_fd: int | None = None
    device_state_fd: int | None = None
    log_fd: int | None = None
    start_fd: int | None = None
    uid: int | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the worker is given besides its standard streams."""
        return (self.ledger_fd, self.connection_fd, self.ring_fd, *self._optional.values())

    @property
    def _optional(self) -> dict[str, int]:
        given = {"control": self.control_fd, "device-state": self.device_state_fd}
        return {name: descriptor for name, descriptor in given.items() if descriptor is not None}

    def arguments(self, executable: Path) -> list[str]:
        """Return the worker's command line."""
        named: dict[str, object] = {
            "session": self.session_id,
            "library": self.library,
            "ordinal": self.ordinal,
            "ledger": self.ledger_fd,
            "slot": self.slot,
            "connection": self.connection_fd,
            "ring": self.ring_fd,
            "context-mib": self.context_mib,
            "granule": self.granule,
        }
        named |= self._optional
        return [
            str(executable),
            *(part for name, value in named.items() for part in (f"--{name}", str(value))),
            *_isolation(self.sandbox, self.uid),
        ]


def spawn(spec: WorkerSpec, executable: Path = paths.WORKER) -> "subprocess.Popen[bytes]":
    """Start a worker; it outlives the caller and ends when the runtime hangs up or a signal comes.

    The worker itself changes to ``uid``: as root it makes its namespaces and opens the library, which
    that user may be unable to reach. Nobody but root can open its memory at any time.

    Raises OSError when it can't be started.
    """
    # A session of its own: a Ctrl-C meant for the agent must not end running programs.
    return subprocess.Popen(
        spec.arguments(executable),
        env=dict(spec.environment),
        pass_fds=spec.descriptors,
        stdin=subprocess.DEVNULL if spec.start_fd is None else spec.start_fd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if spec.log_fd is None else spec.log_fd,
        cwd="/",
        start_new_session=True,
    )


def missing_isolation(sandbox: Sandbox, uid: int | None, executable: Path = paths.WORKER) -> list[str]:
    """Return what this host does not let workers have, a line each: the part and why.

    Raises OSError or SubprocessError when no worker could be started at all.
    """
    command = [str(executable), *_isolation(sandbox, uid), "--check"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=CHECK_SECONDS, cwd="/", env={}
    )
    if ended.returncode:
        raise OSError(ended.stderr.strip() or f"{command[0]} ended with status {ended.returncode}")
    return ended.stdout.splitlines()


def copy_unreadable(target: Path) -> Path:
    """Copy the worker's program to ``target`` for running only, and return that.

    The kernel lets no process of the same user open the memory of a program whose file that user
    can't read, from the moment it is started. Raises OSError.
    """
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    shutil.copyfile(paths.WORKER, partial)
    partial.chmod(0o111)
    partial.replace(target)
    if os.statvfs(target).f_flag & os.ST_NOEXEC:
        raise OSError(f"{target} is on a file system that is mounted noexec")
    return target


def _isolation(sandbox: Sandbox, uid: int | None) -> list[str]:
    user = [] if uid is None else ["--uid", str(uid)]
    return ["--sandbox", sandbox.value, *user]
