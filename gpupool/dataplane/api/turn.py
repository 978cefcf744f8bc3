"""When a message is served while work that came before it waits for its turn. Standard library only."""

from enum import Enum


class Turn(Enum):
    """As in native/worker/api.h."""

    ORDERED = "TURN_ORDERED"  # behind all of it; what could go ahead waits for it
    WORK = "TURN_WORK"  # behind all of it
    AHEAD = "TURN_AHEAD"  # at once: it needs nothing that work does, and no work needs it undone
    PROGRESS = "TURN_PROGRESS"  # at once: it asks whether work is done, which it is not
