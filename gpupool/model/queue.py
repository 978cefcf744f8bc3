"""The queue of a pool: which claims wait, in which order, for what and until when."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class QueueEntry:
    """One claim that waits.

    ``position`` is 1 for the claim that is served next. ``reason`` is why it waits, in words, and
    ``detail`` what operators are told of that besides (see Reason).
    ``starts_at`` (UTC without a zone) is when it will find room if those before it end as they said;
    None: nobody can tell, since what it waits for names no end.
    """

    claim_id: str
    project_id: str
    position: int
    reason: str = ""
    detail: str = ""
    starts_at: datetime | None = None
