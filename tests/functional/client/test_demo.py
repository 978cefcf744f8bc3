"""The demo as a user runs it."""

import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from gpupool.cmd import demo
from gpupool.demo.steps import Demo

# It takes half a minute where nothing else runs.
pytestmark = [pytest.mark.usefixtures("native"), pytest.mark.timeout(400)]
DEMO = (sys.executable, "-m", "gpupool.cmd.demo")


def test_every_check_holds(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    said = subprocess.run(DEMO, capture_output=True, text=True, check=False, env=environment)
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stderr == ""
    checks = [line.strip() for line in said.stdout.splitlines() if line.strip().startswith("ok: ")]
    assert "ok: its matrix product is right" in checks
    assert "ok: 513 MiB refused" in checks
    assert "ok: both on one device" in checks
    assert "ok: no allocation in Placement" in checks
    assert checks[-1] == "ok: no process of this demo is left"
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_fails_is_counted(tmp_path: Path, monkeypatch, capfd) -> None:
    """Steps that go wrong in two ways, in place of the demo's own."""

    def steps(self: Demo) -> None:
        self._shell.check(True, "this holds")
        self._shell.check(False, "this does not")
        self._shell.openstack("gpu", "claim", "show", "nothing")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["gpupool-demo"])
    monkeypatch.setattr(Demo, "run", steps)
    term = signal.getsignal(signal.SIGTERM)
    try:
        assert demo.main() == 1
    finally:
        signal.signal(signal.SIGTERM, term)
    lines = [line.strip() for line in capfd.readouterr().out.splitlines()]
    assert "ok: this holds" in lines
    assert "FAILED: this does not" in lines
    assert "FAILED: the command ended with exit code 1" in lines
    assert lines[-1].startswith("2 checks FAILED")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_stopped(tmp_path: Path, signum: signal.Signals) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        DEMO,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        # A shell has what it runs in the background ignore Ctrl-C, which programs inherit.
        preexec_fn=partial(signal.signal, signum, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        while "$ openstack" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signum)
        process.communicate()
    assert process.returncode == 128 + signum
    assert list(tmp_path.iterdir()) == []
