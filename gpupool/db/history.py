"""What a pool had to do: its claims over time."""

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model.claim import Claim

_table = Table(models.Claim, Claim)
# Claims read at a time.
PAGE = 1000


def claims(session: Session, pool_id: str, since: datetime) -> Iterator[Claim]:
    """Yield a pool's claims that have not ended before ``since``, the oldest first."""
    row = models.Claim
    there = sa.or_(row.ended_at.is_(None), row.ended_at >= since)
    query = _table.query.where(row.pool_id == pool_id, there).order_by(row.created_at, row.id)
    last: Claim | None = None
    while True:
        after = sa.true() if last is None else _after(last)
        found = _table.items(session, query.where(after).limit(PAGE))
        yield from found
        if len(found) < PAGE:
            return
        last = found[-1]


def _after(claim: Claim) -> sa.ColumnElement[bool]:
    row = models.Claim
    same = (row.created_at == claim.created_at) & (row.id > claim.id)
    return (row.created_at > claim.created_at) | same
