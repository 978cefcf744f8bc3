"""What conductors sign with, in the database that they share."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from oslo_db import exception
from oslo_utils import timeutils
from sqlalchemy.orm import Session

from gpupool.db import models
from gpupool.model import errors

_row = models.ConductorKey


@dataclass(frozen=True)
class ConductorKey:
    """One pair of keys, base64; conductors sign with that of the least number."""

    number: int
    public_key: str
    private_key: str
    created_at: datetime


def list_(session: Session) -> list[ConductorKey]:
    """Return the keys in their order: that in use, then its successors."""
    query = sa.select(_row.number, _row.public_key, _row.private_key, _row.created_at)
    return [ConductorKey(*row) for row in session.execute(query.order_by(_row.number)).tuples()]


def add(session: Session, private_key: str, public_key: str) -> None:
    """Add a key as the last; Conflict when somebody else was faster."""
    last = session.execute(sa.select(sa.func.max(_row.number))).scalar_one()
    row = {
        "number": (last or 0) + 1,
        "public_key": public_key,
        "private_key": private_key,
        "created_at": timeutils.utcnow(),
    }
    try:
        session.execute(sa.insert(_row).values(row))
    except exception.DBDuplicateEntry as exc:
        raise errors.Conflict("somebody else added a conductor key just now") from exc


def remove(session: Session, public_key: str) -> None:
    """Remove a key; NotFound when it is not there, Conflict when it is the only one."""
    keys = list_(session)
    if public_key not in {key.public_key for key in keys}:
        raise errors.NotFound(f"conductor key {public_key} not found")
    if len(keys) == 1:
        raise errors.Conflict("it is the only conductor key; add another first")
    session.execute(sa.delete(_row).where(_row.public_key == public_key))
