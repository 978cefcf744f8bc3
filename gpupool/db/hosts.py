"""Hosts in the database. Deleting one deletes its devices and sessions too."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model import errors
from gpupool.model.host import Host
from gpupool.model.states import HostState

_table = Table(models.Host, Host)
get, get_by_name, find = _table.get, _table.get_by_name, _table.find
list_, create, update, delete = _table.list_, _table.create, _table.update, _table.delete
columns = _table.columns


def find_in(session: Session, pool_id: str, name_or_id: str) -> Host | None:
    """Return the host of that name or id, if it is in the pool; raises Invalid as Table.list_."""
    (named,) = _table.conditions({"name": name_or_id})
    query = _table.query.where(models.Host.pool_id == pool_id, named | (models.Host.id == name_or_id))
    return next(iter(_table.items(session, query)), None)


def bump_generation(session: Session, host_id: str) -> int:
    """Add one to the host's generation and return it; the row stays locked for the transaction."""
    chosen = models.Host.id == host_id
    if not _table.write(session, chosen, {"generation": models.Host.generation + 1}):
        raise errors.NotFound(f"host {host_id} not found")
    return session.execute(sa.select(models.Host.generation).where(chosen)).scalar_one()


def hold(session: Session, name: str) -> Host | None:
    """Return the host of that name, if there is one; its row stays locked for the transaction."""
    query = _table.query.where(models.Host.name == name).with_for_update()
    return next(iter(_table.items(session, query)), None)


def hold_all(session: Session, host_ids: Iterable[str]) -> list[Host]:
    """Return those of the hosts that exist, by id; their rows stay locked for the transaction.

    They are locked in that order, so that two who hold several don't wait for each other.
    """
    query = _table.query.where(models.Host.id.in_(sorted(host_ids))).order_by(models.Host.id)
    return _table.items(session, query.with_for_update())


def grow(session: Session, host_ids: Collection[str], *counters: str) -> None:
    """Add one to ``counters`` (generation, revision) of hosts that the caller holds."""
    if not host_ids:
        return
    changes = {name: getattr(models.Host, name) + 1 for name in counters}
    _table.write(session, models.Host.id.in_(sorted(host_ids)), changes)


def revise(session: Session, host_id: str, /, **changes: Any) -> Host:
    """Write ``changes`` as update does, and grow the revision; the row stays locked."""
    return update(session, host_id, revision=models.Host.revision + 1, **changes)


def ids(session: Session, names_: Collection[str]) -> dict[str, str]:
    """Return the ids of those of the hosts that exist, by name."""
    if not names_:
        return {}
    query = sa.select(models.Host.name, models.Host.id).where(models.Host.name.in_(list(names_)))
    return dict(session.execute(query).tuples().all())


def names(session: Session, host_ids: Collection[str]) -> dict[str, str]:
    """Return the names of hosts, by id."""
    if not host_ids:
        return {}
    query = sa.select(models.Host.id, models.Host.name).where(models.Host.id.in_(list(host_ids)))
    return dict(session.execute(query).tuples().all())


def revisions_by_pool(session: Session) -> dict[str, tuple[int, str, datetime | None]]:
    """Return the revision, the pool's id and ``held_until`` of every host, by its id."""
    row = _table.columns
    query = sa.select(row["id"], row["revision"], row["pool_id"], row["held_until"])
    return {host_id: (*rest,) for host_id, *rest in session.execute(query).tuples()}


def not_applying(session: Session) -> list[Host]:
    """Return the hosts that are known not to apply what they should have."""
    return _table.items(session, _table.query.where(models.Host.unapplied_reason != ""))


def up(session: Session) -> list[Host]:
    """Return the hosts that are up, by id."""
    query = _table.query.where(models.Host.state == HostState.UP)
    return _table.items(session, query.order_by(models.Host.id))
