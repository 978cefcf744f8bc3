"""A move: how one vGPU changes its device."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gpupool.model.share import Share


class MoveState(StrEnum):
    """``planned``: Placement is asked. ``switching``: the vGPU has its target, and leaves its source.

    ``undoing``: the vGPU stays where it is, and Placement is told so.
    """

    PLANNED = "planned"
    SWITCHING = "switching"
    UNDOING = "undoing"


@dataclass(frozen=True, kw_only=True)
class Move:
    """One move while it is under way; a consumer in Placement, of the same UUID.

    The vGPU's row has ``source`` until the move is switching, and ``target`` from then on; the move has
    the other one. ``generation`` is the host's generation of the switch, 0 before it. ``conductor_id``
    is the conductor that makes the move.
    """

    id: str
    vgpu_id: str
    host_id: str
    source: Share
    target: Share
    state: MoveState = MoveState.PLANNED
    generation: int = 0
    conductor_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def share(self) -> Share:
        """Return what the move has: the share that the vGPU's row has not."""
        return self.source if self.state == MoveState.SWITCHING else self.target
