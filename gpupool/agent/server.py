"""The socket at which the programs of one attachment ask for sessions."""

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

LOG = logging.getLogger(__name__)
# What a client that connects and says nothing can hold up, and for how long: only this attachment.
# Who may connect is who knows its id; of a container's attachment, the CDI spec's name tells it.
HANDSHAKES = 8
HELLO_SECONDS = 5.0
BACKLOG = 64
_CREDENTIALS = struct.Struct("3i")

Answer = Callable[[socket.socket, int], None]


class SessionServer:
    """Accepts connections at ``path`` and has ``answer`` speak to each, in a thread of its own.

    ``answer`` is given the connection and the pid of its process as this host sees it; what it raises
    of OSError ends the connection.
    """

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self._answer = answer
        self._free = threading.Semaphore(HANDSHAKES)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._stopping = False
        self._thread = threading.Thread(target=self._accept, name=f"accept {path}", daemon=True)

    def start(self) -> None:
        """Listen; the ticket, not the socket's mode, says who may open a session. Raises OSError."""
        try:
            self._listen()
            self._thread.start()
        except RuntimeError as exc:  # no more threads
            self._listener.close()
            raise OSError(f"{self.path}: {exc}") from exc
        except OSError:
            self._listener.close()
            raise

    def _listen(self) -> None:
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = self.path.with_name(f".{self.path.name}")
        new.unlink(missing_ok=True)
        self._bind(new)
        new.chmod(0o666)
        self._listener.listen(BACKLOG)
        new.replace(self.path)

    def _bind(self, path: Path) -> None:
        """Bind by the folder's descriptor: /proc/net/unix shows everybody what path was given."""
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)

    def serves(self) -> bool:
        """Return whether it still accepts, at a socket that is there: cleaners of folders come by."""
        return self._thread.is_alive() and self.path.is_socket()

    def stop(self) -> None:
        """Accept no more; what waits in line is hung up. The socket's file is the caller's."""
        self._stopping = True
        self._free.release()  # silent clients may hold every place: the thread must not wait for one
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while self._free.acquire() and not self._stopping:
            try:
                connection, _ = self._listener.accept()
                self._begin(connection)
            except (OSError, RuntimeError) as exc:
                self._free.release()
                if not self._stopping:
                    LOG.warning("%s: accept failed: %s", self.path, exc)
                    time.sleep(0.1)  # too many open files or threads, say: passes, but not at once

    def _begin(self, connection: socket.socket) -> None:
        try:
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        except RuntimeError:  # no more threads
            connection.close()
            raise

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(HELLO_SECONDS)
                self._answer(connection, _peer_pid(connection))
        except OSError as exc:
            LOG.info("%s: a program hung up or said nothing: %s", self.path, exc)
        except Exception:
            LOG.exception("%s: a session could not be opened", self.path)
        finally:
            self._free.release()


def _peer_pid(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid
