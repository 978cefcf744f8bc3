"""Machines of unusual names: no command stops for it but the agent, where no host can be called so."""

import subprocess
import sys

import pytest

from gpupool.model.host import is_name

GOOD = ["gpu_node-1", "x" * 64, "x" * 255, "NODE-A", "node.example.", "fe80::1"]
BAD = ["größe", "-a", "a b", "x" * 256, "a/../b"]


def run(name, module, *arguments):
    """Run a command on a machine called ``name``."""
    code = (
        f"import socket, sys; socket.gethostname = lambda: {name!r}\n"
        f"from gpupool.cmd import {module}; sys.exit({module}.main())"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", [GOOD[0], BAD[0]])
def test_commands_start_on_a_machine_of_any_name(name, tmp_path):
    file = tmp_path / "gpupool.conf"
    file.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/gpupool.sqlite\n")
    ended = run(name, "manage", "--config-file", str(file), "db", "version")
    assert (ended.returncode, ended.stdout) == (0, "none\n"), ended.stderr


@pytest.mark.parametrize("name", BAD[:2])
def test_an_agent_says_that_a_host_can_not_be_called_so(name, tmp_path):
    file = tmp_path / "agent.conf"
    file.write_text(f"[agent]\nstate_path = {tmp_path}\nrun_path = {tmp_path}\ndrivers = reference\n")
    ended = run(name, "agent", "--config-file", str(file))
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"gpupool-agent: [agent] host is '{name}'; allowed: 1 to 255 of A to Z")
    assert ended.returncode == 1


@pytest.mark.parametrize("name", GOOD)
def test_a_host_may_be_called_so(name):
    assert is_name(name)


@pytest.mark.parametrize("name", BAD)
def test_no_host_is_called_so(name):
    assert not is_name(name)
