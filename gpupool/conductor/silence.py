"""For how long hosts have been silent, by one conductor's monotonic clock."""

from collections.abc import Iterable
from datetime import datetime

from gpupool.model.clock import Clock
from gpupool.model.host import Host


class Silence:
    """Counts for each host the seconds in which its ``last_seen_at`` did not change in the database.

    What it says does not matter, so nobody's wall clock does. Between two looks ``most`` seconds count
    at most: in the rest nobody looked, because this process, its machine or the database stood still.
    """

    def __init__(self, clock: Clock, timeout: float, most: float) -> None:
        self._clock = clock
        self._timeout, self._most = timeout, most
        self._looked: float | None = None
        self._counted: dict[str, tuple[datetime | None, float]] = {}

    def forget(self) -> None:
        """Count from nothing at the next look: in the time before, nobody could hear a host."""
        self._looked, self._counted = None, {}

    def look(self, up: Iterable[Host]) -> list[Host]:
        """Take every host that is up as it is now; return those silent for ``timeout`` seconds."""
        now = self._clock.monotonic()
        passed = 0.0 if self._looked is None else min(now - self._looked, self._most)
        self._looked = now
        before, self._counted = self._counted, {}
        silent = []
        for host in up:
            seen, seconds = before.get(host.id, (None, 0.0))
            known = host.id in before and seen == host.last_seen_at
            seconds = seconds + passed if known else 0.0
            self._counted[host.id] = host.last_seen_at, seconds
            if seconds >= self._timeout:
                silent.append(host)
        return silent
