"""gpupool-conductor as a command that can never work: it ends at once, with one line."""

import re
import subprocess
import sys

import pytest

PLACEMENT = "[placement]\nauth_type = none\nendpoint_override = http://127.0.0.1:9\n"


def run(tmp_path, options):
    """Return the one line that the conductor ends with."""
    file = tmp_path / "conductor.conf"
    file.write_text(options)
    command = [sys.executable, "-m", "gpupool.cmd.conductor", "--config-file", file]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("gpupool-conductor: ")]
    return line


def test_without_database_it_ends(tmp_path):
    assert "[database] connection is not set" in run(tmp_path, PLACEMENT)


def test_with_a_database_of_another_version_it_ends(tmp_path):
    database = f"[database]\nconnection = sqlite:///{tmp_path}/empty.sqlite\n"
    assert "gpupool-manage db upgrade" in run(tmp_path, database + PLACEMENT)


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        ("", r"\[placement\] auth_type is not set"),
        ("[placement]\nauth_type = abacus\n", r"\[placement\] does not describe a service: .*abacus"),
    ],
)
def test_without_placement_it_ends(tmp_path, template, placement, said):
    line = run(tmp_path, f"[database]\nconnection = sqlite:///{template}\n{placement}")
    assert re.search(said, line)


def test_with_a_message_bus_of_no_kind_it_ends(tmp_path, template):
    options = f"[DEFAULT]\ntransport_url = abacus://\n[database]\nconnection = sqlite:///{template}\n"
    assert "abacus" in run(tmp_path, options + PLACEMENT)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("carrier-pigeon://here", r"\[coordination\] backend_url can't be used: .*carrier-pigeon"),
        ("zookeeper://here", r"\[coordination\] backend_url needs the package kazoo"),
        ("mysql://gpupool:secret@here:port/gpupool", r"\[coordination\] backend_url is no URL$"),
    ],
)
def test_with_coordination_of_no_kind_it_ends(tmp_path, template, url, said):
    options = f"[database]\nconnection = sqlite:///{template}\n[coordination]\nbackend_url = {url}\n"
    assert re.search(said, run(tmp_path, options + PLACEMENT))
