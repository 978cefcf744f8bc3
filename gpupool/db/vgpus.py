"""vGPUs in the database, and what they take of the devices."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models, moves, times
from gpupool.db.table import Table
from gpupool.model import states
from gpupool.model.claim import Qos
from gpupool.model.move import MoveState
from gpupool.model.share import Part, Share
from gpupool.model.states import ClaimState, HostState, VgpuState
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
    compute_guaranteed: int = 0
    memory_mib_guaranteed: int = 0

    def and_(self, share: Share, guaranteed: bool) -> "Granted":
        """Return this and what a move holds."""
        return Granted(
            vgpus=self.vgpus + 1,
            compute=self.compute + share.compute,
            memory_mib=self.memory_mib + share.memory_mib,
            compute_guaranteed=self.compute_guaranteed + guaranteed * share.compute,
            memory_mib_guaranteed=self.memory_mib_guaranteed + guaranteed * share.memory_mib,
        )


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


def growing(session: Session) -> list[tuple[Vgpu, str | None]]:
    """Return vGPUs by which bound claims are to grow and do not yet, with the conductors that do it.

    None: one of an older release.
    """
    row, claim = models.Vgpu, models.Claim
    query = _table.query.join(claim, claim.id == row.claim_id).where(
        row.state == VgpuState.PLANNED, row.generation == 0, claim.state == ClaimState.BOUND
    )
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
        # By one without generation its claim is to grow: Placement may not have agreed.
        row.generation > 0,
        models.Claim.state.in_([ClaimState.BINDING, ClaimState.BOUND]),
        # Nor may it have to a move that has not switched.
        ~sa.exists().where(models.Move.vgpu_id == row.id, models.Move.state != MoveState.SWITCHING),
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


def consumers(session: Session, device_id: str | None = None) -> set[str]:
    """Return the consumers in Placement that vGPUs and moves are, or that hold shares of vGPUs.

    Of all devices, or those that may hold something of one.
    """
    row = models.Vgpu
    query = sa.select(sa.func.coalesce(row.consumer_id, row.id))
    if device_id is not None:
        query = query.where(row.device_id == device_id)
    return set(session.execute(query).scalars()) | moves.consumers(session, device_id)


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


def usage(
    session: Session,
    *,
    host_id: Collection[str] | None = None,
    device_id: Collection[str] | None = None,
) -> dict[str, Granted]:
    """Return what is granted of devices, by id; a device of which nothing is granted is left out.

    Counts every vGPU that has a row, so one that is being removed too: Placement still holds it. And
    both shares of a vGPU that moves.
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
    given = {"host_id": host_id, "device_id": device_id}
    filters = {key: list(values) for key, values in given.items() if values is not None}
    query = query.where(*_table.conditions(filters)).group_by(row.device_id)
    found = {
        device: Granted(
            vgpus=count,
            compute=int(compute),
            memory_mib=int(memory_mib),
            compute_guaranteed=int(own_compute),
            memory_mib_guaranteed=int(own_memory),
        )
        for device, count, compute, memory_mib, own_compute, own_memory in session.execute(
            query
        ).tuples()
    }
    for share, is_guaranteed in moves.held(session, host_id):
        if device_id is None or share.device_id in device_id:
            before = found.get(share.device_id, Granted())
            found[share.device_id] = before.and_(share, is_guaranteed)
    return found


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
