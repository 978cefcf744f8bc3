"""A clock that tests set and let run."""

import time
from datetime import UTC, datetime, timedelta

from gpupool.model.clock import Clock


class SetClock(Clock):
    """The machine's clocks, which seem to go on by ``wait`` and to be set by ``set``."""

    def __init__(self) -> None:
        self.waited = 0.0
        self.ahead = timedelta()
        super().__init__(monotonic=lambda: time.monotonic() + self.waited, wall=self._show)

    def _show(self) -> datetime:
        return datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=self.waited) + self.ahead

    def wait(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        self.waited += seconds

    def set(self, ahead: timedelta) -> None:
        """Set the wall clock ahead of the machine's; the monotonic one goes on."""
        self.ahead = ahead
