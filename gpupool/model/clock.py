"""The time of a service: wall time that steps of a clock don't reach until they last, and durations.

See "Time" on the architecture page for the rules that decisions follow.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

LOG = logging.getLogger(__name__)
# Seconds of difference that are no step: transport, and what NTP corrects bit by bit.
TOLERANCE = 2.0
_EPOCH = datetime(1970, 1, 1)


def _wall() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class Clock:
    """Follows a reference clock, such as the database's, by this process's monotonic clock.

    What the reference says is believed when it has agreed with the monotonic clock for ``settle``
    seconds. Until then a step does not change ``now``, which goes on by the monotonic clock. A clock
    that follows no reference says what the machine's does. Moments are naive UTC. For all threads.
    """

    def __init__(
        self,
        settle: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = _wall,
    ) -> None:
        self.settle = settle
        self.monotonic = monotonic
        self.wall = wall
        # Whether what the reference says was ever believed; before that ``now`` ends nothing.
        self.steady = False
        # How many steps were believed so far.
        self.steps = 0
        # What to add to the monotonic clock for seconds since 1970; and what the reference says of late,
        # since when.
        self._offset: float | None = None
        self._measured = 0.0
        self._since = 0.0

    def now(self) -> datetime:
        """Return the time."""
        if self._offset is None:
            return self.wall()
        return _EPOCH + timedelta(seconds=self.monotonic() + self._offset)

    def at(self, moment: datetime) -> float:
        """Return when the monotonic clock shows, or showed, what ``now`` shows at ``moment``."""
        return self.monotonic() - (self.now() - moment).total_seconds()

    def moment(self, at: float) -> datetime:
        """Return what ``now`` shows when the monotonic clock shows ``at``: the inverse of ``at``."""
        return self.now() + timedelta(seconds=at - self.monotonic())

    def observe(self, reference: datetime, uncertainty: float = 0.0) -> None:
        """Take what the reference clock shows now, give or take ``uncertainty`` seconds."""
        now = self.monotonic()
        measured = (reference - _EPOCH).total_seconds() - now
        before = self._measured if self._offset is not None else measured
        if self._offset is None:
            self._since = now
        elif abs(measured - before) > TOLERANCE + uncertainty:
            self._since = now
            LOG.warning(
                "the clock stepped by %.0f s; that is followed when it has lasted for %.0f s",
                measured - before,
                self.settle,
            )
        self._measured = measured
        if now - self._since >= self.settle:
            self._believe()
        elif self._offset is None or not self.steady:
            # Nothing better is known.
            self._offset = measured

    def _believe(self) -> None:
        step = 0.0 if self._offset is None else self._measured - self._offset
        if self.steady and abs(step) > TOLERANCE:
            LOG.warning("the clock was set by %.0f s: followed from now on", step)
            self.steps += 1
        self._offset, self.steady = self._measured, True
