"""How often each host may report to one conductor: a token bucket for each, in memory."""

import logging
import threading
from dataclasses import dataclass

from gpupool.conf import logs
from gpupool.model import errors
from gpupool.model.clock import Clock

LOG = logging.getLogger(__name__)
# Seconds over which the rate is an average: many claims at once are told to a host one by one.
_SECONDS = 10


@dataclass
class _Bucket:
    tokens: float
    at: float


class ReportRates:
    """Takes ``per_second`` reports of each host, on average. For all threads."""

    def __init__(self, clock: Clock, per_second: int) -> None:
        self._clock = clock
        self._per_second = per_second
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._swept = clock.monotonic()

    def take(self, name: str) -> None:
        """Count a report of a host; raises Unavailable when it reports too often."""
        with self._lock:
            now = self._clock.monotonic()
            self._sweep(now)
            bucket = self._buckets.setdefault(name, _Bucket(self._full, now))
            bucket.tokens, bucket.at = self._tokens(bucket, now), now
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                return
        allowed = f"{self._per_second} a second, [conductor] max_reports_per_second"
        LOG.warning("host %s reports too often", name, extra=logs.alike("rate", name))
        raise errors.Unavailable(f"host {name} reports too often; allowed: {allowed}; try later")

    @property
    def _full(self) -> float:
        return self._per_second * _SECONDS

    def _tokens(self, bucket: _Bucket, now: float) -> float:
        return min(self._full, bucket.tokens + (now - bucket.at) * self._per_second)

    def _sweep(self, now: float) -> None:
        """Forget, now and then, hosts that may report as often as those that are not known."""
        if now < self._swept + _SECONDS:
            return
        self._swept = now
        for name, bucket in list(self._buckets.items()):
            if self._tokens(bucket, now) >= self._full:
                del self._buckets[name]
