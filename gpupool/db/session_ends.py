"""Sessions that are to end, in the database: kept until their host shows that they have ended."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model.session import SessionEnd

_table = Table(models.SessionEnd, SessionEnd, order="id")
list_, create = _table.list_, _table.create


def delete_all(session: Session, ids: Collection[str]) -> None:
    """Delete those that are there still."""
    if ids:
        session.execute(sa.delete(models.SessionEnd).where(models.SessionEnd.id.in_(list(ids))))
