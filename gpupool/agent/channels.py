"""The agent's ends of the control channels: what it tells the runtimes and workers of its sessions.

A peer may be hostile: nothing here waits for one, and what it sends unasked is not read.
"""

import logging
import select
import socket
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from gpupool.dataplane import control
from gpupool.dataplane.control import ControlError, Message, Status

LOG = logging.getLogger(__name__)
# Packets of a peer that are read while an answer is waited for: it owes one for each message it got.
MOST_PACKETS = 64


class Peer(StrEnum):
    """The two that are told of a session."""

    RUNTIME = "runtime"
    WORKER = "worker"


class _Channel:
    """A connection to one peer, which speaks ``version``."""

    def __init__(self, connection: socket.socket, version: int) -> None:
        self.connection = connection
        self._version = version
        self._sequence = 0

    def tell(self, message: Message) -> int:
        """Send a message; return its sequence. Raises as ``answer``, and when the peer does not read."""
        self.answer(0)  # what nobody waits for must not take the room of what somebody does
        self._sequence += 1
        packet = replace(message, version=self._version, sequence=self._sequence).pack()
        self.connection.send(packet)
        return self._sequence

    def answer(self, sequence: int) -> Status | None:
        """Return the answer to a message; None: it has not come. Raises OSError or ControlError."""
        for _ in range(MOST_PACKETS):
            try:
                packet = self.connection.recv(control.MESSAGE.size + 1)
            except BlockingIOError:
                return None
            found = Message.unpack(packet)
            if found.sequence == sequence:
                return found.status
        raise ControlError(f"{MOST_PACKETS} messages and no answer")


class Channels:
    """All channels, by session and peer. Safe to call from several threads.

    ``folder`` has a socket for each: the peer listens at it, and a restarted agent connects again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._open: dict[tuple[str, Peer], _Channel] = {}

    def listen(self, session_id: str, peer: Peer) -> socket.socket:
        """Return the socket that a peer is given; the caller closes its copy. Raises OSError."""
        return control.listen(self._path(session_id, peer))

    def connect(self, identity: Message, versions: Mapping[Peer, int]) -> None:
        """Connect to a session's peers that are not, and tell them who they are.

        ``versions`` says what each speaks, 0: it has no channel.
        """
        for peer, version in versions.items():
            with self._lock:
                key = (identity.session_id, peer)
                if version and key not in self._open:
                    try:
                        self._open[key] = _Channel(control.connect(self._path(*key)), version)
                    except OSError as exc:  # not there yet, or gone
                        LOG.debug("the %s of session %s: %s", peer, identity.session_id, exc)
                    else:
                        self._tell(key, identity)

    def tell(self, session_ids: Collection[str], message: Message) -> None:
        """Tell both peers of some sessions; those that are not reached are told when they are again."""
        for session_id in session_ids:
            for peer in Peer:
                with self._lock:
                    self._tell((session_id, peer), message)

    def ask(self, session_ids: Collection[str], message: Message, seconds: float) -> set[str]:
        """Tell both peers of some sessions; return those whose worker did not do so in time."""
        asked: dict[str, int] = {}
        for session_id in session_ids:
            with self._lock:
                self._tell((session_id, Peer.RUNTIME), message)
                sequence = self._tell((session_id, Peer.WORKER), message)
            if sequence:
                asked[session_id] = sequence
        deadline = time.monotonic() + seconds
        done: set[str] = set()
        while asked:
            for session_id, status in self._answers(asked).items():
                del asked[session_id]
                if status is Status.DONE:
                    done.add(session_id)
            if not asked or not self._wait(asked, deadline - time.monotonic()):
                break
        return set(session_ids) - done

    def forget(self, session_id: str) -> None:
        """Close the channels of a session that ended."""
        for peer in Peer:
            # First: from then on nobody connects again.
            try:
                self._path(session_id, peer).unlink(missing_ok=True)
            except OSError as exc:
                LOG.debug("the %s of session %s: %s", peer, session_id, exc)
            with self._lock:
                self._close((session_id, peer))

    def keep(self, session_ids: Collection[str]) -> None:
        """Remove what an earlier agent left of other sessions. Raises OSError."""
        for path in self._folder.iterdir():
            if path.name.rpartition(".")[0] not in session_ids:
                path.unlink(missing_ok=True)

    def stop(self) -> None:
        """Close all; peers listen for the next agent."""
        with self._lock:
            for key in list(self._open):
                self._close(key)

    def _path(self, session_id: str, peer: Peer) -> Path:
        return self._folder / f"{session_id}.{peer}"

    def _tell(self, key: tuple[str, Peer], message: Message) -> int:
        """Return the sequence of the message, 0: it was not sent; the lock is held."""
        channel = self._open.get(key)
        if channel:
            try:
                return channel.tell(message)
            except (OSError, ControlError) as exc:
                self._give_up(key, exc)
        return 0

    def _answers(self, asked: Mapping[str, int]) -> dict[str, Status | None]:
        """Return the answers that have come, None of a worker that will not answer."""
        found: dict[str, Status | None] = {}
        for session_id, sequence in asked.items():
            key = (session_id, Peer.WORKER)
            with self._lock:
                channel = self._open.get(key)
                try:
                    status = channel.answer(sequence) if channel else None
                except (OSError, ControlError) as exc:
                    self._give_up(key, exc)
                    channel, status = None, None
            if status is not None or channel is None:
                found[session_id] = status
        return found

    def _wait(self, asked: Collection[str], seconds: float) -> bool:
        """Wait until one of the workers may have answered; return whether there is time left."""
        poll = select.poll()
        with self._lock:
            for session_id in asked:
                if channel := self._open.get((session_id, Peer.WORKER)):
                    poll.register(channel.connection, select.POLLIN)
        return bool(poll.poll(max(seconds, 0.0) * 1000)) or seconds > 0

    def _give_up(self, key: tuple[str, Peer], exc: Exception) -> None:
        """Close a channel whose peer is gone, does not read, or sent what is no message."""
        LOG.debug("the %s of session %s is not told: %s", key[1], key[0], exc)
        self._close(key)

    def _close(self, key: tuple[str, Peer]) -> None:
        channel = self._open.pop(key, None)
        if channel:
            channel.connection.close()
