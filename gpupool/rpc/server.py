"""A message server that is started and stopped without waiting for the broker."""

import logging
import threading
from collections.abc import Callable, Sequence

import oslo_messaging

from gpupool.model import errors
from gpupool.rpc import transport as rpc_transport

LOG = logging.getLogger(__name__)
# Seconds until the server is started again when that failed.
_PAUSE = 2.0


class Server:
    """Serves ``endpoints`` at ``target``, and calls ``on_start`` as soon as it does.

    oslo.messaging waits for the broker when it starts a server, and when it stops one.
    """

    def __init__(
        self,
        transport: oslo_messaging.Transport,
        target: oslo_messaging.Target,
        endpoints: Sequence[object],
        on_start: Callable[[], object] = lambda: None,
    ) -> None:
        self._make: Callable[[], oslo_messaging.MessageHandlingServer] = lambda: (
            rpc_transport.get_server(transport, target, endpoints)
        )
        self._on_start = on_start
        self._server: oslo_messaging.MessageHandlingServer | None = None
        self._started, self._stopping = threading.Event(), threading.Event()
        # Set when the message service has answered: the server is started, or refused.
        self._answered = threading.Event()
        self._refusal: errors.Invalid | None = None

    def start(self, seconds: float) -> None:
        """Begin to serve, which goes on in a thread when it takes more than ``seconds``.

        Raises Invalid when the message service refuses the account by then.
        """
        threading.Thread(target=self._start, name="message server", daemon=True).start()
        self._answered.wait(seconds)
        if self._refusal:
            self._stopping.set()
            raise self._refusal
        if not self._started.is_set():
            LOG.warning("messages are served as soon as the message service is there")

    def stop(self, seconds: float) -> None:
        """Serve no more; return when what was taken is answered, or after ``seconds``."""
        self._stopping.set()
        if self._started.is_set():
            end = threading.Thread(target=self._end, name="message server's end", daemon=True)
            end.start()
            end.join(seconds)

    def _start(self) -> None:
        while not self._stopping.is_set():
            try:
                self._server = self._make()
                rpc_transport.start(self._server)
            except errors.Invalid as exc:
                self._refusal = exc
                self._answered.set()
                LOG.error("messages are not served: %s", exc)
                self._stopping.wait(_PAUSE)
            except Exception as exc:
                LOG.warning("messages are not served yet: %s", exc)
                self._stopping.wait(_PAUSE)
            else:
                self._started.set()
                self._answered.set()
                self._on_start()
                return

    def _end(self) -> None:
        if self._server:
            self._server.stop()
            self._server.wait()
