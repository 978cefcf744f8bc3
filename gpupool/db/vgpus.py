"""vGPUs in the database, and what they take of the devices."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models, times
from gpupool.db.table import Table
from gpupool.model import states
from gpupool.model.claim import COUNT_MAX, Qos
from gpupool.model.share import Part
from gpupool.model.states import ClaimState, HostState, VgpuState
from gpupool.model.vgpu import Vgpu

_table = Table(models.Vgpu, Vgpu)
# The index of a vGPU that is beside another one of its claim, which moves, is so much higher.
BESIDE = COUNT_MAX
get, list_, create = _table.get, _table.list_, _table.create
update, delete = _table.update, _table.delete


@dataclass(frozen=True, kw_only=True)
class Granted:
    """What some vGPUs were granted together: how many, percent of devices, MiB."""

    vgpus: int = 0
    compute: int = 0
    memory_mib: int = 0
    compute_guaranteed: int = 0
    memory_mib_guaranteed: int = 0


def transition(session: Session, vgpu: Vgpu, state: VgpuState, /, **changes: Any) -> Vgpu:
    """Bring ``vgpu`` to ``state``; raises as states.check and update."""
    states.check(states.VGPU, vgpu.state, state)
    return update(session, vgpu.id, state=state, **changes)


def create_all(session: Session, items: Sequence[Vgpu]) -> None:
    """Insert new vGPUs."""
    _table.insert(session, items)


def delete_all(session: Session, vgpu_ids: Collection[str]) -> None:
    """Delete those of the vGPUs that exist."""
    statement = sa.delete(models.Vgpu).where(models.Vgpu.id.in_(list(vgpu_ids)))
    session.execute(statement, execution_options={"synchronize_session": False})


def beside(session: Session) -> list[tuple[Vgpu, str | None]]:
    """Return vGPUs that were made beside others and took no place yet, with the conductors that did so.

    None: one of an older release.
    """
    row, claim = models.Vgpu, models.Claim
    query = _table.query.where(row.index >= BESIDE, row.state == VgpuState.PLANNED)
    found = {vgpu.id: vgpu for vgpu in _table.items(session, query)}
    owners = sa.select(row.id, claim.conductor_id).join(claim, claim.id == row.claim_id)
    rows = session.execute(owners.where(row.id.in_(list(found)))).tuples().all() if found else []
    return [(found[vgpu_id], owner) for vgpu_id, owner in rows]


def due(session: Session, device_ids: Collection[str]) -> list[Vgpu]:
    """Return vGPUs of devices that have to have allocations: Placement has agreed, and they stay."""
    row = models.Vgpu
    query = _table.query.join(models.Claim, models.Claim.id == row.claim_id).where(
        row.device_id.in_(list(device_ids)),
        row.state.in_([VgpuState.PLANNED, VgpuState.ACTIVE]),
        # One without generation is prepared for a move only: Placement may not have agreed.
        row.generation > 0,
        models.Claim.state.in_([ClaimState.BINDING, ClaimState.BOUND]),
    )
    return _table.items(session, query)


def unapplied(session: Session, **filters: object) -> list[Vgpu]:
    """Return vGPUs that hosts which are up have yet to make or remove, by what they last applied."""
    row, host = models.Vgpu, models.Host
    query = _table.query.join(host, host.id == row.host_id).where(
        host.state == HostState.UP,
        row.state.in_([VgpuState.PLANNED, VgpuState.REMOVING]),
        row.generation > host.applied_generation,
        *_table.conditions(filters),
    )
    return _table.items(session, query)


def leaving_unused(session: Session, host_ids: Collection[str]) -> list[Vgpu]:
    """Return vGPUs that are to leave hosts and that nobody has used: their claims were not bound."""
    row, claim = models.Vgpu, models.Claim
    query = _table.query.join(claim, claim.id == row.claim_id).where(
        row.host_id.in_(list(host_ids)),
        row.state == VgpuState.REMOVING,
        claim.state == ClaimState.RELEASING,
        claim.bound_at.is_(None),
    )
    return _table.items(session, query)


def ids(session: Session) -> set[str]:
    """Return the ids of all vGPUs."""
    return set(session.execute(sa.select(models.Vgpu.id)).scalars())


def want(session: Session, vgpu_ids: Collection[str]) -> None:
    """Mark vGPUs as wanted from their hosts' generations on."""
    generation = sa.select(models.Host.generation).where(models.Host.id == models.Vgpu.host_id)
    chosen = models.Vgpu.id.in_(list(vgpu_ids))
    _table.write(session, chosen, {"generation": generation.scalar_subquery()})


def owners_of_leaving(session: Session, vgpu_ids: Collection[str]) -> dict[str, str]:
    """Return the users whose claims have those of the vGPUs that exist and leave their host, by vGPU."""
    row = models.Vgpu
    query = sa.select(row.id, models.Claim.user_id).join(models.Claim, models.Claim.id == row.claim_id)
    query = query.where(row.id.in_(list(vgpu_ids)), row.state == VgpuState.REMOVING)
    return dict(session.execute(query).tuples().all())


def activate(session: Session, vgpu_ids: Collection[str]) -> None:
    """Bring planned vGPUs to ``active``; those in another state stay."""
    chosen = models.Vgpu.id.in_(vgpu_ids) & (models.Vgpu.state == VgpuState.PLANNED)
    _table.write(session, chosen, {"state": VgpuState.ACTIVE})


def write_usage(session: Session, used: Mapping[str, tuple[int, int]]) -> None:
    """Write what vGPUs use, by id: MiB of memory in use, nanoseconds busy so far."""
    if not used:
        return
    now = times.now(session)
    rows = [
        {"id": vgpu, "memory_used_mib": memory, "busy_ns": busy, "updated_at": now}
        for vgpu, (memory, busy) in used.items()
    ]
    session.execute(sa.update(models.Vgpu), rows)


def count_active(session: Session, claim_ids: Iterable[str]) -> dict[str, int]:
    """Return how many vGPUs of each claim are active; a claim that has none is left out."""
    row = models.Vgpu
    query = sa.select(row.claim_id, sa.func.count()).where(
        row.claim_id.in_(list(claim_ids)), row.state == VgpuState.ACTIVE
    )
    return dict(session.execute(query.group_by(row.claim_id)).tuples().all())


def usage(session: Session, **filters: object) -> dict[str, Granted]:
    """Return what is granted of devices, by id; a device of which nothing is granted is left out.

    Counts every vGPU that has a row, so one that is being removed too: Placement still holds it.
    """
    row = models.Vgpu
    guaranteed = models.Claim.qos == Qos.GUARANTEED
    sums = (
        sa.func.count(),
        sa.func.sum(row.compute),
        sa.func.sum(row.memory_mib),
        sa.func.sum(sa.case((guaranteed, row.compute), else_=0)),
        sa.func.sum(sa.case((guaranteed, row.memory_mib), else_=0)),
    )
    query = sa.select(row.device_id, *sums).join(models.Claim, models.Claim.id == row.claim_id)
    query = query.where(*_table.conditions(filters)).group_by(row.device_id)
    return {
        device_id: Granted(
            vgpus=count,
            compute=int(compute),
            memory_mib=int(memory_mib),
            compute_guaranteed=int(own_compute),
            memory_mib_guaranteed=int(own_memory),
        )
        for device_id, count, compute, memory_mib, own_compute, own_memory in session.execute(
            query
        ).tuples()
    }


def parts(session: Session, device_ids: Collection[str]) -> dict[str, frozenset[Part]]:
    """Return the parts that vGPUs have of devices, by device; one that has none is left out."""
    row = models.Vgpu
    query = sa.select(row.device_id, row.part)
    query = query.where(row.device_id.in_(list(device_ids)), row.part.is_not(None))
    found: dict[str, frozenset[Part]] = {}
    for device_id, part in session.execute(query).tuples():
        if part is not None:
            found[device_id] = found.get(device_id, frozenset()) | {part}
    return found
