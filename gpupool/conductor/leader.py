"""Which of several conductors leads: does what one alone should do, by a lock of tooz.

Leading is about speed and order only. Should two believe that they lead, Placement and the generations
in the database still decide what holds.
"""

import logging
import socket
import uuid
from typing import Any

from oslo_config import cfg
from stevedore.exception import NoMatches
from tooz import ToozError, coordination

from gpupool.model import errors

LOG = logging.getLogger(__name__)
_LOCK = b"gpupool-conductor-leader"


class Leader:
    """Tries to lead from ``start`` to ``stop``; with no backend it does all the time."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._url = conf.coordination.backend_url
        self._member = f"{socket.gethostname()}-{uuid.uuid4()}".encode()
        self._coordinator: Any = None
        self._lock: Any = None
        # What ``leads`` said last, for those who must not wait for the backend.
        self.led = not self._url

    def start(self) -> None:
        """Connect; raises Invalid when the backend is none that tooz knows, or lacks its driver."""
        if not self._url:
            return
        try:
            self._coordinator = coordination.get_coordinator(self._url, self._member)
        except (ToozError, NoMatches) as exc:
            raise errors.Invalid(f"[coordination] backend_url can't be used: {exc}") from exc
        self._connect()

    def leads(self) -> bool:
        """Return whether this conductor leads now; becomes the leader when there is none."""
        if self._url:
            self.led = self._holds()
        return self.led

    def _holds(self) -> bool:
        try:
            if self._lock is None and not self._connect():
                return False
            if self._lock.acquired:
                # Says so when the backend has lost it meanwhile, with the connection perhaps.
                self._coordinator.heartbeat()
            else:
                self._lock.acquire(blocking=False)
        except ToozError as exc:
            LOG.warning("who leads is not known, this conductor does not: %s", exc)
            self._disconnect()
            return False
        return bool(self._lock.acquired)

    def stop(self) -> None:
        """Let another one lead."""
        self._disconnect()
        self.led = not self._url

    def _connect(self) -> bool:
        try:
            self._coordinator.start(start_heart=True)
        except ToozError as exc:
            LOG.warning("the coordination backend can't be reached: %s", exc)
            return False
        self._lock = self._coordinator.get_lock(_LOCK)
        return True

    def _disconnect(self) -> None:
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            if lock.acquired:
                lock.release()
            self._coordinator.stop()
        except ToozError as exc:
            LOG.info("the coordination backend was not told that this conductor stops: %s", exc)
