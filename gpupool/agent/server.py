"""The sockets at which programs ask for sessions: one per attachment, one thread for all."""

import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gpupool.agent.fair_pool import FairPool
from gpupool.agent.limited_log import LimitedLog

LOG = logging.getLogger(__name__)
# Connections of an attachment that are not answered yet. One more hangs up the one that has been silent
# for longest: a runtime speaks at once. Who may connect is who knows the attachment's id; the name of
# a container's CDI spec tells it.
HANDSHAKES = 8
HELLO_SECONDS = 5.0
BACKLOG = 64
# Seconds until a socket at which accepting failed is tried again: too many open files, say.
PAUSE = 0.1
# Hellos that are answered at a time: of all attachments, and of one project's.
ANSWERS = 8
ANSWERS_OF_ONE = 2
_CREDENTIALS = struct.Struct("3i")

Answer = Callable[[socket.socket, int], None]


class SessionServer:
    """A socket at ``path``; the acceptor has ``answer`` speak to each program that says something.

    ``answer`` is given the connection and the pid of its process as this host sees it; what it raises
    of OSError ends the connection. ``name`` is the attachment; ``owner`` its project: these take turns.
    """

    def __init__(self, path: Path, answer: Answer, name: str, owner: str) -> None:
        self.path = path
        self.answer = answer
        self.name = name
        self.owner = owner
        # The acceptor's, under its lock: how many programs are answered or wait for that, and the
        # descriptors of those that have said nothing yet, the oldest first.
        self.answering = 0
        self.silent: dict[int, None] = {}
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)

    def listen(self) -> None:
        """Listen; the ticket, not the socket's mode, says who may open a session. Raises OSError."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = self.path.with_name(f".{self.path.name}")
        new.unlink(missing_ok=True)
        try:
            self._bind(new)
            new.chmod(0o666)
            self.listener.setblocking(False)
            self.listener.listen(BACKLOG)
            new.replace(self.path)
        except OSError:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise

    def _bind(self, path: Path) -> None:
        """Bind by the folder's descriptor: /proc/net/unix shows everybody what path was given."""
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)


@dataclass(frozen=True)
class _Silent:
    """A connection that has said nothing yet, and when it is hung up if it goes on so."""

    server: SessionServer
    connection: socket.socket
    until: float


class Acceptor:
    """Accepts at every server's socket in one thread, and has a few more answer.

    A connection costs a thread only once it has said something, for as long as the answer takes.
    """

    def __init__(self, limited: LimitedLog) -> None:
        self._limited = limited
        self._pool = FairPool(ANSWERS, ANSWERS_OF_ONE)
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._epoll.register(self._stop, select.EPOLLIN)
        self._servers: dict[int, SessionServer] = {}
        # In the order in which their time is over.
        self._silent: dict[int, _Silent] = {}
        # Servers at which accepting failed, and until when they rest.
        self._paused: dict[SessionServer, float] = {}
        self._thread = threading.Thread(target=self._run, name="accept", daemon=True)

    def start(self) -> None:
        """Begin. Raises RuntimeError when there are no more threads."""
        self._pool.start()
        self._thread.start()

    def stop(self) -> None:
        """Accept and answer no more. The servers' sockets are their owners' to remove."""
        os.eventfd_write(self._stop, 1)
        if self._thread.ident is not None:
            self._thread.join()
        self._pool.stop()
        with self._lock:
            for one in self._silent.values():
                one.connection.close()
            self._silent.clear()
        self._epoll.close()
        os.close(self._stop)

    def add(self, server: SessionServer) -> None:
        """Serve at its socket. Raises OSError, and closes it, when that is not possible."""
        try:
            server.listen()
            with self._lock:
                self._epoll.register(server.listener, select.EPOLLIN)
                self._servers[server.listener.fileno()] = server
        except OSError:
            server.listener.close()
            raise

    def remove(self, server: SessionServer) -> None:
        """Accept no more at its socket; what was accepted is answered."""
        with self._lock:
            if self._servers.pop(server.listener.fileno(), None) is None:
                return
            self._paused.pop(server, None)
            if not self._epoll.closed:
                self._epoll.unregister(server.listener)
            server.listener.close()

    def serves(self, server: SessionServer) -> bool:
        """Return whether it still accepts, at a socket that is there: cleaners of folders come by."""
        return self._thread.is_alive() and server.path.is_socket()

    def _run(self) -> None:
        while True:
            events = self._epoll.poll(self._patience())
            if any(descriptor == self._stop for descriptor, _ in events):
                return
            try:
                for descriptor, _ in events:
                    self._look_at(descriptor)
                self._end_waits()
            except Exception:  # one that can't be served keeps none of the others
                self._limited.say(LOG, logging.ERROR, "accepting", "accepting failed", exc_info=True)
                time.sleep(PAUSE)

    def _look_at(self, descriptor: int) -> None:
        with self._lock:
            server, silent = self._servers.get(descriptor), self._silent.get(descriptor)
            if server:
                try:
                    self._accept(server)
                except Exception as exc:
                    self._pause(server, exc)
            elif silent and _speaks(silent.connection):
                self._hear(silent)

    def _accept(self, server: SessionServer) -> None:
        if server.answering >= HANDSHAKES:
            return  # it was reported before the listener's rest began, and waits in line
        try:
            connection, _ = server.listener.accept()
        except BlockingIOError:
            return
        try:
            connection.setblocking(False)
            self._epoll.register(connection, select.EPOLLIN)
        except OSError:
            connection.close()
            raise
        if server.answering + len(server.silent) >= HANDSHAKES:
            self._make_place(server)
        server.silent[connection.fileno()] = None
        self._silent[connection.fileno()] = _Silent(server, connection, time.monotonic() + HELLO_SECONDS)

    def _make_place(self, server: SessionServer) -> None:
        """Hear the connection that has been silent for longest, or hang up if it still is."""
        oldest = self._silent[next(iter(server.silent))]
        if _speaks(oldest.connection):
            self._hear(oldest)
        else:
            self._hang_up(oldest)

    def _hang_up(self, one: _Silent) -> None:
        """End a connection that has said nothing."""
        self._forget(one)
        one.connection.close()
        self._limited.say(LOG, logging.INFO, one.server.name, "%s: silence", one.server.path)

    def _forget(self, one: _Silent) -> None:
        descriptor = one.connection.fileno()
        del self._silent[descriptor]
        del one.server.silent[descriptor]
        self._epoll.unregister(one.connection)

    def _pause(self, server: SessionServer, exc: Exception) -> None:
        """Let a server rest at which accepting failed: too many open files pass, but not at once."""
        self._limited.say(LOG, logging.WARNING, server.name, "%s: accept failed: %s", server.path, exc)
        self._paused[server] = time.monotonic() + PAUSE
        self._listen(server, wanted=False)

    def _listen(self, server: SessionServer, wanted: bool) -> None:
        """Hear of new connections of a server, or not; those wait in line then."""
        if server.listener.fileno() in self._servers:
            self._epoll.modify(server.listener, select.EPOLLIN if wanted else 0)

    def _hear(self, one: _Silent) -> None:
        """Pass a connection with a pending message on to the pool, which answers it."""
        self._forget(one)
        one.server.answering += 1
        if one.server.answering == HANDSHAKES:
            self._listen(one.server, wanted=False)
        self._pool.submit(one.server.owner, lambda: self._serve(one))

    def _patience(self) -> float:
        """Return the seconds until a wait is over; below 0 for none."""
        with self._lock:
            ends = [one.until for one in self._silent.values()][:1] + list(self._paused.values())
        return max(0.0, min(ends) - time.monotonic()) if ends else -1

    def _end_waits(self) -> None:
        """Hang up on those that said nothing for too long; try servers again that rested."""
        now = time.monotonic()
        with self._lock:
            for one in [one for one in self._silent.values() if one.until <= now]:
                self._hang_up(one)
            for server in [server for server, until in self._paused.items() if until <= now]:
                del self._paused[server]
                if server.answering < HANDSHAKES:
                    self._listen(server, wanted=True)

    def _leave(self, server: SessionServer) -> None:
        """Note that a program was answered; the lock is held."""
        server.answering -= 1
        if server.answering == HANDSHAKES - 1 and server not in self._paused and not self._epoll.closed:
            self._listen(server, wanted=True)

    def _serve(self, one: _Silent) -> None:
        server = one.server
        try:
            with one.connection:
                one.connection.settimeout(HELLO_SECONDS)
                server.answer(one.connection, _peer_pid(one.connection))
        except OSError as exc:
            self._limited.say(
                LOG, logging.INFO, server.name, "%s: a program hung up: %s", server.path, exc
            )
        except Exception:
            message = "%s: a program could not be answered"
            self._limited.say(LOG, logging.ERROR, server.name, message, server.path, exc_info=True)
        finally:
            with self._lock:
                self._leave(server)


def _speaks(connection: socket.socket) -> bool:
    """Return whether something was said or the other side is gone: descriptors are used again."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _peer_pid(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid
