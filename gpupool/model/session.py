"""A session: one program's live connection to a vGPU, as its host last reported it; and its end."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Session:
    """One session. ``busy_ns`` is device time used, in nanoseconds."""

    id: str
    attachment_id: str
    vgpu_id: str
    host_id: str
    program_pid: int
    worker_pid: int
    started_at: datetime
    memory_used_mib: int = 0
    busy_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class SessionEnd:
    """That a session, whose ``id`` this is, is to end; ``generation`` is the host's that says so."""

    id: str
    host_id: str
    generation: int
