"""Defragmentation: vGPUs change their device, so that less of what is free is of no use.

A move is made before the old place is given up: a row beside the one that is there, its allocation, and
then in one transaction the new row takes the old one's index, which leaves. A crash in between leaves a
row that is not wanted by any host; the reconciler deletes it. Claims with attachments stay where they
are: to move a program's memory needs the data plane.
"""

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace

from gpupool.allocator import defragment as allocator
from gpupool.allocator.claims import Running
from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.policies import FragmentationGradientDescent
from gpupool.conductor.capacity.capacity import Shelves
from gpupool.conductor.claims import releasing
from gpupool.conductor.context import Parts
from gpupool.conductor.isolation import isolated
from gpupool.conductor.providers.providers import Inventory
from gpupool.conductor.transaction import Transaction
from gpupool.db import attachments, claims, devices, pools, vgpus
from gpupool.db.vgpus import BESIDE
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.move import Move
from gpupool.model.states import ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.allocation import Order

LOG = logging.getLogger(__name__)
# Moves of one request that names no limit.
_LIMIT = 100
_HOUR = 3600.0


def defragment(parts: Parts, pool_id: str, dry_run: bool, limit: int | None) -> list[Move]:
    """Return the moves that gain room in a pool, the most first; unless ``dry_run``, begin them.

    NotFound for a pool that does not exist. What is not begun says why.
    """
    proposed = _propose(parts, pool_id, _LIMIT if limit is None else limit)
    return proposed if dry_run else _begin(parts, proposed)


def by_policy(parts: Parts) -> None:
    """Begin moves in pools that allow some every hour by themselves."""
    now = time.monotonic()
    with parts.database.reader() as session:
        known = pools.list_(session)
    for gone in parts.moved.keys() - {pool.id for pool in known}:
        del parts.moved[gone]
    for pool in known:
        made = [moment for moment in parts.moved.get(pool.id, []) if moment > now - _HOUR]
        left = pool.moves_per_hour - len(made)
        if left <= 0:
            continue
        with isolated(f"pool {pool.name} is not defragmented now"):
            begun = defragment(parts, pool.id, False, left)
            made += [now] * sum(each.applied for each in begun)
        parts.moved[pool.id] = made


def _propose(parts: Parts, pool_id: str, limit: int) -> list[Move]:
    with parts.database.reader() as session:
        pools.get(session, pool_id)
        bound = claims.list_(session, {"pool_id": pool_id, "state": ClaimState.BOUND})
        newest = [("created_at", "desc")]
        window = parts.conf.allocator.mix_window
        recent = claims.list_(session, {"pool_id": pool_id}, newest, limit=window)
        rows: dict[str, list[Vgpu]] = {}
        for vgpu in vgpus.list_(session, {"claim_id": [each.id for each in bound]}):
            rows.setdefault(vgpu.claim_id, []).append(vgpu)
    mix = Mix([Demand.of(claim) for claim in reversed(recent)], window)
    parts.views.refresh()
    with parts.views.lock:
        view = parts.views.of(pool_id).fork()
    at = {device_id: view.hosts[host] for device_id, (host, _) in view.device_index.items()}
    running = [_running(claim, rows[claim.id], at) for claim in bound if _is_whole(claim, rows, at)]
    found = allocator.moves(view, running, FragmentationGradientDescent(mix), limit)
    ids = {(vgpu.claim_id, vgpu.index): vgpu.id for held in rows.values() for vgpu in held}
    return [
        Move(
            claim_id=each.claim_id,
            vgpu_id=ids[each.claim_id, each.index],
            from_device=each.source,
            to_device=each.target,
            gain=each.gain,
            cost_mib=each.cost_mib,
        )
        for each in found
    ]


def _is_whole(claim: Claim, rows: dict[str, list[Vgpu]], at: dict[str, str]) -> bool:
    """Return whether a claim has exactly its vGPUs, all of them where the view knows it."""
    held = rows.get(claim.id, [])
    return len(held) == claim.count and all(vgpu.device_id in at for vgpu in held)


def _running(claim: Claim, held: list[Vgpu], at: dict[str, str]) -> Running:
    ordered = sorted(held, key=lambda vgpu: vgpu.index)
    shares = tuple(vgpu.share for vgpu in ordered)
    return Running(
        claim_id=claim.id,
        project_id=claim.project_id,
        demand=Demand.of(claim),
        plan=Plan(host=at[shares[0].device_id], shares=shares),
        priority=claim.priority,
        bound_at=0.0,
        ends_at=None,
        preemptible=claim.preemptible,
    )


def _begin(parts: Parts, proposed: Sequence[Move]) -> list[Move]:
    """Return the moves, begun or with the reason why not; those after an Unavailable are not tried."""
    tried: list[Move] = []
    for move in proposed:
        try:
            _make(parts, move)
        except errors.Unavailable as exc:
            return tried + [replace(each, reason=str(exc)) for each in proposed[len(tried) :]]
        except errors.GpupoolError as exc:
            tried.append(replace(move, reason=str(exc)))
        except Exception:
            LOG.exception("vGPU %s is not moved", move.vgpu_id)
            tried.append(replace(move, reason="it failed; the conductor's log says why"))
        else:
            tried.append(replace(move, applied=True))
    return tried


def _make(parts: Parts, move: Move) -> None:
    parts.moving.append(move.claim_id)
    try:
        _move(parts, move)
    finally:
        parts.moving.remove(move.claim_id)


def _move(parts: Parts, move: Move) -> None:
    order, beside = parts.commit(_prepare, move, parts.inventory, parts.id)
    try:
        parts.allocations.allocate(order.grants, order.project_id, order.user_id)
    except errors.GpupoolError:
        drop(parts, beside)
        raise
    if not parts.commit(_switch, move.vgpu_id, beside.id):
        drop(parts, beside)
        raise errors.Conflict(f"claim {move.claim_id} changed meanwhile")


def _prepare(
    transaction: Transaction, move: Move, inventory: Inventory, conductor_id: str
) -> tuple[Order, Vgpu]:
    """Write the row of a vGPU beside the one that moves; Conflict when it can't move."""
    session = transaction.session
    old, device = vgpus.get(session, move.vgpu_id), devices.get(session, move.to_device)
    if device.host_id != old.host_id:
        raise errors.Conflict("needs a remote device: the program's host is another one")
    held = transaction.hold([old.host_id])
    claim = _movable(transaction, old)
    if vgpus.list_(session, {"claim_id": claim.id, "index": old.index + BESIDE}):
        raise errors.Conflict(f"vGPU {old.id} is moving already")
    # The program stays where it is, and has what it needs there.
    alone = replace(claim, count=1, cpu_milli=0, host_memory_mib=0)
    share = old.share._replace(device_id=device.id)
    if not Shelves(transaction, inventory, held).take(alone, [share], None):
        raise errors.Conflict(f"device {device.id} has no room for it any more")
    beside = replace(
        old,
        id=str(uuid.uuid4()),
        device_id=device.id,
        index=old.index + BESIDE,
        state=VgpuState.PLANNED,
        generation=0,
        memory_used_mib=0,
        busy_ns=0,
        created_at=None,
        updated_at=None,
    )
    vgpus.create_all(session, [beside])
    claims.update(session, claim.id, conductor_id=conductor_id)
    transaction.revise_all(held.values())
    grants = (releasing.grant(beside),)
    order = Order(key=beside.id, grants=grants, project_id=claim.project_id, user_id=claim.user_id)
    return order, beside


def _movable(transaction: Transaction, old: Vgpu) -> Claim:
    """Return the claim of a vGPU on a host that is held; Conflict unless it may move now."""
    session = transaction.session
    (claim,) = claims.hold(session, [old.claim_id])
    if claim.state != ClaimState.BOUND or old.state != VgpuState.ACTIVE or old.index >= BESIDE:
        raise errors.Conflict(f"claim {claim.id} changed meanwhile")
    if attachments.list_(session, {"claim_id": claim.id}):
        raise errors.Conflict("needs a live move: the claim has attachments")
    return claim


def _switch(transaction: Transaction, old_id: str, beside_id: str) -> bool:
    """Replace a vGPU by the one that was made beside it; return False when that is too late."""
    session = transaction.session
    rows = {vgpu.id: vgpu for vgpu in vgpus.list_(session, {"id": [old_id, beside_id]})}
    if len(rows) < 2:
        return False
    generation = transaction.touch(rows[old_id].host_id)
    old, beside = vgpus.get(session, old_id), vgpus.get(session, beside_id)
    try:
        claim = _movable(transaction, old)
    except errors.Conflict:
        return False
    taken = {vgpu.index for vgpu in vgpus.list_(session, {"claim_id": claim.id})}
    away = next(at for at in range(old.index + BESIDE, BESIDE * BESIDE, BESIDE) if at not in taken)
    vgpus.transition(session, old, VgpuState.REMOVING, index=away, generation=generation)
    vgpus.update(session, beside.id, index=old.index, generation=generation)
    # Other transactions that know the claim read it again.
    claims.update(session, claim.id)
    return True


def drop(parts: Parts, beside: Vgpu) -> None:
    """Undo what was prepared for a move, if it is still only that."""
    if parts.commit(_drop, beside):
        releasing.give_back(parts, [beside])


def _drop(transaction: Transaction, beside: Vgpu) -> bool:
    session = transaction.session
    held = transaction.hold([beside.host_id])
    found = vgpus.list_(session, {"id": beside.id})
    if not found or found[0].index < BESIDE or found[0].state != VgpuState.PLANNED:
        return False
    vgpus.delete_all(session, [beside.id])
    transaction.revise_all(held.values())
    # There is room again, and it may have been the last row of a claim that was released meanwhile.
    transaction.wake_queue()
    releasing.finish(transaction, [beside.claim_id])
    return True
