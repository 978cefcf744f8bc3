"""Running processes in the database. Agents have no row of their own: their hosts' reports show them."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models, times
from gpupool.db.models import TIME, Host
from gpupool.db.table import Table
from gpupool.model.service import AGENT, CONDUCTOR, Service
from gpupool.model.states import HostState

# Seconds without a beat after which a listing shows a process as down. Nothing is decided by it.
_DOWN = 15.0
_row = models.Service.__table__.c


def _listing() -> sa.Subquery:
    """Return services and agents as one table."""
    fresh = _row.last_seen_at >= sa.bindparam("limit", type_=TIME)
    state = sa.case((fresh, HostState.UP.value), else_=HostState.DOWN.value)
    processes = sa.select(
        _row.id,
        _row.binary,
        _row.host,
        _row.version,
        _row.started_at,
        _row.last_seen_at,
        sa.type_coerce(sa.and_(_row.leads, fresh), sa.Boolean()).label("leader"),
        sa.type_coerce(state, Host.__table__.c.state.type).label("state"),
    )
    agents = sa.select(
        Host.id,
        sa.literal(AGENT),
        Host.name,
        Host.agent_version,
        sa.cast(sa.null(), TIME),
        Host.last_seen_at,
        sa.false(),
        Host.state,
    )
    listing = sa.union_all(processes, agents).subquery("services")
    # Its columns are taken for those of the first: agents have no value where processes always have one.
    for column in (listing.c.started_at, listing.c.last_seen_at):
        column.nullable = True  # type: ignore[attr-defined]
    return listing


class _Services(Table[Service]):
    """Knows the time by which it is judged who is down."""

    def items(self, session: Session, query: sa.Select[Any]) -> list[Service]:
        """See Table."""
        limit = times.now(session) - timedelta(seconds=_DOWN)
        return super().items(session, query.params(limit=limit))


list_ = _Services(models.Service, Service, order="binary", table=_listing()).list_


def beat(
    session: Session,
    service_id: str,
    *,
    binary: str,
    host: str,
    version: str,
    started_at: datetime,
    leads: bool = False,
) -> None:
    """Write that a process runs now."""
    changes = {"last_seen_at": times.now(session), "leads": leads}
    update = sa.update(models.Service).where(_row.id == service_id)
    if Table.count_of(session.execute(update.values(beats=_row.beats + 1, **changes))):
        return
    row = {"id": service_id, "binary": binary, "host": host, "version": version, "beats": 1}
    session.execute(sa.insert(models.Service).values(**row, started_at=started_at, **changes))


def conductors(session: Session) -> dict[str, int]:
    """Return the beats of every conductor that has a row, by id."""
    query = sa.select(_row.id, _row.beats).where(_row.binary == CONDUCTOR)
    return dict(session.execute(query).tuples().all())


def forget(session: Session, service_id: str) -> None:
    """Delete a process that ends, if it is there."""
    session.execute(sa.delete(models.Service).where(_row.id == service_id))


def seen_before(session: Session, moment: datetime) -> bool:
    """Return whether there is a process that was not seen since ``moment``."""
    found = session.execute(sa.select(_row.id).where(_row.last_seen_at < moment).limit(1))
    return found.first() is not None


def purge(session: Session, older_than: datetime) -> int:
    """Delete the processes that were not seen since; return how many."""
    found = session.execute(sa.delete(models.Service).where(_row.last_seen_at < older_than))
    return Table.count_of(found)
