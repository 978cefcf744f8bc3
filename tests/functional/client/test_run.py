"""`openstack gpu run` as a process, with programs that use the reference device."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupool.demo import matmul
from tests.functional.client.conftest import Service, openstack_process, release_all, running

MATMUL = matmul.__file__
UNTIL_LOST = str(Path(__file__).with_name("until_lost.py"))


@pytest.fixture
def claim(service: Service) -> Iterator[str]:
    """The id of a bound claim of 25 % and 64 MiB."""
    client = service.client()
    made = client.create("claims", {"compute": 25, "memory_mib": 64})
    while made["state"] != "bound":
        time.sleep(0.05)
        made = client.get("claims", made["id"])
    yield made["id"]
    release_all(client)


def start(service: Service, claim: str, *program: str) -> "subprocess.Popen[str]":
    return openstack_process(service, "gpu", "run", "--claim", claim, "--", *program)


def attachments(service: Service) -> list[dict[str, object]]:
    """Return those that are not being taken away."""
    return [item for item in service.client().list("attachments") if item["state"] != "removing"]


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["/no/such/program"], 127),
    ],
)
def test_the_exit_code_is_the_programs(service, claim, program: list[str], code: int) -> None:
    process = start(service, claim, *program)
    output, error = process.communicate()
    assert process.returncode == code, error
    assert output == ""
    assert ("program not found" in error) is (code == 127)
    assert attachments(service) == []


def test_options_after_the_dashes_are_the_programs(service, claim) -> None:
    process = start(service, claim, "printf", "%s|", "--debug", "-h", "--", "x y")
    assert process.communicate()[0] == "--debug|-h|--|x y|"


def test_a_program_computes_on_its_share(service, claim) -> None:
    output, error = start(service, claim, sys.executable, MATMUL, "--allocate-mib", "65").communicate()
    assert error == ""
    assert output.splitlines() == [
        "device 0: gpupool reference device (simulated), 64 MiB",
        "65 MiB: CUDA_ERROR_OUT_OF_MEMORY; going on",
        "256 x 256 product equals NumPy's",
    ]
    assert attachments(service) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_and_the_attachment(service, claim, signum: signal.Signals) -> None:
    process = start(service, claim, sys.executable, UNTIL_LOST)
    assert process.stdout.readline() == "ready\n"
    assert len(attachments(service)) == 1
    process.send_signal(signum)
    process.communicate()
    # Python turns SIGINT into an exception, and ends as if by the signal.
    assert process.returncode == 128 + signum
    assert attachments(service) == []


def test_a_signal_before_the_program_runs(service, claim) -> None:
    """Whenever it comes, no attachment is left."""
    process = start(service, claim, "sleep", "60")
    while not attachments(service):
        time.sleep(0.01)
        assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    assert attachments(service) == []


def test_sessions_are_shown_while_a_program_runs(service, claim) -> None:
    process = start(service, claim, sys.executable, UNTIL_LOST)
    assert process.stdout.readline() == "ready\n"
    client = service.client()
    while not (found := list(client.list("sessions"))):
        time.sleep(0.1)
    assert Path(f"/proc/{found[0]['program_pid']}/cmdline").read_bytes().endswith(b"until_lost.py\0")
    process.terminate()
    process.communicate()


def test_a_released_claims_program_loses_its_device(service, claim) -> None:
    process = start(service, claim, sys.executable, UNTIL_LOST)
    assert process.stdout.readline() == "ready\n"
    service.client().delete("claims", claim)
    output, _ = process.communicate(timeout=30)
    assert output == "CUDA_ERROR_DEVICE_UNAVAILABLE\n"
    assert process.returncode == 3
    assert attachments(service) == []


def test_a_released_claim_runs_nothing(service, claim, tmp_path: Path) -> None:
    client = service.client()
    client.delete("claims", claim)
    while client.get("claims", claim)["state"] != "released":
        time.sleep(0.05)
    process = start(service, claim, "touch", str(tmp_path / "ran"))
    output, error = process.communicate()
    assert process.returncode == 1
    assert "released" in error
    assert output == ""
    assert not (tmp_path / "ran").exists()


def test_what_to_run_must_be_given(service) -> None:
    for words in ([], ["--print-environment", "true"]):
        process = openstack_process(service, "gpu", "run", "--claim", "x", *words)
        _, error = process.communicate()
        assert process.returncode == 1
        assert "give either a program, after two dashes (--), or --print-environment" in error


def test_an_environment_for_a_shell(service, claim) -> None:
    process = openstack_process(service, "gpu", "run", "--claim", claim, "--print-environment")
    exports, error = process.communicate()
    assert process.returncode == 0, error
    kept = attachments(service)
    assert len(kept) == 1
    assert f"openstack gpu attachment delete {kept[0]['id']}" in exports
    script = f"{exports}\nexec {sys.executable} {MATMUL}"
    before = {"PATH": os.environ["PATH"]}
    said = subprocess.run(["sh", "-c", script], env=before, capture_output=True, text=True, check=True)
    assert "256 x 256 product equals NumPy's" in said.stdout
    service.client().delete("attachments", str(kept[0]["id"]))
    while attachments(service):
        time.sleep(0.05)
    refused = subprocess.run(
        ["sh", "-c", script], env=before, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "the driver failed: CUDA_ERROR" in refused.stderr


def test_stopping_standalone_ends_sessions(tmp_path: Path, native: Path) -> None:
    with running(tmp_path, "--hosts", "1", "--devices", "1") as own:
        client = own.client()
        claim_id = client.create("claims", {"compute": 100, "memory_mib": 64})["id"]
        while client.get("claims", claim_id)["state"] != "bound":
            time.sleep(0.05)
        process = start(own, claim_id, sys.executable, UNTIL_LOST)
        assert process.stdout.readline() == "ready\n"
        ledgers = str(tmp_path / "hosts")
        assert len(users_of(ledgers)) == 2
        assert own.stop() == 0
    assert users_of(ledgers) == []
    output, error = process.communicate(timeout=60)
    assert output == "CUDA_ERROR_DEVICE_UNAVAILABLE\n"
    assert "is left, delete it by hand" in error


def users_of(folder: str) -> list[int]:
    """Return the processes that have a file beneath ``folder`` open or mapped."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if folder in (path / "maps").read_text():
                found.add(int(path.name))
            for one in (path / "fd").iterdir():
                if str(one.readlink()).startswith(folder):
                    found.add(int(path.name))
        except OSError:
            continue
    return sorted(found)
