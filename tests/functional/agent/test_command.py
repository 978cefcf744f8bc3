"""gpupool-agent as a command."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("drivers = abacus", "drivers names abacus; allowed: nvidia, reference"),
        ("run_path = /" + "r" * 60, "run_path /r"),
        ("worker_user = no-such-user", "worker_user"),
    ],
)
def test_a_configuration_that_can_never_work_ends_it_at_once(tmp_path, options, message):
    file = tmp_path / "agent.conf"
    file.write_text(f"[agent]\n{options}\n")
    command = [sys.executable, "-m", "gpupool.cmd.agent", "--config-file", file]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert f"gpupool-agent: [agent] {message}" in ended.stderr
