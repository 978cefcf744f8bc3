"""`openstack gpu run` as a process, with programs that use the reference device."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupool.demo import matmul
from tests.functional.client.conftest import (
    USES_SERVICE,
    Service,
    openstack_process,
    release_all,
    running,
)

pytestmark = USES_SERVICE
MATMUL = matmul.__file__
# Prints the MiB of each device.
SIZES = """
from cuda.bindings import driver
driver.cuInit(0)
count = driver.cuDeviceGetCount()[1]
print([driver.cuDeviceTotalMem(number)[1] >> 20 for number in range(count)])
"""
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
    return openstack_process(service.api, "gpu", "run", "--claim", claim, "--", *program)


def attachments(service: Service) -> list[dict[str, object]]:
    """Return those that are not being taken away."""
    return [item for item in service.client().list("attachments") if item["state"] != "removing"]


def test_a_program_and_its_exit_code(service, claim) -> None:
    """Options after the dashes are the program's. tests/unit/client/test_run.py has other ends."""
    script = 'printf "%s|" "$@"; exit 7'
    process = start(service, claim, "sh", "-c", script, "sh", "--debug", "-h", "--", "x y")
    output, error = process.communicate()
    assert process.returncode == 7, error
    assert output == "--debug|-h|--|x y|"
    assert error == ""
    assert attachments(service) == []


def test_a_program_computes_on_its_share(service, claim) -> None:
    output, error = start(service, claim, sys.executable, MATMUL, "--allocate-mib", "65").communicate()
    assert error == ""
    assert output.splitlines() == [
        "device 0: gpupool reference device (simulated), 64 MiB",
        "65 MiB: CUDA_ERROR_OUT_OF_MEMORY; going on",
        "256 x 256 product equals NumPy's",
    ]
    assert attachments(service) == []


@pytest.mark.parametrize("nested", [False, True])
def test_a_program_of_two_claims(service, claim, nested) -> None:
    """In their order; of a run within a run, the inner claim's devices come first."""
    client = service.client()
    other = client.create("claims", {"compute": 25, "memory_mib": 32})
    while client.get("claims", other["id"])["state"] != "bound":
        time.sleep(0.05)
    run = ("gpu", "run", "--claim", other["id"])
    program = ("--", sys.executable, "-c", SIZES)
    if nested:
        openstack = str(Path(sys.executable).parent / "openstack")
        process = start(service, claim, openstack, *run, *program)
    else:
        process = openstack_process(service.api, *run, "--claim", claim, *program)
    output, error = process.communicate()
    assert error == ""
    assert output == "[32, 64]\n"
    assert attachments(service) == []


def test_a_program_that_loads_another_libcuda_is_told(service, claim, tmp_path) -> None:
    other = tmp_path / "libcuda.so.1"
    command = ["gcc", "-shared", "-x", "c", "/dev/null", "-o", str(other)]
    subprocess.run(command, check=True)
    loads = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print('loaded', flush=True); sys.stdin.read()"
    process = openstack_process(
        service.api,
        *("gpu", "run", "--claim", claim, "--", sys.executable, "-c", loads, str(other)),
        stdin=subprocess.PIPE,
    )
    assert process.stdout.readline() == "loaded\n"
    line = process.stderr.readline()
    assert f"has loaded {other}, which is not gpupool's runtime" in line
    _, error = process.communicate()
    assert (process.returncode, error) == (0, "")


def test_a_signal_ends_the_program_and_the_attachment(service, claim) -> None:
    process = start(service, claim, sys.executable, UNTIL_LOST)
    assert process.stdout.readline() == "ready\n"
    assert len(attachments(service)) == 1
    client = service.client()
    while not (found := list(client.list("sessions"))):
        time.sleep(0.1)
    assert Path(f"/proc/{found[0]['program_pid']}/cmdline").read_bytes().endswith(b"until_lost.py\0")
    process.send_signal(signal.SIGINT)
    process.communicate()
    # Python turns SIGINT into an exception, and ends as if by the signal.
    assert process.returncode == 128 + signal.SIGINT
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


def test_a_released_claims_program_loses_its_device(service, claim) -> None:
    process = start(service, claim, sys.executable, UNTIL_LOST)
    assert process.stdout.readline() == "ready\n"
    service.client().delete("claims", claim)
    output, _ = process.communicate(timeout=30)
    assert output == "CUDA_ERROR_DEVICE_UNAVAILABLE\n"
    assert process.returncode == 3
    assert attachments(service) == []


def test_one_programs_session_ends_and_the_others_go_on(service, claim, openstack) -> None:
    first, second = (start(service, claim, sys.executable, UNTIL_LOST) for _ in range(2))
    for process in (first, second):
        assert process.stdout.readline() == "ready\n"
    while len(rows := openstack.json("gpu session list --long")) < 2:
        time.sleep(0.1)
    assert {row["State"] for row in rows} == {"live"}
    of_claim = {row["ID"] for row in openstack.json(f"gpu session list --claim {claim}")}
    assert of_claim == {row["ID"] for row in rows}
    ended = rows[0]
    lost = first if is_child_of(ended["Program PID"], first.pid) else second
    assert openstack.json("gpu session show", ended["ID"])["program_pid"] == ended["Program PID"]
    openstack("gpu session delete", ended["ID"])
    output, _ = lost.communicate(timeout=60)
    assert output == "CUDA_ERROR_DEVICE_UNAVAILABLE\n"
    while len(rows := openstack.json("gpu session list")) > 1:
        time.sleep(0.1)
    assert rows[0]["ID"] != ended["ID"]
    assert f"session {ended['ID']} not found" in openstack.refused("gpu session delete", ended["ID"])
    other = second if lost is first else first
    assert other.poll() is None
    other.send_signal(signal.SIGTERM)
    other.communicate()


def is_child_of(pid: int, parent: int) -> bool:
    return f"\nPPid:\t{parent}\n" in Path(f"/proc/{pid}/status").read_text()


def test_a_signal_ends_it_while_the_api_hangs() -> None:
    """The first ends the request that hangs; the second that which would delete the attachment."""
    claim_id = "00000000-0000-4000-8000-000000000000"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        api = f"http://127.0.0.1:{server.getsockname()[1]}"
        process = openstack_process(api, "gpu", "run", "--claim", claim_id, "--", "true")
        asked = []
        for _ in range(2):
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(65536).decode().split(" HTTP")[0])
                process.send_signal(signal.SIGTERM)
                # Until the other end has gone.
                while connection.recv(65536):
                    pass
        _, error = process.communicate()
    assert asked[0] == "POST /v1/attachments"
    assert asked[1].startswith("DELETE /v1/attachments/")
    attachment_id = asked[1].rpartition("/")[2]
    assert f"attachment {attachment_id} may be left (SIGTERM" in error
    assert f"delete it by: openstack gpu attachment delete {attachment_id}" in error
    assert process.returncode == 143


def test_a_released_claim_runs_nothing(service, claim, openstack, tmp_path: Path) -> None:
    client = service.client()
    client.delete("claims", claim)
    while client.get("claims", claim)["state"] != "released":
        time.sleep(0.05)
    assert "released" in openstack.refused(f"gpu run --claim {claim} -- touch {tmp_path}/ran")
    assert not (tmp_path / "ran").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_what_to_run_must_be_given(openstack) -> None:
    for words in ("", "--print-environment true"):
        said = openstack.refused(f"gpu run --claim x {words}")
        assert "give either a program, after two dashes (--), or --print-environment" in said


def test_an_environment_for_a_shell(service, claim) -> None:
    process = openstack_process(service.api, "gpu", "run", "--claim", claim, "--print-environment")
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
    assert "delete it by: openstack gpu attachment delete" in error


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
