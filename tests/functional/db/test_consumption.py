"""What projects were due and are owed: two numbers each, and who serves the queue writes them."""

import pytest

from gpupool.conductor.scheduling import consumption as charging
from gpupool.db import consumption, pools
from gpupool.db.api import Database
from gpupool.db.consumption import Used
from tests.functional.db import make


def test_numbers_are_kept_for_each_project_of_each_pool(database: Database) -> None:
    first = {"project-1": Used(10, -3, make.NOW), "project-2": Used(20, 0, make.NOW)}
    with database.writer() as session:
        consumption.put(session, "pool-1", first)
        consumption.put(session, "pool-1", {"project-1": Used(11, 5, make.later(1))})
        consumption.put(session, "pool-2", {})
    with database.reader() as session:
        assert consumption.of_pool(session, "pool-1") == {
            "project-1": Used(11, 5, make.later(1)),
            "project-2": first["project-2"],
        }
        assert consumption.of_pool(session, "pool-2") == {}


def test_what_was_used_of_a_pool_goes_with_it(database: Database) -> None:
    with database.writer() as session:
        gone, stays = (pools.create(session, make.pool()) for _ in range(2))
        for pool in (gone, stays):
            consumption.put(session, pool.id, {"project-1": Used(1, 1, make.NOW)})
        pools.delete(session, gone.id)
    with database.reader() as session:
        assert consumption.of_pool(session, gone.id) == {}
        assert consumption.of_pool(session, stays.id).keys() == {"project-1"}


def test_shares_go_on_from_what_was_written(database: Database) -> None:
    clock = database.clock
    with database.writer() as session:
        consumption.put(session, "pool-1", {"project": Used(8000, -500, clock.now())})
        shares = charging.shares(session, "pool-1", clock, 1e9, {"project": 2.0})
    now = clock.monotonic()
    assert shares.used("project", now) == pytest.approx(8000)
    assert shares.owed("project", now) == pytest.approx(-500)
    assert shares.weight("project") == 2.0
