"""The messages by which an agent tells runtimes and workers what became of their session.

The layout is that of native/wire/control.h, which says how versions are agreed on.
"""

import os
import socket
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

MAGIC = 0x4C544347
VERSION = 1
TEXT = 256
MESSAGE = struct.Struct(f"<I2H2I16s16s16s2IQ{TEXT}s")
MIB = 1 << 20
_NIL = str(uuid.UUID(int=0))


class ControlError(Exception):
    """A peer sent what is no message of the agreed version; hang up."""


class Kind(IntEnum):
    """What a message says; see native/wire/control.h."""

    IDENTITY = 1
    REVOKED = 2
    FROZEN = 3
    THAWED = 4
    MOVED = 5
    RESIZED = 6
    ANSWER = 7


class Status(IntEnum):
    """What an answer says."""

    DONE = 0
    NOT_SUPPORTED = 1


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message: ids are UUIDs, ``compute`` is percent of the device."""

    kind: Kind
    version: int = VERSION
    sequence: int = 0
    status: Status = Status.DONE
    session_id: str = _NIL
    claim_id: str = _NIL
    vgpu_id: str = _NIL
    index: int = 0
    compute: int = 0
    memory_mib: int = 0
    text: str = ""

    def pack(self) -> bytes:
        """Return the packet; a text that is too long is cut. Raises ValueError for a wrong id."""
        ids = [uuid.UUID(one).bytes for one in (self.session_id, self.claim_id, self.vgpu_id)]
        text = self.text.encode()[: TEXT - 1].decode(errors="ignore").encode()
        return MESSAGE.pack(
            MAGIC,
            self.version,
            self.kind,
            self.sequence,
            self.status,
            *ids,
            self.index,
            self.compute,
            self.memory_mib * MIB,
            text,
        )

    @classmethod
    def unpack(cls, packet: bytes) -> "Message":
        """Read a packet. Raises ControlError naming what is wrong with it."""
        if len(packet) != MESSAGE.size:
            raise ControlError(f"message of {len(packet)} bytes; allowed: {MESSAGE.size}")
        magic, version, kind, sequence, status, session, claim, vgpu, index, compute, memory, text = (
            MESSAGE.unpack(packet)
        )
        if magic != MAGIC:
            raise ControlError(f"magic {magic:#x}; allowed: {MAGIC:#x}")
        if not 1 <= version <= VERSION:
            raise ControlError(f"control version {version}; allowed: 1 to {VERSION}")
        if kind not in list(Kind):
            raise ControlError(f"kind {kind}; allowed: 1 to {max(Kind)}")
        if status not in list(Status):
            raise ControlError(f"status {status}; allowed: 0 to {max(Status)}")
        return cls(
            kind=Kind(kind),
            version=version,
            sequence=sequence,
            status=Status(status),
            session_id=str(uuid.UUID(bytes=session)),
            claim_id=str(uuid.UUID(bytes=claim)),
            vgpu_id=str(uuid.UUID(bytes=vgpu)),
            index=index,
            compute=compute,
            memory_mib=memory // MIB,
            text=text.split(b"\0", 1)[0].decode(errors="replace"),
        )


def listen(path: Path) -> socket.socket:
    """Return the socket at ``path`` that a peer is given, to accept the agent at. Raises OSError."""
    listener = socket.socket(
        socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    )
    try:
        path.unlink(missing_ok=True)
        _at(path, listener.bind)
        # One waits to be accepted; one more than that is never needed.
        listener.listen(1)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(path: Path) -> socket.socket:
    """Return a connection to the peer that listens at ``path``, without waiting. Raises OSError."""
    connection = socket.socket(
        socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    )
    try:
        _at(path, connection.connect)
    except BaseException:
        connection.close()
        raise
    return connection


def _at(path: Path, use: Callable[[str], None]) -> None:
    """Use a socket's path, which may be longer than an address, by its folder's descriptor."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
