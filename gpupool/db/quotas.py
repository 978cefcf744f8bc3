"""What the claims of a project hold, for its quotas; and who may add to it now."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from oslo_db import exception
from sqlalchemy.orm import Session

from gpupool.db.models import Claim, ProjectLock
from gpupool.db.table import Table
from gpupool.model import states
from gpupool.model.quota import Resource

_USED: Mapping[Resource, sa.ColumnElement[int]] = {
    Resource.CLAIMS: sa.func.count(),
    Resource.VGPUS: sa.func.sum(Claim.count),
    Resource.COMPUTE: sa.func.sum(Claim.count * Claim.compute),
    Resource.MEMORY_MIB: sa.func.sum(Claim.count * Claim.memory_mib),
}


def hold(session: Session, project_id: str) -> None:
    """Lock the project: other transactions that hold it wait until this one ends.

    The claims of a project can't be locked for this: one that is not there yet has no row. So a
    project has a row of its own, made by the first who needs it.
    """
    if not _lock(session, project_id):
        try:
            with session.begin_nested():
                session.execute(sa.insert(ProjectLock).values(project_id=project_id, taken=0))
        except exception.DBDuplicateEntry:
            # Another was the first, and has ended.
            pass
        _lock(session, project_id)


def _lock(session: Session, project_id: str) -> bool:
    """Write the project's row, which locks it on every database; return whether there is one."""
    statement = sa.update(ProjectLock).where(ProjectLock.project_id == project_id)
    result = session.execute(statement.values(taken=ProjectLock.taken + 1))
    return Table.count_of(result) > 0


def used(session: Session, project_id: str, besides: str = "") -> dict[Resource, int]:
    """Return what a project's claims that have not ended, ``besides`` one, hold of each resource."""
    columns = [sa.func.coalesce(column, 0).label(name) for name, column in _USED.items()]
    query = sa.select(*columns).where(
        Claim.project_id == project_id, Claim.id != besides, Claim.state.not_in(states.ENDED)
    )
    row = session.execute(query).mappings().one()
    return {resource: int(row[resource]) for resource in Resource}


def projects(session: Session) -> set[str]:
    """Return the projects that have claims that have not ended."""
    query = sa.select(Claim.project_id).where(Claim.state.not_in(states.ENDED)).distinct()
    return set(session.execute(query).scalars())


def used_by(session: Session, project_ids: Collection[str]) -> dict[str, dict[Resource, int]]:
    """Return what ``used`` does, of several projects, by project."""
    found = {project_id: dict.fromkeys(Resource, 0) for project_id in project_ids}
    columns = [column.label(name) for name, column in _USED.items()]
    query = (
        sa.select(Claim.project_id, *columns)
        .where(Claim.project_id.in_(list(project_ids)), Claim.state.not_in(states.ENDED))
        .group_by(Claim.project_id)
    )
    for row in session.execute(query).mappings() if project_ids else ():
        found[row["project_id"]] = {resource: int(row[resource]) for resource in Resource}
    return found
