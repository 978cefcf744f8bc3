"""The demo as a user runs it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_a_check_that_fails_is_counted(tmp_path: Path) -> None:
    """Without gcc the program has no kernel."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PATH": str(tmp_path)}
    said = subprocess.run(DEMO, capture_output=True, text=True, check=False, env=environment)
    assert said.returncode == 1
    assert "FAILED: its matrix product is right" in said.stdout
    assert "ok: no allocation in Placement" in said.stdout
    assert "checks FAILED" in said.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_stopped(tmp_path: Path, signum: signal.Signals) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True, env=environment) as process:
        while "four devices" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signum)
        process.communicate()
    assert process.returncode == 128 + signum
    assert list(tmp_path.iterdir()) == []
