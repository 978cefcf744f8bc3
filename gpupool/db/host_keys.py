"""Keys of hosts in the database."""

from collections.abc import Collection, Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import hosts, models
from gpupool.db.table import Table
from gpupool.model.host import Host
from gpupool.model.host_key import HostKey, KeyState
from gpupool.model.states import HostState

_table = Table(models.HostKey, HostKey)
list_, create, update, delete = _table.list_, _table.create, _table.update, _table.delete
_row = models.HostKey
_with_host = sa.select(
    *(column.label(f"key_{field}") for field, column in _table.columns.items()),
    *(column.label(f"host_{field}") for field, column in hosts.columns.items()),
).outerjoin(models.Host, models.Host.name == _row.host)


def find(session: Session, name: str) -> tuple[HostKey, Host | None] | None:
    """Return the key of that fingerprint with its host, in one query; None when there is no such key."""
    row = session.execute(_with_host.where(_row.id == name)).mappings().first()
    if row is None:
        return None
    key = HostKey(**{field: row[f"key_{field}"] for field in _table.columns})
    host = {field: row[f"host_{field}"] for field in hosts.columns}
    return key, None if host["id"] is None else Host(**host)


def admitted(session: Session, names: Collection[str]) -> dict[str, HostKey]:
    """Return the admitted keys of hosts, by the host's name."""
    if not names:
        return {}
    found = list_(session, {"host": list(names), "state": KeyState.ADMITTED})
    return {key.host: key for key in found}


def advance(session: Session, name: str, sequence: int, digest: str | None = None) -> bool:
    """Write a sequence number higher than any before, and what was said.

    Return False if it is none, or the key was revoked since it was read.
    """
    newer = sa.and_(_row.id == name, _row.sequence < sequence, _row.state != KeyState.REVOKED)
    changes: dict[str, object] = {"sequence": sequence}
    if digest is not None:
        changes["digest"] = digest
    return bool(_table.write(session, newer, changes))


def delete_all(session: Session, keys: Iterable[HostKey]) -> None:
    """Delete keys, those that are there still."""
    ids = [key.id for key in keys]
    if ids:
        session.execute(sa.delete(_row).where(_row.id.in_(ids)))


def oldest_pending(session: Session, kept: int) -> list[HostKey]:
    """Return the keys of hosts that never joined, the oldest first, that are more than ``kept``."""
    new = sa.select(models.Host.name).where(models.Host.state == HostState.PENDING)
    waiting = sa.and_(_row.state == KeyState.PENDING, _row.host.in_(new))
    count = session.execute(sa.select(sa.func.count()).select_from(_row).where(waiting)).scalar_one()
    if count <= kept:
        return []
    query = _table.query.where(waiting).order_by(_row.created_at, _row.id)
    return _table.items(session, query.limit(count - kept))
