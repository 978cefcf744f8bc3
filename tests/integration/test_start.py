"""Services whose accounts are refused: they end with one line and status 1, and are not forked again."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gpupool.db.api import Database
from gpupool.placement.embedded import TOKEN, EmbeddedPlacement
from gpupool.rpc.transport import PROBE_TOPIC
from testbed import databases

pytestmark = pytest.mark.timeout(300)


def write(folder: Path, **groups: dict[str, object]) -> Path:
    lines = []
    for group, values in groups.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in values.items())]

    path = folder / "gpupool.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(module: str, config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from gpupool.cmd import {module}; sys.exit({module}.main())"
    command = [sys.executable, "-c", code, "--config-file", str(config), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)


def last_line(module: str, config: Path) -> str:
    """Return the one line that a service ends with, having forked once at most."""
    ended = run(module, config)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.count("cannot start") <= 1
    (line,) = [each for each in ended.stderr.splitlines() if each.startswith(f"gpupool-{module}: ")]
    return line


@pytest.fixture
def short() -> Iterator[Path]:
    """Return a folder for sockets, whose paths have to be short."""
    with tempfile.TemporaryDirectory(prefix="gpupool-") as folder:
        yield Path(folder)


def agent(folder: Path) -> dict[str, object]:
    return {
        "drivers": "reference",
        "state_path": folder / "s",
        "run_path": folder / "r",
        "cdi_path": folder,
    }


def conductor(folder: Path) -> dict[str, dict[str, object]]:
    database = f"sqlite:///{folder}/gpupool.sqlite"
    Database.from_url(database).upgrade()
    placement = {"auth_type": "none", "endpoint_override": "http://127.0.0.1:9"}
    return {"database": {"connection": database}, "placement": placement}


@pytest.fixture
def refused(rabbit: str) -> dict[str, str]:
    """Transport URLs that the message service refuses, by what it says."""
    return {
        "Login was refused": rabbit.replace("guest:guest", "nobody:wrong"),
        "vhost nowhere not found": f"{rabbit}nowhere",
    }


def test_an_account_that_the_message_service_refuses(refused, native, tmp_path, short):
    for said, url in refused.items():
        messages = {"transport_url": url}
        for module, groups in (
            ("agent", {"agent": agent(short)}),
            ("conductor", conductor(tmp_path)),
        ):
            line = last_line(module, write(tmp_path, DEFAULT=messages, **groups))
            assert line.startswith(
                f"gpupool-{module}: [DEFAULT] transport_url: the message service refuses: "
            )
            assert said in line
            assert "wrong" not in line


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_password_that_the_database_refuses(kind, tmp_path):
    try:
        with getattr(databases, kind)() as server:
            url = sa.make_url(server.create_database("refusing"))
            wrong = url.set(username="nobody", password="wrong").render_as_string(False)
            groups = {**conductor(tmp_path), "database": {"connection": wrong}}
            line = last_line("conductor", write(tmp_path, **groups))
            assert line == "gpupool-conductor: the database can't be reached"
            ended = run("status", write(tmp_path, **groups), "upgrade", "check")
            assert ended.returncode == 2
            assert "the database can't be reached: " in ended.stdout
    except databases.Missing as exc:
        pytest.skip(str(exc))


def test_the_check_tells_each_service(rabbit, refused, tmp_path):
    def checks(url, placement):
        groups = {**conductor(tmp_path), "api": {"auth_strategy": "noauth"}, "placement": placement}
        ended = run(
            "status", write(tmp_path, DEFAULT={"transport_url": url}, **groups), "upgrade", "check"
        )
        return ended.returncode, " ".join(ended.stdout.replace("|", " ").split())

    with EmbeddedPlacement(tmp_path / "placement") as embedded:
        good = {"auth_type": "admin_token", "endpoint": embedded.url, "token": TOKEN}
        code, told = checks(rabbit, good)
        assert code == 1
        for check in ("Database schema", "Placement", "Message service", "Devices in Placement"):
            assert f"Check: {check} Result: Success" in told
        assert "Check: Keystone Result: Warning" in told
        code, told = checks(refused["vhost nowhere not found"], {**good, "token": "wrong"})
    assert code == 2
    assert "Check: Placement Result: Failure" in told
    assert "Placement answered 403" in told
    assert "Check: Message service Result: Failure" in told
    assert "vhost nowhere not found" in told
    assert PROBE_TOPIC not in told
