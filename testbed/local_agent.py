"""A small agent: hands each session to a real worker on the reference device.

It keeps no record and checks no ticket but one; the real one is gpupool.agent.
"""

import contextlib
import itertools
import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gpupool.conf
from gpupool.agent import uids
from gpupool.dataplane import handshake, worker
from gpupool.dataplane.ledger import Ledger, Limits

TICKET = "the-ticket"


@dataclass(frozen=True)
class Vgpu:
    """One vGPU of the claim: its share, and its device."""

    compute: int = 100
    memory_mib: int = 512
    ordinal: int = 0
    host_mib: int = 0
    granule: int = 512
    sessions: int = 64
    id: str = ""


@dataclass
class LocalAgent:
    """Serves one attachment under ``folder``; ``native`` is the folder of a build."""

    folder: Path
    native: Path
    vgpus: Sequence[Vgpu] = (Vgpu(),)
    ring_mib: int = 32
    environment: dict[str, str] = field(default_factory=dict)
    library: Path | None = None
    sandbox: worker.Sandbox = worker.Sandbox.REFERENCE
    # Where workers write; of the sanitized ones also what their sanitizers report.
    log: Path = Path(os.devnull)

    def __post_init__(self) -> None:
        self.socket_path = self.folder / "session.sock"
        self.ids = [
            one.id or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.socket_path}#{number}"))
            for number, one in enumerate(self.vgpus)
        ]
        self.ledgers = [Ledger(self.folder / f"ledger-{index}") for index in range(len(self.vgpus))]
        for ledger, vgpu in zip(self.ledgers, self.vgpus, strict=True):
            ledger.create(Limits(vgpu.compute, vgpu.memory_mib, vgpu.host_mib), vgpu.sessions)
        registry = uids.registry(uids.parse(gpupool.conf.new(files=[]).agent.worker_uids))
        self.uids = [registry and registry.take(ledger.path.absolute()) for ledger in self.ledgers]
        self._workers: list[subprocess.Popen[bytes]] = []
        # Of each session, which of the vGPUs it is on.
        self.opened: list[int] = []
        self._opening = threading.Lock()
        self._slots = [itertools.count() for _ in self.vgpus]
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self.socket_path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def workers(self) -> "list[subprocess.Popen[bytes]]":
        """The workers of all sessions so far; one that has answered its program is among them."""
        with self._opening:
            return list(self._workers)

    def close(self) -> None:
        """Refuse new sessions and end those there are."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for one in self.workers:
            one.kill()
            one.wait()

    def __enter__(self) -> "LocalAgent":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def program_environment(self) -> dict[str, str]:
        """Return what a program needs to reach its session."""
        return {
            **os.environ,
            "GPUPOOL_SOCKET": str(self.socket_path),
            "GPUPOOL_TICKET": TICKET,
            "LD_LIBRARY_PATH": str(self.native / "runtime"),
        }

    def _serve(self) -> None:
        for connection in self._connections():
            with connection, contextlib.suppress(OSError, handshake.HandshakeError):
                self._answer(connection)

    def _connections(self) -> Iterator[socket.socket]:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(5)
            yield connection

    def _answer(self, connection: socket.socket) -> None:
        hello = handshake.receive_hello(connection)
        if hello.ticket != TICKET:
            refusal = handshake.Error.DEVICE_UNAVAILABLE
            handshake.send_refusal(connection, refusal, "this ticket opens no claim")
        elif hello.kind is handshake.Kind.OPEN:
            with self._opening:
                self._open(connection, hello.ordinal)
        else:
            handshake.send_vgpus(connection, hello.kind, self._shares())

    def _shares(self) -> list[handshake.VgpuShare]:
        return [
            handshake.VgpuShare(one.compute, one.memory_mib, vgpu_id, ordinal)
            for ordinal, (one, vgpu_id) in enumerate(zip(self.vgpus, self.ids, strict=True))
        ]

    def _open(self, connection: socket.socket, ordinal: int) -> None:
        ring_fd = handshake.make_ring(self.ring_mib)
        ledger_fd = os.open(self.ledgers[ordinal].path, os.O_RDWR)
        log_fd = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        connection.setblocking(True)
        try:
            handshake.send_welcome(connection, self._shares(), ring_fd)
            spec = worker.WorkerSpec(
                session_id=f"session-{len(self._workers)}",
                library=self.library or self.native / "refcuda" / "libcuda.so.1",
                ordinal=self.vgpus[ordinal].ordinal,
                sandbox=self.sandbox,
                environment=self.environment,
                ledger_fd=ledger_fd,
                slot=next(self._slots[ordinal]),
                connection_fd=connection.fileno(),
                ring_fd=ring_fd,
                granule=self.vgpus[ordinal].granule,
                log_fd=log_fd,
                uid=self.uids[ordinal],
            )
            self._workers.append(worker.spawn(spec, self.native / "gpupool-worker"))
            self.opened.append(ordinal)
        finally:
            os.close(ring_fd)
            os.close(ledger_fd)
            os.close(log_fd)
