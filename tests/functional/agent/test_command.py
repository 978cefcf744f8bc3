"""gpupool-agent as a command."""

import subprocess
import sys

import pytest


def run(tmp_path, options):
    """Return the one line that the agent ends with."""
    file = tmp_path / "agent.conf"
    file.write_text(options)
    command = [sys.executable, "-m", "gpupool.cmd.agent", "--config-file", file]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("drivers = abacus", "drivers names abacus; allowed: nvidia, reference"),
        ("worker_uids = 2-1", "worker_uids is 2-1; allowed: FIRST-LAST"),
    ],
)
def test_a_configuration_that_can_never_work_ends_it_at_once(tmp_path, options, message):
    assert f"gpupool-agent: [agent] {message}" in run(tmp_path, f"[agent]\n{options}\n")


def test_a_state_folder_that_cannot_be_used_ends_it_at_once(tmp_path):
    (tmp_path / "file").touch()
    line = run(tmp_path, f"[agent]\nstate_path = {tmp_path}/file/state\n")
    assert line == f"gpupool-agent: [Errno 20] Not a directory: '{tmp_path}/file/state'"


def test_a_transport_that_is_no_url_ends_it_at_once(tmp_path):
    options = f"[DEFAULT]\ntransport_url = nonsense\n[agent]\nstate_path = {tmp_path}\n"
    assert run(tmp_path, options) == "gpupool-agent: [DEFAULT] transport_url is no URL of a transport"


def test_a_configuration_that_is_not_understood_ends_it_at_once(tmp_path):
    assert "gpupool-agent: Failed to parse" in run(tmp_path, "drivers\n")


def test_a_configuration_file_that_is_missing_ends_it_at_once(tmp_path):
    command = [sys.executable, "-m", "gpupool.cmd.agent", "--config-file", tmp_path / "none"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("gpupool-agent: ")
    assert f"{tmp_path}/none" in line
