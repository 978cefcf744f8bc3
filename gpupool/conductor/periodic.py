"""A thread that does one job again and again: every so many seconds, and when woken.

futurist's PeriodicWorker has no wake, and a claim shall not wait for the queue's next second. By default
it also runs its jobs one after the other: a slow pass of the queue would hold up the heartbeat.
"""

import logging
import threading
from collections.abc import Callable

LOG = logging.getLogger(__name__)


class Periodic:
    """Runs ``job`` every ``interval`` seconds in a thread of its own; an error of one run is logged.

    Between two runs ``pause`` seconds pass at least, however often it is woken.
    """

    def __init__(self, name: str, job: Callable[[], object], interval: float, pause: float = 0) -> None:
        self._job = job
        self._interval, self._pause = interval, pause
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Run the job now, then go on."""
        self._thread.start()

    def wake(self) -> None:
        """Run the job again as soon as the present run, and the pause after it, are over."""
        self._wake.set()

    def stop(self, seconds: float | None = None) -> None:
        """Let the present run end, and return then, or after so many ``seconds``."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            # Cleared first: a wake-up during the run is answered by another run.
            self._wake.clear()
            try:
                self._job()
            except Exception:
                LOG.exception("%s: this run failed; the next one follows", self._thread.name)
            if not self._stop.wait(self._pause):
                self._wake.wait(self._interval)
