"""The whole control plane for a test: the API over a real conductor, SQLite and the real Placement.

Only the host is simulated: EchoAgent says of everything it should have that it has it.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_context.context import RequestContext
from oslo_messaging import Transport
from oslo_utils import timeutils

from gpupool import conf as gpupool_conf
from gpupool.api.app import make_app
from gpupool.conductor.service import Conductor
from gpupool.db import hosts
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.device import SharingMode
from gpupool.model.report import (
    AttachmentReport,
    DesiredState,
    DeviceReport,
    HostReport,
    SessionReport,
    VgpuReport,
)
from gpupool.model.states import HostState
from gpupool.placement.client import PlacementClient
from gpupool.rpc import transport as rpc_transport
from gpupool.rpc.conductor import ConductorClient
from testbed.signing import uplink

MEMORY_MIB = 4096
CPU_MILLI = 16_000
HOST_MEMORY_MIB = 65_536
DEVICES = tuple(
    DeviceReport(
        key=f"ref-{number}",
        vendor="reference",
        product="refcuda",
        sharing_mode=SharingMode.SHARED,
        memory_mib=MEMORY_MIB,
        traits=("CUSTOM_GPUPOOL_TEST",),
        simulated=True,
        link_group="nvlink-0",
    )
    for number in range(2)
)


class EchoAgent:
    """A simulated host: it has no data plane, and reports as there whatever it should have."""

    def __init__(self, transport: Transport, host: str) -> None:
        self.host = host
        self._uplink = uplink(transport, host)
        self._desired: DesiredState | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=host)

    def start(self) -> None:
        self.report()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.1):
            # A test may revoke it.
            with suppress(errors.Unavailable):
                self.report()

    def report(self) -> None:
        """Report once, and remember what is desired for the next time."""
        desired = self._desired
        report = HostReport(
            host=self.host,
            hypervisor_hostname=self.host,
            pool="default",
            agent_version="test",
            generation=desired.generation if desired else 0,
            incarnation=desired.incarnation if desired else "",
            cpu_milli=CPU_MILLI,
            memory_mib=HOST_MEMORY_MIB,
            devices=DEVICES,
            vgpus=tuple(VgpuReport(id=vgpu.id, generation=vgpu.generation) for vgpu in desired.vgpus)
            if desired
            else (),
            attachments=tuple(
                AttachmentReport(
                    id=one.id,
                    generation=one.generation,
                    environment={"GPUPOOL_SOCKET": f"/run/{one.id}/session.sock"},
                )
                for one in desired.attachments
            )
            if desired
            else (),
            sessions=_sessions(desired) if desired else (),
        )
        self._desired = self._uplink.report_host(RequestContext(), report)


def _sessions(desired: DesiredState) -> tuple[SessionReport, ...]:
    """Return one session for every vGPU of every attachment."""
    return tuple(
        SessionReport(
            id=str(uuid.uuid5(uuid.UUID(one.id), vgpu)),
            attachment_id=one.id,
            vgpu_id=vgpu,
            program_pid=1,
            worker_pid=2,
            started_at=timeutils.utcnow(),
        )
        for one in desired.attachments
        for vgpu in one.vgpu_ids
    )


class Service:
    """What a test works with: ``app``, and behind it ``database`` and ``conductor``."""

    def __init__(self, conf: cfg.ConfigOpts, database: Database, transport: Transport) -> None:
        self.conf, self.database, self.transport = conf, database, transport
        self.conductor = conductor = ConductorClient(transport)
        self.app: Any = make_app(conf, database, conductor)
        unique = uuid.uuid4().hex[:8]
        # Device ids, and so Placement's providers, come of the host's name.
        self.agent = EchoAgent(transport, f"host-a-{unique}")
        self.silent = f"host-z-{unique}"

    def start_hosts(self) -> None:
        """Start a host that reports; add one that did so once and is down since."""
        self.agent.start()
        EchoAgent(self.transport, self.silent).report()
        with self.database.writer() as session:
            host = hosts.get_by_name(session, self.silent)
            hosts.update(session, host.id, state=HostState.DOWN)


def new_conf(folder: Path, auth_strategy: str = "noauth", more: str = "") -> cfg.ConfigOpts:
    """Return the configuration of a test, with nothing from this machine; ``more`` is added to it."""
    path = folder / "gpupool.conf"
    path.write_text(
        f"""
        [DEFAULT]
        transport_url = fake://
        [api]
        auth_strategy = {auth_strategy}
        [keystone_authtoken]
        www_authenticate_uri = http://keystone.example.org
        [conductor]
        queue_interval = 1
        admit_hosts = automatic
        [quota]
        projects = tight claims=2 compute=50
        [database]
        connection = sqlite:///{folder}/gpupool.sqlite
        """.replace(" " * 8, "")
        + more
    )
    return gpupool_conf.new(files=[str(path)])


@contextmanager
def running(folder: Path, placement: PlacementClient, more: str = "") -> Iterator[Service]:
    """Run a service with one host up and one down, and stop it; ``more`` goes into its configuration."""
    conf = new_conf(folder, more=more)
    transport = rpc_transport.get_transport(conf)
    database = Database.from_conf(conf)
    database.upgrade()
    conductor = Conductor(conf, database, placement, transport)
    conductor.start()
    service = Service(conf, database, transport)
    try:
        service.start_hosts()
        yield service
    finally:
        service.agent.stop()
        conductor.stop()
        transport.cleanup()
        database.close()
