"""A conductor's stand-in, and programs as the agent sees them.

The stand-in keeps reports and the desired state in files, so that agents in this process and in others
can use it: as a program, ``python -m tests.functional.agent.stand_in STATE [--die MOMENT]`` runs one.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import gpupool.conf
from gpupool.agent.manager import AgentManager
from gpupool.agent.supervisor import Supervisor
from gpupool.dataplane import handshake, worker
from gpupool.dataplane.handshake import Hello, Kind, Welcome
from gpupool.model import errors, wire
from gpupool.model.attachment import AttachmentKind
from gpupool.model.report import AttachmentSpec, DesiredState, HostReport, VgpuSpec

HOST = "host-a"
TICKET = "the-ticket"
TIMEOUT = 20


def eventually(condition: Callable[[], object], what: str = "it") -> None:
    """Wait until ``condition`` holds; the time is for a machine that is busy, not a measurement."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)


class StandInConductor:
    """Answers each report with the desired state that was last set; unavailable when there is none."""

    def __init__(self, folder: Path) -> None:
        self._desired = folder / "wanted"
        self._reported = folder / "reported"

    def want(self, generation: int, vgpus=(), attachments=(), ended=()) -> None:
        state = DesiredState(
            host=HOST,
            generation=generation,
            vgpus=tuple(vgpus),
            attachments=tuple(attachments),
            ended_sessions=tuple(ended),
        )
        self._replace(self._desired, wire.dump(state))

    def vanish(self) -> None:
        self._desired.unlink()

    def reported(self) -> HostReport:
        eventually(self._reported.exists, "a report")
        return wire.load(HostReport, json.loads(self._reported.read_text()))

    def report_host(self, ctxt: object, report: HostReport) -> DesiredState:
        self._replace(self._reported, wire.dump(report))
        try:
            return wire.load(DesiredState, json.loads(self._desired.read_text()))
        except FileNotFoundError:
            raise errors.Unavailable("the stand-in is away") from None

    def _replace(self, path: Path, content: object) -> None:
        partial = path.with_name(f"{path.name}.{threading.get_ident()}")
        partial.write_text(json.dumps(content))
        partial.replace(path)


def vgpu(
    number: int,
    compute: int = 25,
    memory_mib: int = 512,
    device: str = "ref-0",
    sessions: int = 16,
    project: str = "",
    index: int | None = None,
) -> VgpuSpec:
    return VgpuSpec(
        id=f"{number:08d}-0000-4000-8000-000000000000",
        claim_id=f"{number:08d}-1111-4000-8000-000000000000",
        device_key=device,
        compute=compute,
        memory_mib=memory_mib,
        generation=1,
        sessions=sessions,
        project_id=project,
        index=index,
    )


def attachment(number: int, *vgpus: VgpuSpec, kind: AttachmentKind = AttachmentKind.PROCESS):
    return AttachmentSpec(
        id=f"{number:08d}-2222-4000-8000-000000000000",
        claim_id=vgpus[0].claim_id,
        kind=kind,
        ticket=TICKET,
        vgpu_ids=tuple(one.id for one in vgpus),
        generation=1,
    )


class Program:
    """A program's end of a session's connection: what a runtime does at first, and no calls."""

    def __init__(self, path: Path) -> None:
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.settimeout(TIMEOUT)
        self.listeners: list[socket.socket] = []
        place = os.open(path, os.O_PATH)  # a path may be longer than a socket's address
        try:
            self.connection.connect(f"/proc/self/fd/{place}")
        finally:
            os.close(place)

    def hello(self, kind: Kind, ordinal: int = 0, ticket: str = TICKET, control: int = 0) -> Welcome:
        """Say hello; ``control`` is the version of the control channel that the runtime speaks."""
        self.connection.send(Hello(kind, ordinal, os.getpid(), ticket, control).pack())
        packet, descriptors, _, _ = socket.recv_fds(self.connection, 65536, 4)
        for descriptor in descriptors[:1]:
            os.close(descriptor)
        self.listeners = [socket.socket(fileno=descriptor) for descriptor in descriptors[1:]]
        return Welcome.unpack(packet, kind)

    def accept(self) -> socket.socket:
        """Return the agent's connection to the control channel."""
        (listener,) = self.listeners
        listener.settimeout(TIMEOUT)
        connection, _ = listener.accept()
        connection.settimeout(TIMEOUT)
        return connection

    def wait_ready(self) -> int:
        """Return the error of the worker's ready packet."""
        return self.ready()[0]

    def ready(self) -> tuple[int, str]:
        """Return error and message of the worker's ready packet."""
        packet = handshake.READY.unpack(self.connection.recv(handshake.READY.size))
        return packet[2], packet[4].rstrip(b"\0").decode()

    def wait_hung_up(self) -> None:
        """Return when the other side is gone."""
        while self._receive():
            pass

    def close(self) -> None:
        for one in (self.connection, *self.listeners):
            one.close()

    def _receive(self) -> bytes:
        try:
            return self.connection.recv(65536)
        except ConnectionResetError:
            return b""


def configuration(state: Path):
    conf = gpupool.conf.new(files=[])
    for name, value in {
        "host": HOST,
        "drivers": ["reference"],
        "report_interval": 1,
        "state_path": str(state),
        "run_path": str(state / "run"),
        "cdi_path": str(state / "cdi"),
        "ring_mib": 8,
        "cgroups": False,
    }.items():
        conf.set_override(name, value, "agent")
    return conf


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(moment: str) -> None:
    """Kill this process at a moment of a session's creation."""
    spawn = worker.spawn
    if moment == "written":
        handshake.make_ring = die
    elif moment == "welcomed":
        worker.spawn = die
    elif moment == "spawned":
        worker.spawn = lambda *arguments: die(spawn(*arguments))
    elif moment == "added":
        adopt = Supervisor.adopt
        Supervisor.adopt = lambda self, *arguments: die(adopt(self, *arguments))
    else:
        raise ValueError(moment)


def main() -> None:
    state = Path(sys.argv[1])
    if sys.argv[2:]:
        die_at(sys.argv[2])
    manager = AgentManager(configuration(state / "agent"), StandInConductor(state))
    manager.start()
    print("started", flush=True)
    sys.stdin.read()
    manager.stop()


if __name__ == "__main__":
    main()
