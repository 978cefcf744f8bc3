"""What hosts reported last, and what they were answered: a report without news costs one small read."""

from dataclasses import dataclass
from datetime import datetime

from gpupool.db import hosts, times
from gpupool.db.api import Database
from gpupool.model.host import Host
from gpupool.model.report import DesiredState, HostReport

# So often in the time after which a silent host is down its last report is written.
_PER_TIMEOUT = 3


@dataclass(frozen=True)
class _Known:
    report: HostReport
    host: Host
    answer: DesiredState
    until: float


class Reported:
    """Knows the answer to a report that says what the one before said, if nothing changed since.

    Another conductor may have heard something else meanwhile that this one's database row does not
    tell (an attachment that failed and came back), so what is known is believed ``timeout`` seconds.
    """

    def __init__(self, database: Database, timeout: float) -> None:
        self._database = database
        self._timeout = timeout
        self._known: dict[str, _Known] = {}
        # When those that are believed no more were forgotten last.
        self._clock = database.clock
        self._swept = self._clock.monotonic()
        # By host its last_seen_at, and since when by the monotonic clock it is that.
        self._seen: dict[str, tuple[datetime, float]] = {}

    def answer(self, report: HostReport) -> DesiredState | None:
        """Return what the host should have, or None when the report has to be taken."""
        known = self._known.get(report.host)
        if known is None or known.report != report or known.until < self._clock.monotonic():
            return None
        with self._database.reader() as session:
            found = hosts.list_(session, {"name": report.host})
        if not found or _state(found[0]) != _state(known.host):
            return None
        if self.is_due(found[0]):
            self._write(found[0])
        return known.answer

    def keep(self, report: HostReport, host: Host, answer: DesiredState) -> None:
        """Note a report that was taken, with nothing left to do for it."""
        now = self._clock.monotonic()
        if now > self._swept + self._timeout:
            self._swept = now
            # Hosts report to any conductor, and those that are gone to none.
            for name, known in list(self._known.items()):
                if known.until < now:
                    self.forget(name)
        self._known[report.host] = _Known(report, host, answer, now + self._timeout)

    def forget(self, name: str) -> None:
        """Have the next report of a host be taken, whatever it says."""
        self._known.pop(name, None)

    def is_due(self, host: Host) -> bool:
        """Return whether it has to be written again that a host reports.

        By the monotonic clock: what ``last_seen_at`` says may be to come, on a clock that was set.
        """
        if host.last_seen_at is None:
            return True
        seen, since = self._seen.get(host.name, (None, 0.0))
        if seen != host.last_seen_at:
            self.saw(host.name, host.last_seen_at)
            return False
        return self._clock.monotonic() - since >= self._timeout / _PER_TIMEOUT

    def saw(self, name: str, at: datetime) -> None:
        """Note ``last_seen_at`` of a host, as it is in the database from now on."""
        self._seen[name] = at, self._clock.monotonic()

    def _write(self, host: Host) -> None:
        @self._database.retry
        def write() -> datetime:
            with self._database.writer() as session:
                at = times.now(session)
                hosts.update(session, host.id, last_seen_at=at)
                return at

        self.saw(host.name, write())


def _state(host: Host) -> tuple[str, int, int, str]:
    return host.id, host.generation, host.revision, host.state
