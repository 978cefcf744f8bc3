"""What projects were due of pools of late and are owed, in the database: two numbers each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from oslo_db import exception
from sqlalchemy.orm import Session

from gpupool.db.models import DecayedUsage


@dataclass(frozen=True)
class Used:
    """See allocator.fairshare.Usage: percent of a device times seconds, at a moment."""

    used: int
    owed: int
    at: datetime


def of_pool(session: Session, pool_id: str) -> dict[str, Used]:
    """Return by project what it was due of a pool and is owed."""
    row = DecayedUsage
    query = sa.select(row.project_id, row.used, row.owed, row.at).where(row.pool_id == pool_id)
    rows = session.execute(query).tuples()
    return {project: Used(used, owed, at) for project, used, owed, at in rows}


def put(session: Session, pool_id: str, usages: Mapping[str, Used]) -> None:
    """Write the same for some projects."""
    row = DecayedUsage
    known = of_pool(session, pool_id).keys()
    for project_id in sorted(usages):
        values = vars(usages[project_id])
        if project_id in known:
            chosen = sa.update(row).where(row.pool_id == pool_id, row.project_id == project_id)
            session.execute(chosen.values(values))
            continue
        try:
            with session.begin_nested():
                session.add(row(pool_id=pool_id, project_id=project_id, **values))
        except exception.DBDuplicateEntry:
            # Another conductor serves the queue too, for a moment.
            pass
