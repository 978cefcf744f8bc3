"""Which of the conductors are gone, so that somebody else ends what they began."""

import threading
from collections.abc import Mapping

# Looks, one a second, at which a conductor has to have been without a sign of life.
LOOKS = 5


class Peers:
    """What one conductor knows of the others; for all threads.

    Counted in its own looks, not in time: clocks of hosts differ, and while the database is away nobody
    gives a sign of life and nobody looks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Beats as seen last, and at how many looks in a row they were the same.
        self._seen: dict[str, tuple[int, int]] = {}
        self._looked = False

    def look(self, beats: Mapping[str, int]) -> bool:
        """Take the beats of all that have a row, by id; return whether one is newly gone."""
        with self._lock:
            before = set(self._seen)
            self._seen = {each: self._next(each, beat) for each, beat in beats.items()}
            self._looked = True
            late = any(looks == LOOKS for _, looks in self._seen.values())
            return late or bool(before - self._seen.keys())

    def _next(self, conductor_id: str, beat: int) -> tuple[int, int]:
        known, looks = self._seen.get(conductor_id, (beat, 0))
        return beat, min(looks + 1, LOOKS + 1) if known == beat and conductor_id in self._seen else 0

    def gone(self, conductor_id: str) -> bool:
        """Return whether a conductor is known to be gone."""
        with self._lock:
            seen = self._seen.get(conductor_id)
            return self._looked if seen is None else seen[1] >= LOOKS
