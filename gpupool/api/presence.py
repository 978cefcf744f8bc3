"""The sign of life that every process of the API gives in the database, for ``GET /v1/services``."""

import atexit
import logging
import os
import socket
import threading
import uuid
from datetime import datetime
from typing import Any

from gpupool.db import services
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.service import API, VERSION

LOG = logging.getLogger(__name__)
_INTERVAL = 5.0


class Presence:
    """Middleware: begins with a process's first request, as servers fork after they loaded this."""

    def __init__(self, application: Any, database: Database) -> None:
        self._application = application
        self._database = database
        self._lock = threading.Lock()
        self._pid = 0

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer the request."""
        if self._pid != os.getpid():
            self._begin()
        return self._application(environ, start_response)

    def _begin(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
        life = Life(self._database)
        threading.Thread(target=life.run, name="presence", daemon=True).start()
        # Where the server lets Python end in order; else the row is purged.
        atexit.register(life.end)


class Life:
    """One process's row, which is written every few seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._id = str(uuid.uuid4())
        self._started_at: datetime | None = None
        self._over = threading.Event()

    def run(self) -> None:
        """Go on until ``end``; an outage of the database is logged by whoever needs it."""
        while not self._over.is_set():
            try:
                self.beat()
            except errors.Unavailable:
                pass
            except Exception:
                LOG.exception("this process can't be written into the table of services")
            self._over.wait(_INTERVAL)

    def beat(self) -> None:
        """Give one sign of life, by the clock of the database, which listings go by, too."""
        self._database.follow_clock()
        self._started_at = self._started_at or self._database.clock.now()
        with self._database.writer() as session:
            services.beat(
                session,
                self._id,
                binary=API,
                host=socket.gethostname(),
                version=VERSION,
                started_at=self._started_at,
            )

    def end(self) -> None:
        """Say that this process is gone."""
        self._over.set()
        try:
            with self._database.writer() as session:
                services.forget(session, self._id)
        except Exception:
            LOG.debug("this process's row stays until it is purged", exc_info=True)
