"""When gpupool-standalone says that it is ready."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from oslo_utils import timeutils

from gpupool.cmd import standalone
from gpupool.db import hosts, pools
from gpupool.db.api import Database
from gpupool.model.host import Host
from gpupool.model.pool import Pool
from gpupool.model.states import HostState

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
    monkeypatch.setattr(standalone, "READY_TIMEOUT", -1)
    if not ready:
        with pytest.raises(standalone.CannotStart, match=r"not ready in .* s: sim-a; see the log"):
            standalone._wait_for_hosts(database, {"sim-a"}, before)
    else:
        standalone._wait_for_hosts(database, {"sim-a"}, before)
