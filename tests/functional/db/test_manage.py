"""gpupool-manage and gpupool-status, as an operator calls them."""

import importlib.metadata
import json
from datetime import timedelta
from pathlib import Path

import pytest
from oslo_utils import timeutils

from gpupool import conf as configuration
from gpupool.cmd import manage, status
from gpupool.db import claims, devices, host_keys, hosts, migrations, models, pools, services
from gpupool.db.api import Database
from gpupool.model.host_key import HostKey, KeyState
from gpupool.model.states import ClaimState
from gpupool.placement.embedded import EmbeddedPlacement
from tests.functional.db import make
from tests.functional.db.conftest import Backend

HEAD = migrations.head()


class Operator:
    """Calls the commands with one configuration file."""

    def __init__(self, url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.database = Database.from_url(url)
        self.file = folder / "gpupool.conf"
        self.file.write_text(
            f"[DEFAULT]\ntransport_url = fake://\n[database]\nconnection = {url.replace('%', '%%')}\n"
        )
        self.capsys = capsys

    def manage(self, *arguments: str) -> tuple[int, str, str]:
        code = manage.main(["--config-file", str(self.file), "db", *arguments])
        return code, *self.capsys.readouterr()

    def status(self) -> dict[str, tuple[int, str | None]]:
        """Return result and details by check; the exit status is the worst result."""
        code = status.main(["--config-file", str(self.file), "upgrade", "check", "--json"])
        checks = json.loads(self.capsys.readouterr().out)["checks"]
        assert code == max(check["result"] for check in checks)
        return {check["check"]: (check["result"], check["details"]) for check in checks}


@pytest.fixture
def operator(backend: Backend, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(backend(), tmp_path, capsys)


def test_upgrade(operator: Operator) -> None:
    needed = f"the database is at revision none, {HEAD} is needed: run `gpupool-manage db upgrade`"
    assert operator.manage("version") == (0, "none\n", "")
    assert operator.manage("check") == (1, "", f"gpupool-manage: {needed}\n")
    assert operator.manage("purge", "--older-than", "1") == (1, "", f"gpupool-manage: {needed}\n")
    found = operator.status()
    assert found["Database schema"] == (2, needed)
    assert found["Hosts"] == found["Devices in Placement"] == (1, f"not known: {needed}")
    assert operator.manage("upgrade")[:2] == (0, "")
    assert operator.manage("version") == (0, f"{HEAD}\n", "")
    assert operator.manage("check") == (0, "", "")
    found = operator.status()
    assert found == {
        "Database schema": (0, None),
        "Placement": found["Placement"],
        "Message service": (0, None),
        "Keystone": (1, "[keystone_authtoken] auth_type is not set; the API needs it"),
        "Hosts": (1, "no host has reported yet"),
        "Devices in Placement": (0, None),
    }


def test_hosts_and_devices_that_are_not_ready(operator: Operator) -> None:
    operator.database.upgrade()
    own = importlib.metadata.version("gpupool")
    states = [("a", "up", own), ("b", "up", "0.1"), *((f"d{n}", "down", own) for n in range(7))]
    with operator.database.writer() as session:
        pool = pools.create(session, make.pool())
        for name, state, version in states:
            host = make.host(pool, id=name, name=name, state=state, agent_version=version)
            hosts.create(session, host)
        admitted = KeyState.ADMITTED
        host_keys.create(
            session, HostKey(id="key-1", host="a", state=admitted, signing_key="s", sealing_key="s")
        )
        for key, there, health in (("0", True, "ok"), ("1", False, "ok"), ("2", False, "missing")):
            made = make.device(host, id=key, key=key, in_placement=there, health=health)
            devices.create(session, made)
    found = operator.status()
    assert found["Hosts"] == (
        1,
        "7 of 9 are down: d0, d1, d2, d3, d4 and 2 more; "
        f"1 of 9 have agents of other versions than {own}: b; "
        "8 of 9 have no admitted key: b, d0, d1, d2, d3 and 3 more; "
        "8 of 9 reported before hosts had keys: set [conductor] require_signed_reports = false until "
        "their agents are upgraded and they are admitted, else they count as down: "
        "b, d0, d1, d2, d3 and 3 more",
    )
    assert found["Devices in Placement"] == (
        1,
        "1 of 2 devices are not compared with Placement yet; a conductor does so within 30 s of its "
        "start ([conductor] reconcile_interval)",
    )
    now = timeutils.utcnow()
    for number, age, said in ((1, 0, "are not compared"), (2, 60, "can't be granted: Placement has no")):
        started_at = now - timedelta(seconds=age)
        with operator.database.writer() as session:
            binary, ident = "gpupool-conductor", str(number)
            services.beat(session, ident, binary=binary, host="c", version=own, started_at=started_at)
        assert said in str(operator.status()["Devices in Placement"][1])
    with operator.file.open("a") as file:
        file.write("[conductor]\nrequire_signed_reports = false\n")
    assert "reported before" not in str(operator.status()["Hosts"][1])


def test_placement_of_a_cloud_and_of_standalone(operator: Operator, tmp_path: Path) -> None:
    told = operator.file.read_text()
    operator.file.write_text(told.replace("fake://", "rabbit://nobody@127.0.0.1:1/"))
    checks = status.Checks(configuration.new(["--config-file", str(operator.file)]))
    found = checks._placement()
    assert (found.code, found.details) == (2, "[placement] auth_type is not set; e.g. password")
    database = tmp_path / "gpupool.sqlite"
    operator.file.write_text(
        f"[DEFAULT]\ntransport_url = fake://\n[database]\nconnection = sqlite:///{database}\n"
    )
    result, why = operator.status()["Placement"]
    assert result == 0
    assert "not checked: Placement is part of gpupool-standalone, which does not run" in str(why)
    with EmbeddedPlacement(tmp_path / "placement") as placement:
        (tmp_path / status.ENDPOINTS).write_text(json.dumps({"placement": placement.url}))
        assert operator.status()["Placement"] == (0, None)
    assert operator.status()["Placement"][0] == 2


def test_upgrade_as_sql_touches_nothing(operator: Operator) -> None:
    code, sql, _ = operator.manage("upgrade", "--sql")
    # And alembic's own.
    assert (code, sql.count("CREATE TABLE")) == (0, len(models.Base.metadata.tables) + 1)
    assert operator.manage("version") == (0, "none\n", "")


def test_purge(operator: Operator) -> None:
    operator.database.upgrade()
    ages = {"old": 8, "new": 6}
    with operator.database.writer() as session:
        for name, days in ages.items():
            ended_at = timeutils.utcnow() - timedelta(days=days)
            make.stored_claim(session, name=name, state=ClaimState.RELEASED, ended_at=ended_at)
    assert operator.manage("purge", "--older-than", "7") == (0, "1 claims deleted\n", "")
    with operator.database.reader() as session:
        assert [claim.name for claim in claims.list_(session)] == ["new"]
    assert operator.manage("purge", "--older-than", "0") == (0, "1 claims deleted\n", "")


@pytest.mark.parametrize("days", ["-1", "1.5", "week", "100000", ""])
def test_purge_refuses(days: str, operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        operator.manage("purge", f"--older-than={days}")
    assert f"{days!r} is no number of days; allowed: 0 to 99999" in capsys.readouterr().err


def test_commands_that_are_not_there(
    tmp_path: Path, operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([], ["downgrade"]):
        with pytest.raises(SystemExit, match="2"):
            operator.manage(*arguments)
        assert "upgrade" in capsys.readouterr().err
    assert manage.main(["--config-file", str(tmp_path / "none"), "db", "check"]) == 1
    assert "Failed to find some config files" in capsys.readouterr().err


def test_a_configuration_without_a_database(operator: Operator) -> None:
    operator.file.write_text("")
    missing = "[database] connection is not set; allowed: a SQLAlchemy URL"
    assert operator.manage("check") == (1, "", f"gpupool-manage: {missing}\n")
    assert operator.status()["Database schema"] == (2, missing)


def test_a_file_that_is_no_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("no database" * 1000)
    operator = Operator(f"sqlite:///{file}", tmp_path, capsys)
    unreached = "the database can't be reached"
    for command in ("version", "upgrade"):
        code, out, err = operator.manage(command)
        assert (code, out) == (1, "")
        (line,) = err.splitlines()
        assert line.startswith(f"gpupool-manage: {unreached}: ")
        assert "file is not a database" in line
    code, told = operator.status()["Database schema"]
    assert code == 2
    assert str(told).startswith(f"{unreached}: ")


def test_a_conductor_key_that_hosts_need_stays(operator: Operator) -> None:
    def key(*arguments: str) -> tuple[int, str, str]:
        code = manage.main(["--config-file", str(operator.file), "key", *arguments])
        said = operator.capsys.readouterr()
        return code, said.out.strip(), said.err

    operator.manage("upgrade")
    first, second = key("create")[1], key("create")[1]
    now, admitted = timeutils.utcnow(), KeyState.ADMITTED
    with operator.database.writer() as session:
        pool = pools.create(session, make.pool())
        for name, minutes in (("ahead", 10), ("behind", -10), ("stranger", -10)):
            seen = now + timedelta(minutes=minutes)
            hosts.create(session, make.host(pool, id=name, name=name, last_seen_at=seen))
        for name in ("ahead", "behind"):
            made = HostKey(id=name, host=name, state=admitted, signing_key="s", sealing_key="s")
            host_keys.create(session, made)
    code, _, why = key("delete", first)
    assert code == 1
    assert f"1 of 2 admitted hosts may trust {first} alone: behind." in why
    assert key("list")[1].split() == [first, second]
    assert key("delete", first, "--force") == (0, "", "")
    assert key("list")[1] == second


def test_conductors_keys(operator: Operator) -> None:
    def key(*arguments: str) -> tuple[int, list[str], str]:
        code = manage.main(["--config-file", str(operator.file), "key", *arguments])
        said = operator.capsys.readouterr()
        return code, said.out.split(), said.err

    operator.manage("upgrade")
    assert key("list") == (0, [], "")
    (first,) = key("create")[1]
    assert key("delete", first)[::2] == (
        1,
        "gpupool-manage: it is the only conductor key; add another first\n",
    )
    (second,) = key("create")[1]
    assert key("list")[1] == [first, second]
    assert key("delete", first) == (0, [], "")
    assert key("list")[1] == [second]
    assert key("delete", first)[0] == 1
