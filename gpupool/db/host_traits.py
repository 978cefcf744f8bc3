"""The custom traits that hosts' devices have had; Placement keeps those too that none has any more."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models


def names(session: Session, host_id: str) -> set[str]:
    """Return the custom traits that devices of a host have had."""
    query = sa.select(models.HostTrait.trait).where(models.HostTrait.host_id == host_id)
    return set(session.execute(query).scalars())


def add(session: Session, host_id: str, traits: Iterable[str]) -> None:
    """Note traits that devices of a host, which the caller holds, have not had before."""
    rows = [{"host_id": host_id, "trait": trait} for trait in sorted(traits)]
    if rows:
        session.execute(sa.insert(models.HostTrait), rows)


def forget(session: Session, host_id: str) -> None:
    """Count anew from the host's next report on."""
    session.execute(sa.delete(models.HostTrait).where(models.HostTrait.host_id == host_id))
