"""gpupool-standalone as a process: how it starts, ends, and goes on."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupool.cmd import standalone
from gpupool.dataplane.handshake import Kind
from tests.functional.agent.stand_in import Program
from tests.functional.client.conftest import COMMAND, USES_SERVICE, Said, Service, running
from tests.markers import needs_root

pytestmark = pytest.mark.usefixtures("native")
SMALL = ("--hosts", "1", "--devices", "1", "--memory-mib", "256")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run one that cannot start, in this process."""

    def refused(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["gpupool-standalone", *arguments])
        try:
            code = standalone.main()
        except SystemExit as exc:
            code = int(exc.code or 0)
        return Said(code, *capfd.readouterr())

    return refused


def complaints(error: str) -> list[str]:
    """Return the lines on standard error but those of a slow machine."""
    return [line for line in error.splitlines() if not line.startswith("waiting for the devices")]


def bound_claim(service: Service) -> str:
    client = service.client()
    claim = client.create("claims", {"compute": 50, "memory_mib": 100})
    while claim["state"] != "bound":
        time.sleep(0.05)
        claim = client.get("claims", claim["id"])
    return claim["id"]


def test_a_signal_stops_all(tmp_path: Path) -> None:
    """SIGINT here; SIGTERM is how every other test stops it, and SIGHUP comes below."""
    with running(tmp_path / "state", *SMALL) as service:
        port = int(service.api.rpartition(":")[2])
        assert service.stop(signal.SIGINT) == 0
    assert complaints(service.process.stderr.read()) == []
    assert not (tmp_path / "state" / "endpoints.json").exists()
    with socket.socket() as free:
        assert free.connect_ex(("127.0.0.1", port)) != 0
    # Every process of it would be of its session.
    left = subprocess.run(["pgrep", "-s", str(service.process.pid)], capture_output=True, check=False)
    assert left.stdout == b""


def test_it_says_what_to_try(tmp_path: Path) -> None:
    command = [
        *COMMAND,
        "--state-dir",
        str(tmp_path),
        "--cdi-dir",
        str(tmp_path / "cdi"),
        "--port",
        "0",
        *SMALL,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said = []
        while "Ctrl-C" not in "".join(said):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said.append(line)
        text = "".join(said)
        endpoint = text.partition("OS_ENDPOINT=")[2].splitlines()[0]
        assert f"API    {endpoint} " in text
        assert f"state  {tmp_path}\n" in text
        assert Path(text.partition("log    ")[2].splitlines()[0]).is_file()
        process.send_signal(signal.SIGHUP)
        output, error = process.communicate(timeout=30)
    assert output == "Stopping ...\n"
    assert complaints(error) == []
    assert process.returncode == 0


def test_its_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "open"
    state.mkdir(mode=0o755)
    with running(state, *SMALL) as service:
        made = {each.name: each.stat().st_mode & 0o777 for each in state.glob("gpupool.sqlite*")}
        # The others are there while a connection is open.
        assert "gpupool.sqlite" in made
        assert set(made.values()) == {0o600}
        assert service.stop(signal.SIGTERM) == 0
    (warning,) = complaints(service.process.stderr.read())
    assert warning.endswith(f"can look into the state folder {state} (mode 755): chmod 700 {state}")
    log = (state / "standalone.log").read_text()
    assert "host sim-a is up\n" in log
    assert "leads no more" not in log
    assert "can't lead" not in log
    (state / "gpupool.sqlite").chmod(0o644)
    with running(state, *SMALL):
        assert (state / "gpupool.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_restart_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, *SMALL) as service:
        claim_id = bound_claim(service)
        vgpus = list(service.client().list("vgpus"))
    with running(tmp_path, *SMALL) as service:
        client = service.client()
        assert client.get("claims", claim_id)["state"] == "bound"
        assert [item["id"] for item in client.list("vgpus")] == [item["id"] for item in vgpus]
        assert [item["compute_granted"] for item in client.list("devices")] == [50]
        client.delete("claims", claim_id)
        while client.get("claims", claim_id)["state"] != "released":
            time.sleep(0.05)


def ready_environment(service: Service, attachment_id: str) -> dict[str, str]:
    while (found := service.client().get("attachments", attachment_id))["state"] != "ready":
        time.sleep(0.05)
    return found["environment"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_sockets_keep_their_paths_over_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    """Also when what is not for ever was emptied meanwhile: none of it lies there."""
    emptied = tmp_path / "emptied"
    state = tmp_path / ("s" * 100)
    monkeypatch.setenv("TMPDIR", str(emptied))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(emptied))
    emptied.mkdir()
    with running(state, *SMALL) as service:
        claim_id = bound_claim(service)
        attachment = service.client().create("attachments", {"claim_id": claim_id, "kind": "process"})
        environment = ready_environment(service, attachment["id"])
        socket_path = Path(environment["GPUPOOL_SOCKET"])
        folder = socket_path.parent.stat().st_ino
        service.stop(signum)
    (state / "endpoints.json").unlink(missing_ok=True)
    assert socket_path.is_relative_to(state)
    shutil.rmtree(emptied)
    emptied.mkdir()
    with running(state, *SMALL) as service:
        assert ready_environment(service, attachment["id"]) == environment
        assert service.client().get("claims", claim_id)["state"] == "bound"
        assert socket_path.parent.stat().st_ino == folder, "a container holds it"
        program = Program(socket_path)
        assert program.hello(Kind.OPEN, ticket=environment["GPUPOOL_TICKET"]).error == 0
        assert program.wait_ready() == 0
        program.close()


def test_a_link_to_sockets_elsewhere_gives_way(tmp_path: Path) -> None:
    """Earlier versions kept sockets in /tmp, or where a logout removes them."""
    elsewhere = tmp_path / "gpupool-x1y2z3"
    elsewhere.mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "run").symlink_to(elsewhere)
    with running(tmp_path / "state", *SMALL):
        assert not (tmp_path / "state" / "run").is_symlink()
        assert (tmp_path / "state" / "run" / "sim-a").is_dir()
    assert not elsewhere.exists()


@needs_root
def test_a_checkout_that_only_root_may_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run as users that can't reach their program and library by path."""
    checkout = tmp_path / "checkout"
    checkout.mkdir(mode=0o700)
    shutil.copytree(Path(standalone.__file__).parents[1], checkout / "gpupool")
    monkeypatch.chdir(checkout)
    with running(tmp_path / "state", "--hosts", "2", "--devices", "1", "--memory-mib", "256") as service:
        client = service.client()
        made = [
            client.create("attachments", {"claim_id": bound_claim(service), "kind": "process"})
            for _ in range(4)  # two on each host: their agents share this process, and the users
        ]
        programs, uids = [], set()
        for one in made:
            while (found := client.get("attachments", one["id"]))["state"] != "ready":
                time.sleep(0.05)
            environment = found["environment"]
            assert Path(environment["LD_LIBRARY_PATH"].partition(":")[0]).is_relative_to(checkout)
            programs.append(Program(Path(environment["GPUPOOL_SOCKET"])))
            assert programs[-1].hello(Kind.OPEN, ticket=environment["GPUPOOL_TICKET"]).error == 0
            assert programs[-1].wait_ready() == 0
        for record in (tmp_path / "state" / "hosts").glob("*/sessions/[!.]*"):
            # A worker may be ready before the agent has written down which one it is.
            while not (pid := json.loads(record.read_text())["worker_pid"]):
                time.sleep(0.05)
            uids.add(Path(f"/proc/{pid}/status").read_text().partition("Uid:")[2].split()[0])
        assert len(uids) == 4
        assert "0" not in uids
        for program in programs:
            program.close()


@USES_SERVICE
def test_two_of_one_state_folder(service: Service) -> None:
    second = subprocess.run(
        [*COMMAND, "--state-dir", str(service.state_dir), "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr == (
        f"gpupool-standalone: gpupool-standalone runs already in {service.state_dir}, as process"
        f" {service.process.pid}; stop it, or choose another folder by --state-dir\n"
    )
    assert list(service.client().list("hosts"))


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = subprocess.run(
            [*COMMAND, "--state-dir", str(tmp_path), "--port", str(port), *SMALL],
            capture_output=True,
            text=True,
            check=False,
        )
    assert said.returncode == 1
    why = f"port {port} is in use; choose another by --port (0: any free one)"
    assert said.stderr == f"gpupool-standalone: {why}\n"
    log = (tmp_path / "standalone.log").read_text()
    assert f"cannot start: {why}" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--port", "65536"], "argument --port: '65536' is not allowed; allowed: 0 to 65535"),
        (["--hosts", "0"], "argument --hosts: '0' is not allowed; allowed: 1 to 26"),
        (["--devices", "many"], "argument --devices: 'many' is not allowed; allowed: 0 to 64"),
        (["--memory-mib", "-1"], "argument --memory-mib: '-1' is not allowed; allowed: 1 to 1048576"),
    ],
)
def test_a_command_line_that_cannot_be(run, arguments: list[str], why: str) -> None:
    said = run(*arguments)
    assert said.code == 2
    assert why in said.err


def test_a_state_folder_that_cannot_be(run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = run("--state-dir", str(tmp_path / "file"))
    assert said.code == 1
    assert f"the state folder {tmp_path / 'file'} cannot be used: File exists" in said.err


@pytest.mark.parametrize("name", ["gpupool.sqlite", "placement/placement.sqlite"])
def test_a_database_that_is_none(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("no database" * 1000)
    ended = subprocess.run(
        [*COMMAND, "--state-dir", str(tmp_path), "--port", "0", *SMALL],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    log = tmp_path / "standalone.log"
    assert ended.stderr.startswith("gpupool-standalone: ")
    assert ended.stderr.endswith(f"; {log} says more\n")
    assert ended.stderr.count("\n") == 1
    assert "file is not a database" in log.read_text()


def test_a_configuration_of_ones_own(tmp_path: Path) -> None:
    """Files are read in order, the last one counts; what standalone says is read before them."""
    first, last = tmp_path / "first.conf", tmp_path / "last.conf"
    first.write_text("[quota]\nclaims = 7\nvgpus = 9\n[agent]\ncpu_milli = 1500\n")
    last.write_text("[quota]\nclaims = 3\n")
    files = ("--config-file", str(first), "--config-file", str(last))
    with running(tmp_path / "state", *SMALL, *files) as service:
        client = service.client()
        limits = {item["resource"]: item["limit"] for item in client.list("quotas")}
        assert (limits["claims"], limits["vgpus"]) == (3, 9)
        assert [host["cpu_milli"] for host in client.list("hosts")] == [1500]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "none.conf"), ("[quota\n", "Failed to parse"), ("[quota]\nclaims = many\n", "claims")],
)
def test_a_configuration_that_cannot_be(run, tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "none.conf"
    if text:
        file.write_text(text)
    ended = run(
        "--state-dir", str(tmp_path / "state"), "--config-file", str(file), "--port", "0", *SMALL
    )
    assert ended.code == 1
    assert ended.err.startswith("gpupool-standalone: ")
    assert ended.err.count("\n") == 1
    assert said in ended.err
