"""SIMULATION: an agent without devices. It speaks the real RPC; what it 'has' are dictionaries."""

import threading
import uuid
from functools import cached_property

import oslo_messaging
from oslo_context.context import RequestContext
from oslo_utils import timeutils

from gpupool.agent.uplink import Uplink
from gpupool.model.device import SharingMode
from gpupool.model.report import (
    AttachmentReport,
    AttachmentSpec,
    DesiredState,
    DeviceReport,
    HostReport,
    SessionReport,
    VgpuReport,
    VgpuSpec,
)
from gpupool.model.states import DeviceHealth
from gpupool.model.wire import Payload
from gpupool.rpc import agent as rpc_agent
from gpupool.rpc import transport as rpc_transport
from testbed.signing import MemoryIdentity, uplink


def session_report(attachment, vgpu, pid: int) -> SessionReport:
    """Return the report of a new session, whose program and worker both have this pid."""
    return SessionReport(
        id=str(uuid.uuid4()),
        attachment_id=attachment.id,
        vgpu_id=vgpu.id,
        program_pid=pid,
        worker_pid=pid,
        started_at=timeutils.utcnow(),
    )


class SimulatedAgent:
    """Reports and converges when the test says so; with ``error`` it refuses everything.

    ``host_fault``: as its own fault, not the claim's.
    """

    def __init__(
        self,
        transport: oslo_messaging.Transport,
        host: str,
        *,
        devices: int = 2,
        memory_mib: int = 4096,
    ) -> None:
        self._transport = transport
        self.identity = MemoryIdentity()
        self.host = host
        self.pool = "default"
        self.hypervisor = host
        self.cpu_milli = 0
        self.memory_mib = 0
        self.unable_reason = ""
        self.version = "simulated"
        self.error = ""
        self.host_fault = False
        self.generation = 0
        self.incarnation = ""
        self.answered = False
        self.vgpus: dict[str, VgpuSpec] = {}
        self.attachments: dict[str, AttachmentSpec] = {}
        self.devices = {
            f"ref-{number}": DeviceReport(
                key=f"ref-{number}",
                vendor="reference",
                product="Reference Device",
                sharing_mode=SharingMode.SHARED,
                memory_mib=memory_mib,
                simulated=True,
            )
            for number in range(devices)
        }

    @cached_property
    def uplink(self) -> Uplink:
        """What it reports by, and reads what it is told."""
        return uplink(self._transport, self.host, pool=self.pool, identity=self.identity)

    def set_health(self, key: str, health: DeviceHealth) -> None:
        before = self.devices[key]
        self.devices[key] = DeviceReport(**{**vars(before), "health": health})

    def report(self) -> HostReport:
        """Return what this host has now."""
        return HostReport(
            host=self.host,
            hypervisor_hostname=self.hypervisor,
            pool=self.pool,
            agent_version=self.version,
            generation=self.generation,
            incarnation=self.incarnation,
            cpu_milli=self.cpu_milli,
            memory_mib=self.memory_mib,
            unable_reason=self.unable_reason,
            devices=tuple(self.devices.values()),
            vgpus=tuple(
                VgpuReport(
                    id=spec.id,
                    generation=spec.generation,
                    error=self.error,
                    host_fault=self.host_fault and bool(self.error),
                )
                for spec in self.vgpus.values()
            ),
            attachments=tuple(
                AttachmentReport(
                    id=spec.id,
                    generation=spec.generation,
                    error=self.error,
                    environment={"GPUPOOL_SOCKET": f"/run/{spec.id}/session.sock"},
                    cdi_device=f"gpupool.org/vgpu={spec.id}",
                )
                for spec in self.attachments.values()
            ),
        )

    def send(self, report: HostReport | None = None) -> DesiredState:
        """Send a report, by default of now; return the answer and do nothing about it."""
        return self.uplink.report_host(RequestContext(), report or self.report())

    def apply(self, desired: DesiredState) -> bool:
        """Converge to what is desired; return whether that changed anything."""
        self.answered = True
        before = (self.generation, self.vgpus, self.attachments)
        self.generation, self.incarnation = desired.generation, desired.incarnation
        self.vgpus = {spec.id: spec for spec in desired.vgpus}
        self.attachments = {spec.id: spec for spec in desired.attachments}
        return before != (self.generation, self.vgpus, self.attachments)

    def look(self, told: DesiredState | None = None) -> None:
        """Take what was told, if it is news, then report and converge until there is nothing to do."""
        same = told is not None and told.incarnation == self.incarnation
        if told and same and self.answered and told.generation > self.generation:
            self.apply(told)
        while self.apply(self.send()):
            pass


class ServedAgent:
    """A SimulatedAgent in a thread: it looks when told by RPC, and every ``interval`` seconds."""

    target = oslo_messaging.Target(version=rpc_agent.VERSION)

    def __init__(
        self, transport: oslo_messaging.Transport, agent: SimulatedAgent, interval: float = 1
    ) -> None:
        self.agent = agent
        self._interval = interval
        self._wake = threading.Event()
        self._told: DesiredState | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"agent {agent.host}")
        target = rpc_transport.agents_target(transport, rpc_agent.TOPIC, server=agent.host)
        self._server = rpc_transport.get_server(transport, target, [self])

    def look(self, ctxt: RequestContext, message: Payload | None = None) -> None:
        if message is not None:
            self._told = self.agent.uplink.read(message)
        self._wake.set()

    def __enter__(self) -> "ServedAgent":
        self._server.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._server.stop()
        self._server.wait()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self.agent.look(self._told)
            self._wake.wait(self._interval)
