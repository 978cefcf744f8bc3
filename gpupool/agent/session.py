"""One session: what is written down of it, and of its worker."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from gpupool.agent.channels import Peer
from gpupool.agent.process import Identity

# Exit statuses of a worker, see native/worker/worker.c.
STATUSES = {1: "it could not be started", 3: "the program broke the protocol"}


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """What a restarted agent needs to know.

    ``slot`` is the session's in its vGPU's ledger, ``busy_before_ns`` the slot's busy time when it
    began. ``worker_start`` (see process.start_of) is None until the worker was started. ``ring_mib`` and
    ``context_mib`` are charged to the vGPU, of the host's memory and of the device's.
    ``runtime_control`` and ``worker_control`` are the versions of the control channel that the two
    speak, 0 for none: records of earlier agents say nothing.
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
    runtime_control: int = 0
    worker_control: int = 0

    def belongs_to(self, owner_id: str) -> bool:
        """Tell whether ``owner_id`` is the session's vGPU or attachment."""
        return owner_id in {self.vgpu_id, self.attachment_id}

    @property
    def versions(self) -> dict[Peer, int]:
        """Which version of the control channel each peer speaks."""
        return {Peer.RUNTIME: self.runtime_control, Peer.WORKER: self.worker_control}

    @property
    def identity(self) -> Identity | None:
        """The worker; None until it was started."""
        return None if self.worker_start is None else Identity(self.worker_pid, self.worker_start)

    def started(self, identity: Identity) -> Self:
        """Return the record of the session whose worker this is."""
        return replace(self, worker_pid=identity.pid, worker_start=identity.start)
