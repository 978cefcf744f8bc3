"""Log lines that programs can cause: each subject has a few at once, then one now and then."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

BURST = 20
# Seconds until a subject that has used up its burst may have one more line: 1.5 MB a day at most.
INTERVAL = 10.0


@dataclass
class _Subject:
    """``lines`` it may have now, as of ``at``; ``left_out`` since the last that was written."""

    lines: float
    at: float
    left_out: int = 0


class LimitedLog:
    """Writes lines, or counts those that are too many. Safe to call from several threads.

    A subject is whatever has a flood of its own, as an attachment's id. ``clock`` is in seconds.
    """

    def __init__(
        self,
        burst: int = BURST,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._subjects: dict[str, _Subject] = {}

    def __len__(self) -> int:
        """Return how many subjects are kept in mind."""
        return len(self._subjects)

    def say(
        self,
        log: logging.Logger,
        level: int,
        subject: str,
        message: str,
        *args: object,
        exc_info: bool = False,
    ) -> None:
        """Write ``message % args`` to ``log``, or count it; lines say how many before were left out."""
        if not log.isEnabledFor(level):
            return
        with self._lock:
            left_out = self._take(subject)
        if left_out is None:
            return
        if left_out:
            message, args = f"{message} (%d lines before it were left out)", (*args, left_out)
        log.log(level, message, *args, exc_info=exc_info)

    def flush(self, log: logging.Logger) -> None:
        """Say what was left out of subjects that may have a line again; forget those that are quiet."""
        told = {}
        with self._lock:
            for key in list(self._subjects):
                one = self._refill(key)
                if one.left_out and one.lines >= 1:
                    told[key] = self._take(key)
                if one.lines >= self._burst:
                    del self._subjects[key]
        for subject, left_out in told.items():
            log.warning("%d lines about %s were left out", left_out, subject)

    def _take(self, subject: str) -> int | None:
        """Take one line; return how many were left out before it, None if this one is to be left out."""
        one = self._refill(subject)
        if one.lines < 1:
            one.left_out += 1
            return None
        one.lines -= 1
        left_out, one.left_out = one.left_out, 0
        return left_out

    def _refill(self, subject: str) -> _Subject:
        now = self._clock()
        one = self._subjects.setdefault(subject, _Subject(self._burst, now))
        one.lines = min(self._burst, one.lines + (now - one.at) / self._interval)
        one.at = now
        return one
