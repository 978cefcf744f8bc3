"""vGPUs in the database, and what they take of the devices."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model import errors, states
from gpupool.model.states import VgpuState
from gpupool.model.vgpu import Vgpu

_table = Table(models.Vgpu, Vgpu)
get, list_, create = _table.get, _table.list_, _table.create
update, delete = _table.update, _table.delete

OWNERS = {
    "device_id": models.Vgpu.device_id,
    "host_id": models.Vgpu.host_id,
    "pool_id": models.Host.pool_id,
    "claim_id": models.Vgpu.claim_id,
    "project_id": models.Vgpu.project_id,
}


@dataclass(frozen=True, kw_only=True)
class Granted:
    """What some vGPUs were granted together: how many, percent of devices, MiB."""

    vgpus: int = 0
    compute: int = 0
    memory_mib: int = 0


def transition(session: Session, vgpu: Vgpu, state: VgpuState, /, **changes: Any) -> Vgpu:
    """Bring ``vgpu`` to ``state``; raises as states.check and update."""
    states.check(states.VGPU, vgpu.state, state)
    return update(session, vgpu.id, state=state, **changes)


def usage(session: Session, by: str = "device_id", **filters: object) -> dict[str, Granted]:
    """Return what is granted by the ids of ``by``, one of OWNERS; who holds nothing is left out.

    Counts every vGPU that has a row, so one that is being removed too: Placement still holds it.
    """
    if by not in OWNERS:
        raise errors.Invalid(f"usage by {by!r}; allowed: {', '.join(OWNERS)}")
    row = models.Vgpu
    query = (
        sa.select(OWNERS[by], sa.func.count(), sa.func.sum(row.compute), sa.func.sum(row.memory_mib))
        .join(models.Host, models.Host.id == row.host_id)
        .where(*_table.conditions(filters))
        .group_by(OWNERS[by])
    )
    return {
        owner: Granted(vgpus=count, compute=int(compute), memory_mib=int(memory_mib))
        for owner, count, compute, memory_mib in session.execute(query).tuples()
    }
