"""Moves of vGPUs in the database, and what they hold of the devices."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model.claim import Qos
from gpupool.model.move import Move, MoveState
from gpupool.model.share import Share
from gpupool.model.states import VgpuState

_table = Table(models.Move, Move)
get, list_, create, update = _table.get, _table.list_, _table.create, _table.update


def delete_all(session: Session, move_ids: Collection[str]) -> None:
    """Delete those of the moves that exist."""
    statement = sa.delete(models.Move).where(models.Move.id.in_(list(move_ids)))
    session.execute(statement, execution_options={"synchronize_session": False})


def arrived(session: Session) -> list[Move]:
    """Return the moves whose vGPU is on its target, as its host reported since the switch."""
    row, vgpu = models.Move, models.Vgpu
    query = _table.query.join(vgpu, vgpu.id == row.vgpu_id)
    there = (row.state == MoveState.SWITCHING) & (vgpu.state == VgpuState.ACTIVE)
    return _table.items(session, query.where(there))


def consumers(session: Session, device_id: str | None = None) -> set[str]:
    """Return the ids of moves and of their vGPUs: of all, or of those from and to one device."""
    found = list_(session)
    there = [each for each in found if device_id in (None, each.source.device_id, each.target.device_id)]
    return {consumer for each in there for consumer in (each.id, each.vgpu_id)}


def held(session: Session, host_ids: Collection[str] | None = None) -> list[tuple[Share, bool]]:
    """Return the shares that moves have on hosts (None: on all), each with whether it is guaranteed."""
    row, vgpu, claim = models.Move, models.Vgpu, models.Claim
    query = sa.select(row.source, row.target, row.state, claim.qos).join(vgpu, vgpu.id == row.vgpu_id)
    query = query.join(claim, claim.id == vgpu.claim_id)
    if host_ids is not None:
        query = query.where(row.host_id.in_(list(host_ids)))
    return [
        (source if state == MoveState.SWITCHING else target, qos == Qos.GUARANTEED)
        for source, target, state, qos in session.execute(query).tuples()
    ]
