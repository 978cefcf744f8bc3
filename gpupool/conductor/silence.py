"""For how long something has not changed, by one conductor's monotonic clock."""

from collections.abc import Mapping

from gpupool.model.clock import Clock


class Silence:
    """Counts for each item the seconds in which what the database says of it did not change.

    That may be a moment of somebody's wall clock: it is compared with itself only. Between two looks
    ``most`` seconds count at most: in the rest nobody looked, because this process, its machine or the
    database stood still.
    """

    def __init__(self, clock: Clock, timeout: float, most: float) -> None:
        self._clock = clock
        self._timeout, self._most = timeout, most
        self._looked: float | None = None
        self._counted: dict[str, tuple[object, float]] = {}

    def forget(self) -> None:
        """Count from nothing at the next look: in the time before, nobody could hear a host."""
        self._looked, self._counted = None, {}

    def look(self, said: Mapping[str, object]) -> list[str]:
        """Take what is said of every item now, by id; return those silent for ``timeout`` seconds."""
        now = self._clock.monotonic()
        passed = 0.0 if self._looked is None else min(now - self._looked, self._most)
        self._looked = now
        before, self._counted = self._counted, {}
        for item, word in said.items():
            known = item in before and before[item][0] == word
            self._counted[item] = word, before[item][1] + passed if known else 0.0
        return [item for item, (_, seconds) in self._counted.items() if seconds >= self._timeout]
