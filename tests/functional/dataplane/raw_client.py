"""A client that writes into the ring whatever it is told: the hostile counterpart of the runtime.

Layouts are those of native/wire/ring.h and of the generated messages.
"""

import ctypes
import mmap
import os
import socket
import struct
import time
from types import TracebackType

from gpupool.dataplane import handshake
from gpupool.dataplane.generator.write import messages
from testbed.local_agent import TICKET, LocalAgent

PAGE = 4096
SLOTS = 64
RECORDS_AT = PAGE * (1 + SLOTS)
RECORDS = 1 << 20
ARENA_AT = RECORDS_AT + RECORDS
NO_SLOT = 0xFFFF
RECORD = struct.Struct("<IHHII")
MESSAGES = dict(enumerate(messages(), 1))
NUMBERS = {message.name: number for number, message in MESSAGES.items()}
_LIBC = ctypes.CDLL(None, use_errno=True)
_FUTEX, _WAKE = 202, 1


class Ended(Exception):
    """The worker ended the session; the argument is its exit code."""


class RawClient:
    """One session, opened by hand."""

    def __init__(self, agent: LocalAgent, hello: bytes = b"") -> None:
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.connect(str(agent.socket_path))
        own = handshake.Hello(handshake.Kind.OPEN, 0, os.getpid(), TICKET).pack()
        self.connection.send(hello or own)
        packet, (ring,), _, _ = socket.recv_fds(self.connection, 1 << 16, 1)
        self.memory = mmap.mmap(ring, handshake.Welcome.unpack(packet).ring_bytes)
        os.close(ring)
        error = handshake.READY.unpack(self.connection.recv(1000))[2]
        assert error == 0
        self.worker = agent.workers[-1]
        self.head = 0
        self._sequence = 0
        words = (ctypes.c_uint32 * (PAGE // 4)).from_buffer(self.memory)
        self._head_word = ctypes.byref(words)
        self._words = words

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, kind: type | None, error: Exception | None, trace: TracebackType | None) -> None:
        self.connection.close()
        del self._words, self._head_word

    def hang_up(self) -> int:
        """End the session as a dying program does; return the worker's exit code."""
        self.connection.close()
        return self.worker.wait(20)

    def look(self) -> None:
        """Raise Ended when the worker has ended the session."""
        if self.worker.poll() is not None:
            raise Ended(self.worker.returncode)

    def send(self, call: int, content: bytes, slot: int = NO_SLOT, size: int | None = None) -> int:
        """Write one record, waiting for room; return the sequence its answer is marked with."""
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        size = RECORD.size + len(content) if size is None else size
        span = -(-(RECORD.size + len(content)) // 64) * 64
        left = RECORDS - self.head % RECORDS
        if span > left:
            self.put(RECORD.pack(left, 0, NO_SLOT, 0, 0), left)
        self.put(RECORD.pack(size, call, slot, self._sequence, 0) + content, span)
        return self._sequence

    def ask(self, name: str, content: bytes = b"", slot: int = SLOTS - 1) -> tuple[int, bytes]:
        """Send a synchronous message and wait for its answer: the CUresult and the bytes."""
        sequence = self.send(NUMBERS[name], content, slot)
        at = PAGE * (1 + slot)
        until = time.monotonic() + 30
        while struct.unpack_from("<I", self.memory, at)[0] != sequence:
            self.look()
            assert time.monotonic() < until, "no answer"
            time.sleep(0.0002)
        _, _, result, size = struct.unpack_from("<4I", self.memory, at)
        return result, self.memory[at + 16 : at + 16 + size]

    def put_arena(self, at: int, content: bytes) -> None:
        """Write into the arena."""
        self.memory[ARENA_AT + at : ARENA_AT + at + len(content)] = content

    @property
    def staging_bytes(self) -> int:
        """The size of the arena's first part, as native/wire/ring.c lays it out."""
        return min((len(self.memory) - ARENA_AT) // PAGE * PAGE // 4, 16 << 20) // PAGE * PAGE

    @property
    def heap_at(self) -> int:
        """Where the arena's last part begins."""
        arena = (len(self.memory) - ARENA_AT) // PAGE * PAGE
        return self.staging_bytes + min(arena // 4, 8 << 20) // PAGE * PAGE

    def put(self, record: bytes, span: int) -> None:
        until = time.monotonic() + 30
        while self.head + span - self._tail() > RECORDS and self.worker.poll() is None:
            assert time.monotonic() < until, "the ring stays full"
            time.sleep(0.001)
        at = RECORDS_AT + self.head % RECORDS
        self.memory[at : at + len(record)] = record
        self.head += span
        # In one go: struct writes byte by byte, and the worker ends a session whose head jumps.
        self._words[0] = self.head & 0xFFFFFFFF
        _LIBC.syscall(_FUTEX, self._head_word, _WAKE, 1, None, None, 0)

    def _tail(self) -> int:
        return self.head - ((self.head - self._words[16]) & 0xFFFFFFFF)
