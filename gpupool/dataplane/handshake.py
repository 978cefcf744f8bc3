"""The packets that open a session: what the agent hears from a runtime and what it answers.

The connection is an AF_UNIX SOCK_SEQPACKET socket; the layouts are those of native/wire/handshake.h.
After ``send_welcome(..., ring_fd=...)`` the agent gives its end of the connection to the worker and
closes its own copies: from then on it tells runtime and worker of each other's death.
"""

import fcntl
import os
import socket
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

MAGIC = 0x4C504750
VERSION = 1
TEXT = 256
MAX_DEVICES = 1024

HELLO = struct.Struct(f"<6I{TEXT}s")
WELCOME = struct.Struct(f"<4IQ{TEXT}s")
WELCOME_DEVICE = struct.Struct("<2IQ")
WELCOME_VGPU = struct.Struct("<16sQ2I")
READY = struct.Struct(f"<4I{TEXT}s")

MIB = 1 << 20


class HandshakeError(Exception):
    """The peer sent something that is no handshake of this version; hang up."""


class Kind(IntEnum):
    """What a runtime asks for. ``LIST`` is what those of earlier versions ask in place of ``VGPUS``."""

    LIST = 1
    OPEN = 2
    VGPUS = 3


class Error(IntEnum):
    """Errors that a refusal may carry, as in native/wire/result.h."""

    OUT_OF_MEMORY = 2
    NO_DEVICE = 100
    INVALID_DEVICE = 101
    DEVICE_UNAVAILABLE = 46
    UNKNOWN = 999


@dataclass(frozen=True)
class Hello:
    """A runtime's first packet. ``pid`` is as the program sees it: for people, not for trust.

    ``control`` is the newest version of the control channel that it speaks, 0 for none.
    """

    kind: Kind
    ordinal: int
    pid: int
    ticket: str
    control: int = 0

    def pack(self) -> bytes:
        """Return the packet. Raises HandshakeError when the ticket is too long."""
        ticket = self.ticket.encode()
        if len(ticket) >= TEXT:
            raise HandshakeError(f"the ticket has {len(ticket)} bytes; allowed: less than {TEXT}")
        return HELLO.pack(MAGIC, VERSION, self.kind, self.ordinal, self.pid, self.control, ticket)

    @classmethod
    def unpack(cls, packet: bytes) -> "Hello":
        """Read a packet. Raises HandshakeError naming what is wrong with it."""
        _check_size("hello", packet, HELLO.size)
        magic, version, kind, ordinal, pid, control, ticket = HELLO.unpack(packet)
        _check_head(magic, version)
        if kind not in list(Kind):
            raise HandshakeError(f"hello kind {kind}; allowed: 1 (list), 2 (open), 3 (vgpus)")
        return cls(Kind(kind), ordinal, pid, _text(ticket), control)


@dataclass(frozen=True)
class VgpuShare:
    """What a program may know of a vGPU before it opens it: compute in percent, memory in MiB.

    ``id`` is the vGPU's UUID, by which CUDA_VISIBLE_DEVICES may name it; empty where it was not told.
    ``ordinal`` is what opens it.
    """

    compute: int
    memory_mib: int
    id: str = ""
    ordinal: int = 0

    @classmethod
    def unpack(cls, kind: Kind, packet: bytes) -> "list[VgpuShare]":
        """Return the vGPUs that follow a welcome's head, as an answer to ``kind`` has them."""
        if kind is Kind.VGPUS:
            vgpus = WELCOME_VGPU.iter_unpack(packet)
            return [
                cls(share, size // MIB, str(uuid.UUID(bytes=own)), ordinal)
                for own, size, share, ordinal in vgpus
            ]
        devices = WELCOME_DEVICE.iter_unpack(packet)
        return [cls(share, size // MIB) for share, _, size in devices]

    def pack(self, kind: Kind) -> bytes:
        """Return the vGPU as an answer to ``kind`` has it. Raises ValueError when its id is no UUID."""
        memory = self.memory_mib * MIB
        if kind is Kind.VGPUS:
            return WELCOME_VGPU.pack(uuid.UUID(self.id).bytes, memory, self.compute, self.ordinal)
        return WELCOME_DEVICE.pack(self.compute, 0, memory)


@dataclass(frozen=True)
class Welcome:
    """The agent's answer to ``kind``.

    ``error`` is an Error, 0 for welcome; then ``message`` is empty.
    """

    devices: tuple[VgpuShare, ...] = ()
    ring_bytes: int = 0
    error: int = 0
    message: str = ""
    kind: Kind = Kind.OPEN

    def pack(self) -> bytes:
        """Return the packet. Raises HandshakeError for more devices than a claim may have."""
        if len(self.devices) > MAX_DEVICES:
            raise HandshakeError(f"{len(self.devices)} vGPUs; allowed: up to {MAX_DEVICES}")
        message = self.message.encode()[: TEXT - 1]
        count = len(self.devices)
        head = WELCOME.pack(MAGIC, VERSION, self.error, count, self.ring_bytes, message)
        return head + b"".join(one.pack(self.kind) for one in self.devices)

    @classmethod
    def unpack(cls, packet: bytes, kind: Kind = Kind.OPEN) -> "Welcome":
        """Read the answer to ``kind``. Raises HandshakeError naming what is wrong with it."""
        if len(packet) < WELCOME.size:
            raise HandshakeError(f"welcome of {len(packet)} bytes; allowed: at least {WELCOME.size}")
        magic, version, error, count, ring_bytes, message = WELCOME.unpack_from(packet)
        _check_head(magic, version)
        each = WELCOME_VGPU if kind is Kind.VGPUS else WELCOME_DEVICE
        _check_size("welcome", packet, WELCOME.size + count * each.size)
        devices = tuple(VgpuShare.unpack(kind, packet[WELCOME.size :]))
        return cls(devices, ring_bytes, error, _text(message), kind)


def receive_hello(connection: socket.socket) -> Hello:
    """Read the runtime's first packet; the socket's own timeout bounds the wait.

    Raises HandshakeError when it is none, OSError (TimeoutError) when none comes.
    """
    return Hello.unpack(connection.recv(HELLO.size + 1))


def send_vgpus(connection: socket.socket, kind: Kind, vgpus: Sequence[VgpuShare]) -> None:
    """Answer a hello of kind ``VGPUS`` or ``LIST``. Raises OSError when the runtime is gone."""
    connection.send(Welcome(tuple(vgpus), kind=kind).pack())


def send_welcome(
    connection: socket.socket,
    devices: Sequence[VgpuShare],
    ring_fd: int,
    control_fd: int | None = None,
) -> None:
    """Answer a hello of kind ``OPEN`` with the session's vGPU and its ring, see make_ring.

    ``control_fd`` is where a runtime that speaks a version of the control channel is told of its
    session. Raises OSError when the runtime is gone.
    """
    packet = Welcome(tuple(devices), os.fstat(ring_fd).st_size).pack()
    passed = [ring_fd] if control_fd is None else [ring_fd, control_fd]
    socket.send_fds(connection, [packet], passed)


def send_refusal(connection: socket.socket, error: Error, message: str) -> None:
    """Refuse a hello: the program gets ``error``, its user ``message`` in one log line."""
    connection.send(Welcome(error=error, message=message).pack())


def send_failure(connection: socket.socket, error: Error, message: str) -> None:
    """Say, in place of a worker that could not start after the welcome, why there is none."""
    connection.send(READY.pack(MAGIC, VERSION, error, 0, message.encode()[: TEXT - 1]))


def make_ring(size_mib: int) -> int:
    """Return the descriptor of a new ring of ``size_mib`` MiB: shared memory that nobody can resize."""
    fd = os.memfd_create("gpupool-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size_mib * MIB)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_size(name: str, packet: bytes, size: int) -> None:
    if len(packet) != size:
        raise HandshakeError(f"{name} of {len(packet)} bytes; allowed: {size}")


def _check_head(magic: int, version: int) -> None:
    if magic != MAGIC:
        raise HandshakeError(f"magic {magic:#x}; allowed: {MAGIC:#x}")
    if version != VERSION:
        raise HandshakeError(f"handshake version {version}; allowed: {VERSION}")


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")
