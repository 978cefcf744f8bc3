"""A TCP proxy between services, which can be as bad as any network."""

import random
import socket
import threading
import time
from contextlib import suppress

ADDRESS = "127.0.0.1"
# pass: as it should be. cut: hung up and refused. hold: nothing gets through until the end, then all
# does. slow: late. lose: requests arrive, their answers don't.
MODES = ("pass", "cut", "hold", "slow", "lose")


class Proxy:
    """Serves from the moment it is made, to the end of the process."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._mode = "pass"
        self._open = threading.Event()
        self._open.set()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server((ADDRESS, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: str) -> None:
        self._mode = mode
        (self._open.clear if mode == "hold" else self._open.set)()
        if mode == "cut":
            for each in list(self._connections):
                _end(each)

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            if self._mode == "cut":
                near.close()
            else:
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        self._open.wait()
        try:
            far = socket.create_connection((ADDRESS, self._upstream), 10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._connections |= {near, far}
        answers = threading.Thread(target=self._pump, args=(far, near, True), daemon=True)
        answers.start()
        self._pump(near, far, False)
        answers.join()
        self._connections -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                if self._mode == "slow":
                    time.sleep(random.uniform(0.1, 0.5))
                if self._mode == "lose" and answers:
                    break
                sink.sendall(data)
        self._open.wait()
        _end(source)
        _end(sink)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
