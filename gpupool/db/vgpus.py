"""vGPUs in the database, and what they take of the devices."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model import states
from gpupool.model.states import VgpuState
from gpupool.model.vgpu import Vgpu

_table = Table(models.Vgpu, Vgpu)
get, list_, create = _table.get, _table.list_, _table.create
update, delete = _table.update, _table.delete


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


def usage(session: Session, **filters: object) -> dict[str, Granted]:
    """Return what is granted of devices, by id; a device of which nothing is granted is left out.

    Counts every vGPU that has a row, so one that is being removed too: Placement still holds it.
    """
    row = models.Vgpu
    query = (
        sa.select(row.device_id, sa.func.count(), sa.func.sum(row.compute), sa.func.sum(row.memory_mib))
        .where(*_table.conditions(filters))
        .group_by(row.device_id)
    )
    return {
        device_id: Granted(vgpus=count, compute=int(compute), memory_mib=int(memory_mib))
        for device_id, count, compute, memory_mib in session.execute(query).tuples()
    }
