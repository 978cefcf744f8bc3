"""Running processes: their signs of life, and the listing that has agents too."""

from datetime import timedelta
from typing import Any

import pytest

from gpupool.api.presence import Life
from gpupool.db import hosts, services, times
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.clock import Clock
from gpupool.model.service import AGENT, API, CONDUCTOR
from gpupool.model.states import HostState
from tests.functional.db import make


def beat(database: Database, service_id: str, binary: str = CONDUCTOR, **more: Any) -> None:
    with database.writer() as session:
        services.beat(
            session,
            service_id,
            binary=binary,
            host="controller",
            version="1",
            started_at=times.now(session),
            **more,
        )


def test_every_beat_counts_and_the_row_goes_at_the_end(database: Database) -> None:
    for _ in range(3):
        beat(database, "a")
    beat(database, "b")
    beat(database, "api", API)
    with database.writer() as session:
        assert services.conductors(session) == {"a": 3, "b": 1}
        services.forget(session, "a")
        services.forget(session, "a")
        assert services.conductors(session) == {"b": 1}


def test_agents_are_listed_with_the_state_of_their_hosts(database: Database) -> None:
    beat(database, "a", leads=True)
    beat(database, "b")
    with database.writer() as session:
        _, host, _ = make.place(session)
        hosts.update(session, host.id, state=HostState.DOWN, agent_version="7")
    with database.reader() as session:
        found = {each.id: each for each in services.list_(session)}
        assert {each.binary for each in found.values()} == {CONDUCTOR, AGENT}
        assert (found["a"].leader, found["b"].leader) == (True, False)
        agent = found[host.id]
        assert (agent.host, agent.version, agent.state) == (host.name, "7", HostState.DOWN)
        assert agent.started_at is None
        assert [each.id for each in services.list_(session, {"leader": True})] == ["a"]
        assert [each.id for each in services.list_(session, {"state": ["down"]})] == [host.id]
        pages = []
        marker = None
        while page := services.list_(session, {}, [("started_at", "desc")], marker, 1):
            marker = page[0].id
            pages.append(marker)
        assert set(pages) == set(found)
        with pytest.raises(errors.Invalid, match="filter is 'beats'"):
            services.list_(session, {"beats": 1})


def test_a_process_of_the_api_whose_own_clock_is_wrong_goes_by_the_databases(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.reader() as session:
        if session.get_bind().dialect.name == "sqlite":
            pytest.skip("SQLite has no clock but the process's")
    beat(database, "a")
    right = database.clock.wall
    monkeypatch.setattr(database, "clock", Clock(wall=lambda: right() + timedelta(hours=1)))
    Life(database).beat()
    with database.reader() as session:
        found = {each.binary: each for each in services.list_(session)}
    assert {each.state for each in found.values()} == {HostState.UP}
    assert found[API].last_seen_at is not None
    assert abs(found[API].last_seen_at - right()) < timedelta(minutes=5)


def test_one_that_gives_no_sign_of_life_is_down_leads_no_more_and_is_purged(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(database, "a", leads=True)
    now = database.clock.now
    monkeypatch.setattr(database.clock, "now", lambda: now() + timedelta(seconds=60))
    with database.writer() as session:
        (seen,) = services.list_(session, {"binary": CONDUCTOR})
        assert (seen.state, seen.leader) == (HostState.DOWN, False)
        assert services.purge(session, times.now(session) - timedelta(hours=1)) == 0
        assert services.purge(session, times.now(session)) == 1
        assert not services.list_(session, {"binary": CONDUCTOR})
