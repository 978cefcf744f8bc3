"""Conductor and agents as processes of their own, on RabbitMQ, one database and the real Placement."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from oslo_context.context import RequestContext

from gpupool import conf as gpupool_conf
from gpupool.db import claims, devices, hosts, vgpus
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.claim import Claim, ClaimRequest
from gpupool.model.host import Host
from gpupool.placement.allocations import Allocations
from gpupool.placement.embedded import TOKEN, EmbeddedPlacement
from gpupool.rpc import transport
from gpupool.rpc.conductor import ConductorClient

WAIT = 100


class Process:
    """One service; ``kill`` is kill -9 of all of it, without warning."""

    def __init__(self, module: str, config: Path) -> None:
        self._command = [sys.executable, "-m", module, "--config-file", str(config)]
        self._output = config.with_suffix(".log")
        self.start()

    def start(self) -> None:
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def children(self) -> list[int]:
        """Return the processes that the launcher started: the service proper."""
        lists = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        return [int(pid) for text in lists for pid in text.read_text().split()]

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """Stop it in order; return its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")


class Cloud:
    """A conductor and two hosts of one simulated device each, from ``start`` to ``close``."""

    host_timeout = 5

    def __init__(
        self, folder: Path, transport_url: str, backend_url: str = "", database_url: str = ""
    ) -> None:
        self.folder = folder
        self._backend_url = backend_url
        self._database_url = database_url or f"sqlite:///{folder}/gpupool.sqlite"
        self.ctxt = RequestContext(project_id="project-1", user_id="user-1")
        self.agents: dict[str, Process] = {}
        self._exchange = {"control_exchange": f"gpupool-{uuid.uuid4()}", "transport_url": transport_url}
        self._stops = ExitStack()

    def start(self) -> None:
        self.database = Database.from_url(self._database_url)
        self._stops.callback(self.database.close)
        self.database.upgrade()
        self.placement = self._stops.enter_context(self._new_placement())
        messages = transport.get_transport(gpupool_conf.new(files=[str(self._write("client", {}))]))
        self._stops.callback(messages.cleanup)
        self.client = ConductorClient(messages, timeout=5)
        self.conductor = Process("gpupool.cmd.conductor", self._conductor_config())
        self._stops.callback(self.conductor.stop)
        self.insist(self._answers)
        # A socket's path has to be short.
        self._run = Path(self._stops.enter_context(tempfile.TemporaryDirectory(prefix="gpupool-")))
        for name in ("host-a", "host-b"):
            self.agents[name] = Process("gpupool.cmd.agent", self._agent_config(name))
            self._stops.callback(self.agents[name].stop)
        self.wait(lambda: len(self.up()) == len(self.agents), "both hosts are up")

    def _new_placement(self) -> EmbeddedPlacement:
        return EmbeddedPlacement(self.folder / "placement")

    def another_conductor(self, **options: str) -> Process:
        """Return one more, with other options in [DEFAULT]."""
        conductor = Process("gpupool.cmd.conductor", self._conductor_config("conductor-2", **options))
        self._stops.callback(conductor.stop)
        return conductor

    def another_agent(self, name: str, **options: str) -> Process:
        """Return one more, with other options in [DEFAULT]."""
        agent = Process("gpupool.cmd.agent", self._agent_config(name, **options))
        self._stops.callback(agent.stop)
        return agent

    def close(self) -> None:
        self._stops.close()

    def _write(self, name: str, options: dict[str, dict[str, Any]], **default: str) -> Path:
        lines = []
        for group, values in {"DEFAULT": self._exchange | default, **options}.items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in values.items())]
        path = self.folder / f"{name}.conf"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _conductor_config(self, name: str = "conductor", **default: str) -> Path:
        placement = {"auth_type": "admin_token", "endpoint": self.placement.url, "token": TOKEN}
        often = {"queue_interval": 1, "reconcile_interval": 1}
        soon = {
            "host_timeout": self.host_timeout,
            "allocating_timeout": 1000,
            "admit_hosts": "automatic",
        }
        groups = {
            "conductor": often | soon,
            "placement": placement,
            "database": {"connection": self._database_url},
            "coordination": {"backend_url": self._backend_url},
        }
        return self._write(name, groups, **default)

    def _agent_config(self, name: str, **default: str) -> Path:
        agent = {
            "host": name,
            "drivers": "reference",
            "report_interval": 1,
            "state_path": self.folder / name,
            "run_path": self._run / name,
            "cdi_path": self.folder / name / "cdi",
        }
        groups = {"agent": agent, "reference": {"devices": 1}}
        return self._write(name, groups, **default)

    def wait(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + WAIT
        while not done():
            assert time.monotonic() < end, f"not after {WAIT} s: {what}\n{self._outputs()}"
            time.sleep(0.1)

    def _outputs(self) -> str:
        processes = {"conductor": self.conductor, **self.agents}
        return "\n".join(f"{name}: {each.output[-2000:]}" for name, each in processes.items())

    def create(self, **wishes: Any) -> Claim:
        """Return a new claim; asks again, with the same id, when no conductor answered."""
        claim_id = str(uuid.uuid4())
        request = ClaimRequest(**{"compute": 25, "memory_mib": 64, **wishes})
        return self.insist(lambda: self.client.create_claim(self.ctxt, claim_id, request))

    def release(self, claim: Claim) -> None:
        def once() -> None:
            try:
                self.client.release_claim(self.ctxt, claim.id)
            except errors.Conflict as exc:
                # The request before was not lost; its answer was.
                if "already" not in exc.message:
                    raise

        self.insist(once)

    def _answers(self) -> None:
        with contextlib.suppress(errors.NotFound):
            self.client.release_claim(self.ctxt, "no-such")

    def insist(self, ask: Callable[[], Any]) -> Any:
        """Ask again when no conductor answered."""
        end = time.monotonic() + WAIT
        while True:
            try:
                return ask()
            except errors.Unavailable:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def wait_for(self, state: str, *wanted: Claim) -> None:
        ids = [claim.id for claim in wanted]

        def done() -> bool:
            with self.database.reader() as session:
                found = claims.list_(session, {"id": ids})
            return all(claim.state == state for claim in found)

        self.wait(done, f"claims are {state}")

    def up(self) -> list[Host]:
        with self.database.reader() as session:
            return hosts.list_(session, {"state": "up"})

    def check_books(self, count: int) -> None:
        """Database and Placement agree that there are ``count`` vGPUs."""
        allocations = Allocations(self.placement.client())
        with self.database.reader() as session:
            rows = {vgpu.id for vgpu in vgpus.list_(session)}
            device_ids = [device.id for device in devices.list_(session)]
        held = {consumer for each in device_ids for consumer in allocations.allocations_of(each)}
        assert held == rows
        assert len(rows) == count
