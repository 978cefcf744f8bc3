"""What projects have used: one decayed number each, whoever writes."""

from datetime import timedelta

import pytest
from oslo_utils import timeutils

from gpupool.conductor import consumption as charging
from gpupool.conductor.tenure import Tenure
from gpupool.db import consumption, pools
from gpupool.db.api import Database
from tests.functional.db import make


def test_a_number_is_kept_for_each_project_of_each_pool(database: Database) -> None:
    with database.writer() as session:
        for pool, project, used in (("pool-1", "project-1", 10), ("pool-1", "project-2", 20)):
            assert consumption.hold(session, pool, project)[0] == 0
            consumption.put(session, pool, project, used, make.NOW)
        consumption.put(session, "pool-1", "project-1", 11, make.later(1))
    with database.reader() as session:
        assert consumption.of_pool(session, "pool-1") == {
            "project-1": (11, make.later(1)),
            "project-2": (20, make.NOW),
        }
        assert consumption.of_pool(session, "pool-2") == {}


def test_what_was_used_of_a_pool_goes_with_it(database: Database) -> None:
    with database.writer() as session:
        gone, stays = (pools.create(session, make.pool()) for _ in range(2))
        for pool in (gone, stays):
            consumption.hold(session, pool.id, "project-1")
        pools.delete(session, gone.id)
    with database.reader() as session:
        assert consumption.of_pool(session, gone.id) == {}
        assert consumption.of_pool(session, stays.id).keys() == {"project-1"}


def test_a_claim_is_charged_for_what_it_has_had(database: Database) -> None:
    with database.writer() as session:
        pool = pools.create(session, make.pool())
        bound_at = timeutils.utcnow() - timedelta(seconds=1000)
        claim = make.claim(pool, count=2, compute=50, bound_at=bound_at)
        clock = database.clock
        charging.charge(session, [claim, make.claim(pool)], Tenure(clock), half_life=1e9)
        shares = charging.shares(session, pool.id, clock, 1e9, {"project": 2.0})
    now = clock.monotonic()
    # 100 % for the time between: a thousand seconds and what the test took.
    assert shares.used("project", now) == pytest.approx(100_000, rel=0.1)
    assert shares.weight("project") == 2.0
