"""Which of several conductors leads: does what one alone should do, by a lock of tooz.

Leading is about speed and order only. Should two believe that they lead, Placement and the generations
in the database still decide what holds.
"""

import hashlib
import logging
import socket
import threading
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import tooz
from oslo_config import cfg
from stevedore.exception import NoMatches
from tooz import ToozError, coordination

from gpupool.model import errors

LOG = logging.getLogger(__name__)
# Seconds after which one that does not lead tries again, and one that does makes sure that it does.
TRY, MAKE_SURE = 1.0, 10.0
# Seconds to wait for a backend, which may be away, to hear that this conductor leads no more.
_PATIENCE = 2.0


class Leader:
    """Tries to lead while it is asked whether it ``leads``, until ``stop``; with no backend it does.

    One leads among all that have the same ``place``, which names what they serve: see Database.place.
    To make one raises Invalid when the backend is none that tooz knows, or lacks its driver.
    """

    def __init__(self, conf: cfg.ConfigOpts, place: str) -> None:
        self._url = conf.coordination.backend_url
        self._member = f"{socket.gethostname()}-{uuid.uuid4()}".encode()
        # On MySQL locks belong to the whole server, and a name has at most 64 characters.
        digest = hashlib.sha256(place.encode()).hexdigest()[:16]
        self._name = f"gpupool-conductor-leader-{digest}".encode()
        if self._url:
            _coordinator(self._url, self._member)
        self._coordinator: Any = None
        self._lock: Any = None
        # When the backend is asked next.
        self._due = 0.0
        # Whether the backend was away when it was asked last, which was logged.
        self._lost = False
        # What ``leads`` said last, for those who must not wait for the backend.
        self.led = not self._url
        # Before it leads for the first time it can't lead no more, and what it needs is still starting.
        self._has_led = False

    def leads(self, missing: str = "") -> bool:
        """Return whether this conductor leads now; becomes the leader when there is none.

        While something is ``missing`` that it needs for that, it gives the lead back, and takes none.
        """
        before = self.led
        if missing:
            self._disconnect()
            self.led, self._due = False, 0.0
        elif not self._url:
            self.led = True
        elif time.monotonic() >= self._due:
            self.led = self._holds()
            self._due = time.monotonic() + (MAKE_SURE if self.led else TRY)
        if self.led != before and (self.led or self._has_led):
            LOG.info("this conductor %s", "leads" if self.led else "leads no more")
            if missing:
                LOG.warning("this conductor can't lead without %s", missing)
        self._has_led = self._has_led or self.led
        return self.led

    def stop(self) -> None:
        """Let another one lead."""
        self._disconnect()
        self.led = not self._url

    def _holds(self) -> bool:
        try:
            if self._coordinator is None:
                self._connect()
            held = self._still_holds() if self._lock.acquired else self._lock.acquire(blocking=False)
        except Exception as exc:  # Drivers let errors of their libraries through.
            if not self._lost:
                LOG.warning("who leads is not known, this conductor does not: %s", exc)
            self._lost = True
            self._disconnect()
            return False
        if self._lost:
            LOG.info("who leads is known again")
        self._lost = False
        return bool(held)

    def _still_holds(self) -> bool:
        """Ask the backend: that the lock was taken does not say that it was not lost since."""
        self._coordinator.heartbeat()
        try:
            kept = self._lock.is_still_owner()
        except tooz.NotImplemented:
            # MySQL and PostgreSQL: the lock is gone with its connection, and only who uses that sees it.
            kept = self._lock.release() and self._lock.acquire(blocking=False)
        if not kept:
            LOG.warning("this conductor lost the lead")
            self._disconnect()
        return bool(kept)

    def _connect(self) -> None:
        # Always a new one: one that was not stopped, because its backend was away, never starts again.
        self._coordinator = _coordinator(self._url, self._member)
        self._coordinator.start(start_heart=True)
        self._lock = self._coordinator.get_lock(self._name)

    def _disconnect(self) -> None:
        coordinator, lock = self._coordinator, self._lock
        self._coordinator = self._lock = None
        if coordinator is None:
            return
        # In a thread: as long as the backend is away, the heart of a coordinator does not end.
        end = threading.Thread(target=_end, args=(coordinator, lock), name="leader's end", daemon=True)
        end.start()
        end.join(_PATIENCE)


def _end(coordinator: Any, lock: Any) -> None:
    """Give up what can be given up; the one does not depend on the other."""
    try:
        if lock is not None and lock.acquired:
            lock.release()
    except Exception as exc:
        LOG.info("the coordination backend was not told that this conductor leads no more: %s", exc)
    try:
        coordinator.stop()
    except Exception as exc:
        LOG.info("the coordination backend was not told that this conductor stops: %s", exc)


def _coordinator(url: str, member: bytes) -> Any:
    """Return tooz's end at ``url``, not connected yet. Messages leave the URL out: it has a password."""
    try:
        urlsplit(url).port  # noqa: B018 - tooz asks for it when it connects, and raises then
        return coordination.get_coordinator(url, member)
    except ValueError as exc:
        raise errors.Invalid("[coordination] backend_url is no URL") from exc
    except ImportError as exc:
        raise errors.Invalid(f"[coordination] backend_url needs the package {exc.name}") from exc
    except (ToozError, NoMatches) as exc:
        raise errors.Invalid(f"[coordination] backend_url can't be used: {exc}") from exc
