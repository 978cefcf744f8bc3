"""An agent in this process that serves one claim on the reference device, as if a conductor had told it.

Everything is the real agent's but the conductor, which is a fixture, and the device that its driver
opens. Of workers it keeps what an agent forgets: their exit statuses, and what each left in its ledger.
"""

import os
import shutil
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import gpupool.conf
from gpupool.agent import inventory
from gpupool.agent.folders import Folders
from gpupool.agent.manager import AgentManager
from gpupool.dataplane import worker
from gpupool.dataplane.ledger import Ledger, Limits, SlotUsage
from gpupool.drivers.base import DeviceHandle
from gpupool.drivers.reference import ReferenceDriver
from gpupool.model import errors
from gpupool.model.attachment import AttachmentKind
from gpupool.model.report import AttachmentSpec, DesiredState, HostReport, VgpuSpec
from gpupool.model.share import Part

HOST = "local"
TICKET = "the-ticket"
CLAIM = "00000000-1111-4000-8000-000000000000"
ATTACHMENT = "00000000-2222-4000-8000-000000000000"
START_SECONDS = 60


@dataclass(frozen=True)
class Vgpu:
    """One vGPU of the claim: its share, and its device.

    ``host_mib``: what its sessions may take of the host's memory, where it is not the agent's to say.
    """

    compute: int = 100
    memory_mib: int = 512
    ordinal: int = 0
    host_mib: int | None = None
    granule: int = 512
    sessions: int = 64
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def spec(self, index: int) -> VgpuSpec:
        """Return what a conductor tells of it."""
        return VgpuSpec(
            id=self.id,
            claim_id=CLAIM,
            device_key=f"ref-{self.ordinal}",
            compute=self.compute,
            memory_mib=self.memory_mib,
            generation=1,
            sessions=self.sessions,
            index=index,
        )


class Worker:
    """A worker's process, and what it had in its ledger when it ended."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", spec: worker.WorkerSpec, ledger: Ledger
    ) -> None:
        self.pid, self.uid = process.pid, spec.uid
        self.left: SlotUsage | None = None
        self.ledger = ledger
        self._process, self._slot = process, spec.slot
        self._lock = threading.Lock()

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return None if self._process.poll() is None else self.wait()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, as the agent does before it clears the ledger; return the exit status."""
        status = self._process.wait(timeout)
        # A hostile one may have damaged it.
        with self._lock, suppress(errors.Invalid, OSError):
            self.left = self.left or self.ledger.usage(self._slot)
        return status


class Conductor:
    """Tells the agent what it should have, and is away when it has that: nothing is made anew."""

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired
        self.reached = threading.Event()
        self.report: HostReport | None = None

    def report_host(self, ctxt: object, report: HostReport) -> DesiredState:
        self.report = report
        if report.generation == self._desired.generation:
            self.reached.set()
            raise errors.Unavailable("all has been told", "conductor")
        return self._desired


@dataclass
class LocalAgent:
    """Serves one attachment from workers of the build in ``native``, until it is closed.

    ``log``: where workers write; of the sanitized ones also what their sanitizers report. Of several
    agents the last that was started is closed first.
    """

    native: Path
    vgpus: Sequence[Vgpu] = field(default_factory=lambda: (Vgpu(),))
    ring_mib: int = 32
    environment: dict[str, str] = field(default_factory=dict)
    library: Path | None = None
    sandbox: worker.Sandbox = worker.Sandbox.REFERENCE
    log: Path | None = None

    def __post_init__(self) -> None:
        self._workers: list[Worker] = []
        with ExitStack() as stack:
            # A short path: sockets have no long ones.
            folder = Path(tempfile.mkdtemp(prefix="gp-", dir="/tmp"))
            stack.callback(shutil.rmtree, folder)
            conf = self._conf(folder)
            self._folders = Folders.from_conf(conf)
            self.socket_path = self._folders.socket(ATTACHMENT)
            self.ids = [one.id for one in self.vgpus]
            self.ledgers = [Ledger(self._folders.ledgers / name) for name in self.ids]
            stack.enter_context(patch.object(worker, "spawn", self._spawner(worker.spawn)))
            self._start(conf, stack)
            self._stack = stack.pop_all()

    @property
    def workers(self) -> list[Worker]:
        """The workers of all sessions so far; one that has answered its program is among them."""
        return list(self._workers)

    @property
    def opened(self) -> list[int]:
        """Of each session so far, which of the vGPUs it is on."""
        return [self.ids.index(one.ledger.path.name) for one in self.workers]

    def close(self) -> None:
        """Refuse new sessions and end those there are."""
        self._stack.close()

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

    def _conf(self, folder: Path):
        conf = gpupool.conf.new(files=[])
        conf.set_override(
            "devices", max((one.ordinal for one in self.vgpus), default=0) + 1, "reference"
        )
        for name, value in {
            "host": HOST,
            "drivers": ["local"],
            "report_interval": 3600,
            "state_path": str(folder),
            "run_path": str(folder / "run"),
            "cdi_path": str(folder / "cdi"),
            "ring_mib": self.ring_mib,
            "cgroups": False,
        }.items():
            conf.set_override(name, value, "agent")
        return conf

    def _start(self, conf, stack: ExitStack) -> None:
        attachment = AttachmentSpec(
            id=ATTACHMENT,
            claim_id=CLAIM,
            kind=AttachmentKind.PROCESS,
            ticket=TICKET,
            vgpu_ids=tuple(self.ids),
            generation=1,
        )
        desired = DesiredState(
            host=HOST,
            generation=1,
            vgpus=tuple(one.spec(index) for index, one in enumerate(self.vgpus)),
            attachments=(attachment,),
        )
        conductor = Conductor(desired)
        with patch.dict(inventory.DRIVERS, {"local": lambda conf: _Driver(conf, self)}):
            manager = AgentManager(conf, conductor)
        manager.start()
        stack.callback(manager.stop, end_sessions=True)
        assert conductor.reached.wait(START_SECONDS), "the agent did not do as it was told"
        made = (*conductor.report.vgpus, *conductor.report.attachments)
        assert not any(one.error for one in made), made
        for one, ledger in zip(self.vgpus, self.ledgers, strict=True):
            if one.host_mib is not None:
                ledger.set_limits(Limits(one.compute, one.memory_mib, one.host_mib))

    def _spawner(self, spawn):
        """Return what starts a worker of this agent; those of others are started as they were."""

        def own(spec: worker.WorkerSpec, executable: Path):
            ledger = Ledger(Path(f"/proc/self/fd/{spec.ledger_fd}").readlink())
            if ledger.path.parent != self._folders.ledgers:
                return spawn(spec, executable)
            executable = self.native / "gpupool-worker"
            if self.log is None:
                process = spawn(spec, executable)
            else:
                with self.log.open("ab") as log:
                    process = spawn(replace(spec, log_fd=log.fileno()), executable)
            self._workers.append(Worker(process, spec, ledger))
            return self._workers[-1]

        return own


class _Driver(ReferenceDriver):
    """The reference device as its agent wants it opened."""

    def __init__(self, conf, agent: LocalAgent) -> None:
        super().__init__(conf)
        self._agent = agent
        self.sandbox = agent.sandbox

    def open(self, device_key: str, part: Part | None = None) -> DeviceHandle:
        agent = self._agent
        granules = {f"ref-{one.ordinal}": one.granule for one in agent.vgpus}
        return replace(
            super().open(device_key, part),
            library=agent.library or agent.native / "refcuda" / "libcuda.so.1",
            environment=agent.environment,
            sandbox=agent.sandbox,
            granule=granules[device_key],
        )
