"""Starts workers: one process per session (D4)."""

import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpupool.dataplane import paths


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """What a worker is started with.

    ``library`` is the device's own libcuda, ``ordinal`` the device's number in it, ``environment``
    all of the worker's environment. ``ledger_fd`` is the vGPU's ledger, ``slot`` the session's place
    in it. ``connection_fd`` is the agent's end of the runtime's connection, ``ring_fd`` the ring;
    the caller closes its own copies after spawn. ``context_mib`` is charged to the vGPU's device memory
    for the session's context. ``user`` is whom to run as; only root may name one.
    """

    session_id: str
    library: Path
    ordinal: int
    environment: Mapping[str, str]
    ledger_fd: int
    slot: int
    connection_fd: int
    ring_fd: int
    context_mib: int = 0
    user: str | None = None

    def arguments(self, executable: Path) -> list[str]:
        """Return the worker's command line."""
        named = {
            "session": self.session_id,
            "library": self.library,
            "ordinal": self.ordinal,
            "ledger": self.ledger_fd,
            "slot": self.slot,
            "connection": self.connection_fd,
            "ring": self.ring_fd,
            "context-mib": self.context_mib,
        }
        return [
            str(executable),
            *(part for name, value in named.items() for part in (f"--{name}", str(value))),
        ]


def spawn(spec: WorkerSpec, executable: Path = paths.WORKER) -> "subprocess.Popen[bytes]":
    """Start a worker; it outlives the caller and ends when the runtime hangs up or a signal comes.

    Raises OSError when it can't be started, LookupError when ``user`` does not exist.
    """
    # A session of its own: a Ctrl-C meant for the agent must not end running programs.
    return subprocess.Popen(
        spec.arguments(executable),
        env=dict(spec.environment),
        pass_fds=(spec.ledger_fd, spec.connection_fd, spec.ring_fd),
        stdin=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        **_identity(spec.user),
    )


def _identity(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise LookupError(f"worker user {user!r} does not exist on this host") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
