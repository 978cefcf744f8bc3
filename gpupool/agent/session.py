"""One session: its record on disk, and the worker it lives in."""

import os
import signal
import subprocess
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from gpupool.agent import process
from gpupool.agent.worker_log import WorkerLog

# Exit statuses of a worker, see native/worker/main.c.
_STATUSES = {1: "it could not be started", 3: "the program broke the protocol"}


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """What a restarted agent needs to know.

    ``slot`` is the session's in its vGPU's ledger, ``busy_before_ns`` the slot's busy time when it
    began. ``worker_start`` (see process.start_of) is None until the worker was started. ``ring_mib`` and
    ``context_mib`` are charged to the vGPU, of the host's memory and of the device's.
    """

    id: str
    attachment_id: str
    vgpu_id: str
    slot: int
    busy_before_ns: int
    program_pid: int
    started_at: datetime
    worker_pid: int = 0
    worker_start: str | None = None
    ring_mib: int = 0
    context_mib: int = 0

    def belongs_to(self, owner_id: str) -> bool:
        """Tell whether ``owner_id`` is the session's vGPU or attachment."""
        return owner_id in {self.vgpu_id, self.attachment_id}


@dataclass(frozen=True)
class Session:
    """A session whose worker was alive when it was last looked at."""

    record: SessionRecord
    pidfd: int
    child: "subprocess.Popen[bytes] | None" = None
    log: WorkerLog | None = None

    def close(self) -> str:
        """Let go of a worker that has ended; return why, as far as that is known, for the log."""
        status = self.child.wait() if self.child else 0
        reasons = []
        if status not in (0, -signal.SIGKILL):  # which is how the agent ends one
            reasons.append(f"{_STATUSES.get(status, 'its worker ended')} (status {status})")
        return "; ".join([*reasons, *self.release()])

    def release(self) -> list[str]:
        """Close the descriptors of a worker, which may go on; return what it wrote for the log."""
        os.close(self.pidfd)
        return self.log.take() if self.log else []


def of_child(record: SessionRecord, child: "subprocess.Popen[bytes]", log: WorkerLog) -> Session:
    """Return the session of a worker just started; even if it ended, it is still ours to reap."""
    start = process.start_of(child.pid) or ""
    pidfd = os.pidfd_open(child.pid)
    return Session(replace(record, worker_pid=child.pid, worker_start=start), pidfd, child, log)


def find(record: SessionRecord, users: Collection[range]) -> Session | None:
    """Return the session of a record that an earlier agent left; None when its worker has ended.

    An agent that died right after it started the worker left no pid; its command line tells, and that
    it is of ``users``, as whom nothing but workers and agents run.
    """
    if record.worker_start is None:
        pid = process.find_by_argument("--session", record.id, users)
        start = process.start_of(pid) if pid else None
        if pid is None or start is None:
            return None
        record = replace(record, worker_pid=pid, worker_start=start)
    pidfd = process.hold(record.worker_pid, record.worker_start or "")
    return None if pidfd is None else Session(record, pidfd)
