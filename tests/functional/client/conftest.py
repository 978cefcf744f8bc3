"""A real gpupool-standalone in a process of its own, and the real `openstack` in this one."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1 import adapter, noauth, session
from openstackclient.shell import OpenStackShell
from osc_lib.clientmanager import ClientManager

from gpupool.client import rest

START_TIMEOUT = 60
# Tests that use ``service`` go to one worker of pytest-xdist, so that only one starts.
USES_SERVICE = pytest.mark.xdist_group("standalone")
COMMAND = (sys.executable, "-m", "gpupool.cmd.standalone")


@dataclass(frozen=True)
class Service:
    """A running standalone."""

    process: "subprocess.Popen[str]"
    state_dir: Path
    api: str
    placement: str

    def client(self, **headers: str) -> rest.Client:
        """Return a REST client; ``headers`` say who calls, as X_Project_Id."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        credentials = session.Session(auth=noauth.NoAuth(endpoint=self.api))
        return rest.Client(
            adapter.Adapter(
                credentials,
                service_type=rest.SERVICE_TYPE,
                default_microversion=rest.MICROVERSION,
                additional_headers=named,
            )
        )

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Stop it; return its exit code."""
        self.process.send_signal(signum)
        return self.process.wait(30)


def start(state_dir: Path, *options: str) -> Service:
    """Start a standalone and wait until it is ready."""
    arguments = ["--state-dir", str(state_dir), "--cdi-dir", str(state_dir / "cdi"), "--port", "0"]
    process = subprocess.Popen(
        [*COMMAND, *arguments, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # As in a terminal of its own: a Ctrl-C of whoever runs the tests is theirs.
        start_new_session=True,
    )
    endpoints = state_dir / "endpoints.json"
    end = time.monotonic() + START_TIMEOUT
    while not (endpoints.exists() and str(process.pid) == (state_dir / "lock").read_text()):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise RuntimeError(process.communicate()[1])
        time.sleep(0.05)
    return Service(process, state_dir, **json.loads(endpoints.read_text()))


@contextmanager
def running(state_dir: Path, *options: str) -> Iterator[Service]:
    """Start a standalone; stop it, if the test did not."""
    service = start(state_dir, *options)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            assert service.stop() == 0


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, native: Path) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("standalone")) as made:
        yield made


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


class Openstack:
    """The `openstack` command, run in this process: starting Python each time takes seconds."""

    def __init__(self, cloud: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._global = cloud.split()
        self._capsys = capsys

    def __call__(self, line: str, *more: str, code: int = 0) -> Said:
        """Run the words of ``line`` and ``more``; the exit code must be ``code``."""
        self._capsys.readouterr()
        handlers = logging.root.handlers[:]
        # The command keeps its client for as long as its process lives; here the next test's is another.
        if (kept := vars(ClientManager).get("gpu_pool")) is not None:
            kept._handle = None
        try:
            ended = OpenStackShell().run([*self._global, *line.split(), *more])
        except SystemExit as exc:
            ended = int(exc.code or 0)
        finally:
            # Each run adds one that writes to what was sys.stderr then.
            logging.root.handlers[:] = handlers
        said = Said(ended, *self._capsys.readouterr())
        assert said.code == code, f"{line}: exit code {said.code}\n{said.out}\n{said.err}"
        return said

    def json(self, line: str, *more: str) -> Any:
        """Run a command and return what it shows, as JSON."""
        return self(line, *more, "-f", "json").json

    def refused(self, line: str, *more: str, code: int = 1) -> str:
        """Run a command that must fail; return what it says, its spaces as single ones."""
        return " ".join(self(line, *more, code=code).err.split())


@pytest.fixture
def openstack(service: Service, capsys: pytest.CaptureFixture[str]) -> Openstack:
    return Openstack(f"--os-auth-type none --os-endpoint {service.api}", capsys)


@pytest.fixture
def empty(service: Service) -> Iterator[None]:
    """Release every claim that a test leaves, and wait until each has ended."""
    yield
    release_all(service.client())


def release_all(client: rest.Client) -> None:
    """Release every claim of every project and wait until it has ended."""
    live = ["queued", "allocating", "binding", "bound", "releasing"]
    query = {"all_projects": "true", "state": live}
    end = time.monotonic() + 30
    while claims := list(client.list("claims", query)):
        for claim in claims:
            if claim["state"] != "releasing":
                try:
                    client.delete("claims", claim["id"])
                except rest.Conflict:
                    continue
        assert time.monotonic() < end, claims
        time.sleep(0.05)


def openstack_process(api: str, *words: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    """Start the installed `openstack` in a process of its own."""
    environment = {**os.environ, "OS_AUTH_TYPE": "none", "OS_ENDPOINT": api}
    return subprocess.Popen(
        [str(Path(sys.executable).parent / "openstack"), *words],
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
