"""The sign of life that a conductor gives in the database, and its look at that of the others."""

import socket
from collections.abc import Callable

from gpupool.conductor.dependencies import Dependencies
from gpupool.conductor.peers import Peers
from gpupool.conductor.periodic import Periodic
from gpupool.db import services
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.service import CONDUCTOR, VERSION

_INTERVAL = 1.0


class Heartbeat:
    """Beats every second from ``start`` to ``stop``; ``on_gone`` is called when another one is gone."""

    def __init__(
        self,
        *,
        conductor_id: str,
        database: Database,
        dependencies: Dependencies,
        peers: Peers,
        leads: Callable[[], bool],
        on_gone: Callable[[], object],
    ) -> None:
        self._id, self._database, self._dependencies = conductor_id, database, dependencies
        self._peers, self._leads, self._on_gone = peers, leads, on_gone
        self._started_at = database.clock.now()
        self._thread = Periodic("heartbeat", self._run, _INTERVAL)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and say that this conductor is gone."""
        self._thread.stop()
        try:
            with self._database.writer() as session:
                services.forget(session, self._id)
        except errors.Unavailable:
            # The others notice.
            return

    def beat(self) -> None:
        """Give one sign of life, and look at the others'; raises Unavailable."""

        @self._database.retry
        def write() -> dict[str, int]:
            with self._database.writer() as session:
                services.beat(
                    session,
                    self._id,
                    binary=CONDUCTOR,
                    host=socket.gethostname(),
                    version=VERSION,
                    started_at=self._started_at,
                    leads=self._leads(),
                )
                return services.conductors(session)

        if self._peers.look(write()):
            self._on_gone()

    def _run(self) -> None:
        try:
            self.beat()
        except errors.Unavailable as exc:
            self._dependencies.failed(exc)
