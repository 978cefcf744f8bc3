"""A pool: hosts whose devices may serve each other; a Placement aggregate of the same UUID."""

from dataclasses import dataclass
from datetime import datetime

DEFAULT_POOL = "default"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """One pool. ``name`` is unique."""

    id: str
    name: str
    description: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
