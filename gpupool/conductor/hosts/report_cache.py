"""What hosts reported last, and what they were answered: a report without news costs one small read."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from gpupool.db import host_keys, hosts, times
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.host import Host
from gpupool.model.host_key import HostKey

# So often in the time after which a silent host is down its last report is written.
_PER_TIMEOUT = 3
# Reports of one host that a conductor takes at a time: one, and one that was sent again after a timeout.
# They wait for each other in the database, each with a thread that others' reports need.
AT_ONCE = 2


class Stale(Exception):
    """A report has no higher sequence number than one before it, or its key was just revoked."""


@dataclass(frozen=True)
class Said:
    """Which report it is: the key that signed it, its sequence number, the SHA-256 of what it says."""

    key: str
    sequence: int
    digest: str


@dataclass(frozen=True)
class _Known:
    said: Said
    host: Host
    answer: str
    until: float


class ReportCache:
    """Knows the answer to a report that says what the one before said, if nothing changed since.

    The database has what was said by the report that any conductor took last, so that another
    conductor that heard something else meanwhile is noticed. What is known is believed ``timeout``
    seconds, so that it does not grow.
    """

    def __init__(self, database: Database, timeout: float) -> None:
        self._database = database
        self._timeout = timeout
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()
        self._taking: Counter[str] = Counter()
        # When those that are believed no more were forgotten last.
        self._clock = database.clock
        self._swept = self._clock.monotonic()

    @contextmanager
    def taking(self, name: str) -> Iterator[None]:
        """Take a report of a host in the block; raises Unavailable while AT_ONCE are being taken."""
        with self._lock:
            if self._taking[name] >= AT_ONCE:
                raise errors.Unavailable(
                    f"{AT_ONCE} reports of host {name} are being taken; allowed: one after the other"
                )
            self._taking[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taking[name] -= 1
                if not self._taking[name]:
                    del self._taking[name]

    def answer(self, said: Said, key: HostKey, host: Host) -> str | None:
        """Return what was answered, sealed to ``host``, or None when the report has to be taken.

        ``key`` and ``host`` are as the database has them. Raises Stale for an old sequence number.
        """
        with self._lock:
            if said.sequence <= self.last(key):
                raise Stale
            known = self._known.get(host.name)
            if known is None or not self._holds(known, said, key, host):
                return None
            self._known[host.name] = replace(known, said=said)
        if self.is_due(host):
            self._write(host, said)
        return known.answer

    def answer_unsigned(self, digest: str, host: Host) -> str | None:
        """Return what the host's agent, of a version without keys, was answered, as ``answer`` does.

        What another conductor heard meanwhile is not known of it, other than by what that changed.
        """
        known = self._known.get(host.name)
        if known is None or known.said != unsigned(digest) or not self._is_so_still(known, host):
            return None
        if self.is_due(host):
            self._write(host, None)
        return known.answer

    def _holds(self, known: _Known, said: Said, key: HostKey, host: Host) -> bool:
        """Return whether what is known answers ``said`` too."""
        same = known.said.key == said.key and known.said.digest == said.digest == key.digest
        return same and self._is_so_still(known, host)

    def _is_so_still(self, known: _Known, host: Host) -> bool:
        return known.until >= self._clock.monotonic() and _state(known.host) == _state(host)

    def last(self, key: HostKey) -> int:
        """Return the highest sequence number that is known of, -1 when there is none."""
        known = self._known.get(key.host)
        here = known.said.sequence if known and known.said.key == key.id else -1
        return max(key.sequence, here)

    def keep(self, said: Said, host: Host, answer: str) -> None:
        """Note a report that was taken, with nothing left to do for it, and its sealed answer."""
        now = self._clock.monotonic()
        if now > self._swept + self._timeout:
            self._swept = now
            # Hosts report to any conductor, and those that are gone to none.
            for name, known in list(self._known.items()):
                if known.until < now:
                    self.forget(name)
        self._known[host.name] = _Known(said, host, answer, now + self._timeout)

    def forget(self, name: str) -> None:
        """Forget what a host said last, so that its next report is taken whatever it says."""
        self._known.pop(name, None)

    def is_due(self, host: Host) -> bool:
        """Return whether it has to be written again that a host reports.

        By the clock that all conductors share, as a host reports to any of them: each alone may hear of
        it too seldom to measure. A time to come, on a clock that was set back, is written again, too.
        """
        if host.last_seen_at is None:
            return True
        age = (self._clock.now() - host.last_seen_at).total_seconds()
        return abs(age) >= self._timeout / _PER_TIMEOUT

    def _write(self, host: Host, said: Said | None) -> None:
        @self._database.retry
        def write() -> None:
            with self._database.writer() as session:
                if said and not host_keys.advance(session, said.key, said.sequence):
                    raise Stale
                hosts.update(session, host.id, last_seen_at=times.now(session))

        write()


def unsigned(digest: str) -> Said:
    """Return what stands for a report that nobody signed."""
    return Said("", -1, digest)


def _state(host: Host) -> tuple[str, int, int, str, str, str]:
    return (
        host.id,
        host.generation,
        host.revision,
        host.state,
        host.incarnation,
        host.report_error,
    )
