"""What a pool had to do, over time."""

from datetime import timedelta

import pytest

from gpupool.db import claims, history, pools
from gpupool.db.api import Database
from gpupool.model.states import ClaimState
from tests.functional.db import make


def test_history(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool's own claims, however many, the oldest first, but those that ended long ago."""
    monkeypatch.setattr(history, "PAGE", 3)
    ended = {"state": ClaimState.RELEASED}
    with database.writer() as session:
        pool, other = (pools.create(session, make.pool()) for _ in range(2))
        claims.create(session, make.claim(other, name="other's"))
        for number in range(8):
            # Several at the same moment.
            created_at = make.NOW + timedelta(hours=number // 4)
            claims.create(session, make.claim(pool, name=f"{number}", created_at=created_at))
        for name, hours in (("old", 0), ("just", 1), ("new", 2)):
            times = {"created_at": make.NOW, "ended_at": make.NOW + timedelta(hours=hours)}
            claims.create(session, make.claim(pool, name=name, **ended, **times))
    with database.reader() as session:
        found = list(history.claims(session, pool.id, make.NOW + timedelta(hours=1)))
        everything = list(history.claims(session, pool.id, make.NOW))
    assert {claim.name for claim in found} == {*map(str, range(8)), "just", "new"}
    assert len(everything) == 11
    order = [(claim.created_at, claim.id) for claim in found]
    assert order == sorted(order)
