"""When gpupool-standalone says that it is ready."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from oslo_utils import timeutils

from gpupool.db import host_keys, hosts, pools
from gpupool.db.api import Database
from gpupool.model.host import Host
from gpupool.model.host_key import HostKey, KeyState
from gpupool.model.pool import Pool
from gpupool.model.states import HostState
from gpupool.standalone import readiness

BEFORE = timeutils.utcnow()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.from_url(f"sqlite:///{tmp_path}/db.sqlite")
    made.upgrade()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("reported", "ready"),
    [(timedelta(), False), (None, False), (timedelta(seconds=1), True), (timedelta(hours=-1), True)],
    ids=["before", "never", "since", "since, on a clock that was set back"],
)
def test_a_host_counts_when_it_has_reported_since_the_start(
    database: Database, monkeypatch: pytest.MonkeyPatch, reported: timedelta | None, ready: bool
) -> None:
    seen = None if reported is None else BEFORE + reported
    before = {"sim-a": None if reported is None else BEFORE}
    with database.writer() as session:
        pool = pools.create(session, Pool(id=str(uuid.uuid4()), name="default"))
        host = Host(id=str(uuid.uuid4()), name="sim-a", pool_id=pool.id, state=HostState.UP)
        hosts.create(session, host)
        hosts.update(session, host.id, last_seen_at=seen)
    monkeypatch.setattr(readiness, "READY_TIMEOUT", -1)
    if not ready:
        with pytest.raises(TimeoutError, match=r"not ready in .* s: sim-a; see the log"):
            readiness.wait_for_hosts(database, {"sim-a"}, before, "http://api")
    else:
        readiness.wait_for_hosts(database, {"sim-a"}, before, "http://api")


@pytest.mark.parametrize("admitted", [True, False])
def test_it_says_what_a_host_waits_for(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    admitted: bool,
) -> None:
    with database.writer() as session:
        pool = pools.create(session, Pool(id=str(uuid.uuid4()), name="default"))
        host = Host(id=str(uuid.uuid4()), name="sim-a", pool_id=pool.id, state=HostState.PENDING)
        hosts.create(session, host)
        state = KeyState.ADMITTED if admitted else KeyState.PENDING
        host_keys.create(
            session, HostKey(id="SHA256:x", host="sim-a", state=state, signing_key="s", sealing_key="s")
        )
    monkeypatch.setattr(readiness, "SILENT", -1)
    monkeypatch.setattr(readiness, "READY_TIMEOUT", 0.2)
    with pytest.raises(TimeoutError):
        readiness.wait_for_hosts(database, {"sim-a"}, {}, "http://api")
    said = capsys.readouterr().err
    if admitted:
        assert said.startswith("waiting for the devices of sim-a, which their agents report")
        assert said.count("\n") == 1
    else:
        assert said == (
            "waiting for hosts to be admitted:\n"
            "  openstack --os-auth-type none --os-endpoint http://api gpu host admit sim-a "
            "--fingerprint SHA256:x\n"
        )
