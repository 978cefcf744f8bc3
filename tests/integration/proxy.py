"""A TCP proxy between one service and RabbitMQ, which passes bytes on, holds them back or hangs up."""

import contextlib
import select
import socket
import threading

ADDRESS = "127.0.0.1"


class Proxy:
    """Listens from the moment it is made until ``close``."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._lock = threading.Lock()
        self._links: set[socket.socket] = set()
        self._passing = threading.Event()
        self._passing.set()
        self._cut = False
        self._server = socket.create_server((ADDRESS, 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Hang up on everyone, and on everyone who comes."""
        self._cut = True
        self._hang_up()

    def hold(self) -> None:
        """Keep connections open, and pass nothing on."""
        self._passing.clear()

    def heal(self) -> None:
        self._cut = False
        self._passing.set()

    def close(self) -> None:
        self.cut()
        self._passing.set()
        self._server.close()

    def _hang_up(self) -> None:
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._server.accept()
                threading.Thread(target=self._pump, args=(link,), daemon=True).start()

    def _pump(self, down: socket.socket) -> None:
        with down, contextlib.suppress(OSError):
            if self._cut:
                return
            with socket.create_connection((ADDRESS, self._upstream)) as up:
                with self._lock:
                    self._links |= {down, up}
                other = {down: up, up: down}
                while True:
                    for one in select.select([down, up], [], [])[0]:
                        data = one.recv(65536)
                        self._passing.wait()
                        if not data:
                            return
                        other[one].sendall(data)
