"""What projects have used of pools of late, in the database: one decayed number each."""

from datetime import datetime

import sqlalchemy as sa
from oslo_db import exception
from sqlalchemy.orm import Session

from gpupool.db import times
from gpupool.db.models import DecayedUsage

Used = tuple[int, datetime]


def of_pool(session: Session, pool_id: str) -> dict[str, Used]:
    """Return by project what it had used (percent of a device times seconds), and when that was."""
    row = DecayedUsage
    query = sa.select(row.project_id, row.used, row.at).where(row.pool_id == pool_id)
    return {project: (used, at) for project, used, at in session.execute(query).tuples()}


def hold(session: Session, pool_id: str, project_id: str) -> Used:
    """Return the same for one project, 0 at first; its row stays locked for the transaction."""
    found = _locked(session, pool_id, project_id)
    if found is None:
        now = times.now(session)
        row = DecayedUsage(pool_id=pool_id, project_id=project_id, used=0, at=now)
        try:
            with session.begin_nested():
                session.add(row)
        except exception.DBDuplicateEntry:
            # Another was the first, and has ended.
            pass
        found = _locked(session, pool_id, project_id) or (0, now)
    return found


def _locked(session: Session, pool_id: str, project_id: str) -> Used | None:
    row = DecayedUsage
    query = sa.select(row.used, row.at).where(row.pool_id == pool_id, row.project_id == project_id)
    found = session.execute(query.with_for_update()).tuples().first()
    return None if found is None else (found[0], found[1])


def put(session: Session, pool_id: str, project_id: str, used: int, at: datetime) -> None:
    """Write what a project that the transaction holds has used up to ``at``."""
    row = DecayedUsage
    chosen = sa.update(row).where(row.pool_id == pool_id, row.project_id == project_id)
    session.execute(chosen.values(used=used, at=at))
