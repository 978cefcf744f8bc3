"""Whether the services that a conductor needs answer: the broker, the database, Placement.

Each is probed every two seconds in a thread of its own, as it may hang. So nobody has to try by real
work, and claims do not go back and forth, while one is known to be away. An outage is one line in the
log when it begins and one when it ends.
"""

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable

from gpupool.db.api import Database
from gpupool.model import backoff, errors
from gpupool.placement.client import PlacementClient
from gpupool.rpc import context
from gpupool.rpc.conductor import ConductorClient

LOG = logging.getLogger(__name__)
Clock = Callable[[], float]
# Seconds between two probes of a service that answers; of one that does not at first, and at most.
INTERVAL, _AWAY, AWAY_MOST = 2.0, 0.5, 2.0
# Seconds after which a probe without answer is an outage; and for work that failed though probes do not,
# until it is tried again at most. Without failing so long, it works.
PATIENCE, TRY_MOST, _WORKS = 10.0, 8.0, 20.0
# Seconds until a message that did not come back is sent again.
RESEND = 1.0
# Seconds since the last answer after which it is not known whether a service was there all the time.
LATELY = 3 * INTERVAL
# Seconds of an outage that make a leader give the lead back, when another may not meet it.
GRACE = 3.0


class Dependency:
    """One service. ``probe`` raises Unavailable when it does not answer.

    ``patience`` is in seconds, ``clock`` monotonic. Before the first probe it is taken to answer.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], object],
        *,
        patience: float = PATIENCE,
        clock: Clock = time.monotonic,
    ) -> None:
        self.name, self._probe, self._patience, self._clock = name, probe, patience, clock
        self._lock = threading.Lock()
        # When the outage began, None while there is none; whether it was logged, and is not over since;
        # when the probe under way began.
        self._away_since: float | None = None
        self._logged = False
        self._asked: float | None = None
        # When a probe was answered last.
        self._answered = clock()
        self._misses = 0
        # Work that failed without one success in between, and when it may be tried again.
        self._failures = 0
        self._try_at = 0.0
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.on_return: Callable[[], object] = lambda: None

    def assume_away(self) -> None:
        """Take it to be away until a probe is answered."""
        self._away_since = -math.inf

    def start(self) -> None:
        """Begin to probe."""
        self._thread = threading.Thread(target=self._run, name=f"probe {self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Probe no more; a probe under way is not waited for."""
        self._stop.set()
        self._wake.set()

    def answers(self) -> bool:
        """Return whether there is a use in asking it now."""
        return self.away_for() == 0 and self._clock() >= self._try_at

    def away_for(self) -> float:
        """Return how many seconds it has not answered now; 0 when it does."""
        with self._lock:
            now = self._clock()
            if self._asked is not None and now - self._asked > self._patience:
                self._begin(self._asked, f"no answer in {self._patience:g} s")
            return 0.0 if self._away_since is None else max(now - self._away_since, 0.001)

    def answered_lately(self) -> bool:
        """Return whether it answers, and did so at one of the last probes.

        A probe under way may meet an outage not known yet, and this process may have stood still.
        """
        if self._thread is None:
            return self._away_since is None
        return not self.away_for() and self._clock() - self._answered < LATELY

    def failed(self, exc: errors.GpupoolError) -> None:
        """Note that work failed by it: it is probed now, and work waits, longer each time.

        Work that did not wait though it was known to be away makes nobody wait longer. Nothing is noted
        while nobody probes.
        """
        if self._thread is None:
            return
        with self._lock:
            if self._away_since is None:
                self._failures += 1
                wait = backoff.after(_AWAY, TRY_MOST, self._failures)
                self._try_at = self._clock() + wait
            self._begin(self._clock(), _why(exc))
        self._wake.set()

    def worked(self) -> None:
        """Note that work did not fail by it."""
        self._failures = 0

    def ask(self) -> None:
        """Probe once."""
        with self._lock:
            self._asked = self._clock()
        try:
            self._probe()
        except errors.Unavailable as exc:
            with self._lock:
                self._misses += 1
                self._begin(self._clock(), _why(exc))
        else:
            if self._end():
                self.on_return()
        finally:
            with self._lock:
                self._asked = None

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self.ask()
            except Exception:
                LOG.exception("%s can't be probed", self.name)
            self._wake.wait(self.pause())

    def pause(self) -> float:
        """Return the seconds until the next probe."""
        if self._away_since is None:
            return INTERVAL
        # Work may be tried again before the next probe otherwise.
        left = max(self._try_at - self._clock(), _AWAY)
        return min(backoff.after(_AWAY, AWAY_MOST, self._misses), left)

    def _begin(self, since: float, why: str) -> None:
        """Note an outage; the caller has the lock."""
        if self._away_since is None:
            self._away_since = since
        if not self._logged:
            self._logged = True
            LOG.warning("%s is away: %s", self.name, why)

    def _end(self) -> bool:
        """Note that a probe was answered; return whether that ends an outage."""
        with self._lock:
            # Before anybody is told of it: how long the probe took is no outage any more.
            self._asked = None
            now, self._misses = self._clock(), 0
            if now < self._try_at:
                return False
            ended = self._away_since is not None
            self._away_since, self._answered = None, now
            if now > self._try_at + _WORKS:
                self._failures = 0
            # While work fails, that probes are answered says little, and not every time.
            if self._logged and not self._failures:
                self._logged = False
                LOG.info("%s answers again", self.name)
            return ended


def _why(exc: BaseException) -> str:
    """Return what an error says, and its cause, which may name hosts: for the log only."""
    cause = str(exc.__cause__ or "").partition("\n")[0]
    return f"{exc}: {cause}" if cause else str(exc)


class Dependencies:
    """The three services of one conductor. ``client`` sends to all conductors, this one among them."""

    def __init__(
        self,
        database: Database,
        placement: PlacementClient,
        client: ConductorClient,
        clock: Clock = time.monotonic,
    ) -> None:
        self._client = client
        self._echoes: dict[str, threading.Event] = {}
        self.messages = Dependency("the message service", self._send_to_self, clock=clock)
        self.database = Dependency("the database", database.probe, clock=clock)
        self.placement = Dependency("Placement", placement.probe, clock=clock)
        self._all = (self.messages, self.database, self.placement)

    def start(self) -> None:
        """Begin to probe database and Placement; ``messages`` is for who starts the message server."""
        self.messages.assume_away()
        self.database.start()
        self.placement.start()

    def stop(self) -> None:
        """Probe no more."""
        for each in self._all:
            each.stop()

    def on_return(self, call: Callable[[], object]) -> None:
        """Register ``call``, which is called, from any thread, when an outage has ended."""
        for each in self._all:
            each.on_return = call

    def answer(self) -> bool:
        """Return whether there is a use in work with database and Placement now."""
        return self.database.answers() and self.placement.answers()

    def missing(self) -> str:
        """Return which of them a leader needs and does not have, "" when it has all."""
        return ", ".join(each.name for each in self._all if each.away_for() > GRACE)

    def failed(self, exc: errors.Unavailable) -> None:
        """Note that work failed by the service that ``exc`` names."""
        known = {"database": self.database, "Placement": self.placement}.get(exc.service)
        if known is None:
            LOG.warning("work waits: %s", exc)
        else:
            known.failed(exc)

    def worked(self) -> None:
        """Note that a pass of the queue met no outage."""
        self.database.worked()
        self.placement.worked()

    def listens(self) -> bool:
        """Return whether this conductor can take hosts' reports now, and write that they came."""
        return self.messages.answered_lately() and self.database.answered_lately()

    def heard(self, token: str) -> None:
        """Take what came back of ``token``, which a conductor sent to all."""
        if echo := self._echoes.get(token):
            echo.set()

    def _send_to_self(self) -> None:
        token, echo = str(uuid.uuid4()), threading.Event()
        self._echoes = {token: echo}
        # More than once: right after an outage of the broker the server's queue may not be there yet.
        for _ in range(int(PATIENCE / RESEND)):
            self._client.echo(context.detached(), token)
            if echo.wait(RESEND):
                return
        why = f"what this conductor sends itself does not come back in {PATIENCE:g} s"
        raise errors.Unavailable(why, "messages")
