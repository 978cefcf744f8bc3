"""Sessions in the database, as the hosts last reported them."""

from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session as Transaction

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model.session import Session


def _of_projects(project_ids: Sequence[object]) -> sa.ColumnElement[bool]:
    owned = sa.select(models.Attachment.id).where(models.Attachment.project_id.in_(project_ids))
    return models.Session.attachment_id.in_(owned)


def _of_claims(claim_ids: Sequence[object]) -> sa.ColumnElement[bool]:
    owned = sa.select(models.Attachment.id).where(models.Attachment.claim_id.in_(claim_ids))
    return models.Session.attachment_id.in_(owned)


_RELATED = {"project_id": _of_projects, "claim_id": _of_claims}
_table = Table(models.Session, Session, order="started_at", related=_RELATED)
get, list_ = _table.get, _table.list_


def used(session: Transaction, claim_ids: Collection[str]) -> dict[str, set[str]]:
    """Return the vGPUs of claims that have sessions, by claim; a claim without any is left out."""
    vgpu = models.Vgpu
    query = sa.select(vgpu.claim_id, vgpu.id).join(models.Session, models.Session.vgpu_id == vgpu.id)
    found: dict[str, set[str]] = {}
    for claim_id, vgpu_id in session.execute(query.where(vgpu.claim_id.in_(list(claim_ids)))).tuples():
        found.setdefault(claim_id, set()).add(vgpu_id)
    return found


def replace(session: Transaction, host_id: str, sessions: Iterable[Session]) -> None:
    """Make ``sessions`` the ones of the host, and no others; what another host has of them it keeps."""
    session.execute(sa.delete(models.Session).where(models.Session.host_id == host_id))
    new = {one.id: one for one in sessions}
    if not new:
        return
    there = sa.select(models.Session.id).where(models.Session.id.in_(list(new)))
    for taken in session.execute(there).scalars():
        del new[taken]
    _table.insert(session, list(new.values()))
