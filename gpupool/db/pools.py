"""Pools in the database."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model import errors, states
from gpupool.model.pool import Pool

_table = Table(models.Pool, Pool)
get, get_by_name, find = _table.get, _table.get_by_name, _table.find
list_, create, update = _table.list_, _table.create, _table.update


def hold(session: Session, pool_id: str) -> None:
    """Keep the pool from being deleted until the transaction ends; raises NotFound."""
    query = sa.select(models.Pool.id).where(models.Pool.id == pool_id).with_for_update(read=True)
    if session.execute(query).first() is None:
        raise errors.NotFound(f"pool {pool_id} not found")


def delete(session: Session, pool_id: str) -> None:
    """Delete the pool, and what projects have used of it.

    Raises NotFound, or Conflict while it has hosts or claims that have not ended.
    """
    query = sa.select(models.Pool.id).where(models.Pool.id == pool_id).with_for_update()
    session.execute(query).first()
    live = models.Claim.state.not_in(states.ENDED)
    claims = _count(session, models.Claim, models.Claim.pool_id == pool_id, live)
    hosts = _count(session, models.Host, models.Host.pool_id == pool_id)
    if claims or hosts:
        raise errors.Conflict(f"pool {pool_id} still has {hosts} hosts and {claims} claims")
    session.execute(sa.delete(models.DecayedUsage).where(models.DecayedUsage.pool_id == pool_id))
    _table.delete(session, pool_id)


def _count(session: Session, row: type[models.Base], *conditions: sa.ColumnElement[bool]) -> int:
    query = sa.select(sa.func.count()).select_from(row).where(*conditions)
    return session.execute(query).scalar_one()
