"""How a claim is bound: planned here, agreed by Placement, made by its host.

The rows of its vGPUs come first, so that an allocation always belongs to a row; then Placement
decides, in one request; then the host is told. A crash in between is ended by the reconciler.
"""

import logging
import uuid
from collections.abc import Collection, Sequence

from oslo_utils import timeutils

from gpupool.conductor import releasing
from gpupool.conductor.parts import Parts, Transaction
from gpupool.db import claims, devices, hosts, vgpus
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.device import Device
from gpupool.model.states import ClaimState, HostState, VgpuState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.allocation import Grant

LOG = logging.getLogger(__name__)


def grant(vgpu: Vgpu) -> Grant:
    """Return what Placement has to hold for ``vgpu``."""
    return Grant(
        vgpu_id=vgpu.id,
        device_id=vgpu.device_id,
        compute=vgpu.compute,
        memory_mib=vgpu.memory_mib,
    )


def bind(parts: Parts, claim_id: str, device_ids: Sequence[str]) -> None:
    """Give a queued claim one vGPU on each of ``device_ids`` and have the host make them.

    Conflict (NoCapacity when Placement refused) or Unavailable leave the claim queued, saying why.
    """
    claim, planned = parts.commit(_reserve, claim_id, device_ids)
    try:
        parts.allocations.allocate([grant(vgpu) for vgpu in planned], claim.project_id, claim.user_id)
    except errors.GpupoolError as exc:
        undo(parts, claim, planned, str(exc))
        raise
    hand_over(parts, claim, planned)


def _reserve(
    transaction: Transaction, claim_id: str, device_ids: Sequence[str]
) -> tuple[Claim, list[Vgpu]]:
    """Bring a queued claim to ``allocating``, with the rows of its vGPUs."""
    session = transaction.session
    claim = claims.get(session, claim_id)
    claim = transaction.move(claim, ClaimState.ALLOCATING, state_reason="")
    chosen = [devices.get(session, device_id) for device_id in device_ids]
    for host_id in sorted({device.host_id for device in chosen}):
        # Writing locks the row: the host stays in its pool until the commit.
        host = hosts.revise(session, host_id)
        if host.state != HostState.UP or host.pool_id != claim.pool_id:
            raise errors.Conflict(f"host {host.name} can't take claim {claim_id} any more")
    planned = [_planned(claim, index, device) for index, device in enumerate(chosen)]
    return claim, [vgpus.create(session, vgpu) for vgpu in planned]


def _planned(claim: Claim, index: int, device: Device) -> Vgpu:
    return Vgpu(
        id=str(uuid.uuid4()),
        claim_id=claim.id,
        project_id=claim.project_id,
        host_id=device.host_id,
        device_id=device.id,
        index=index,
        compute=claim.compute,
        memory_mib=claim.memory_mib,
        state=VgpuState.PLANNED,
        generation=0,
    )


def hand_over(parts: Parts, claim: Claim, planned: Sequence[Vgpu]) -> None:
    """Have the host make vGPUs that Placement has agreed to.

    If the claim was released or undone meanwhile, what nobody knows of any more is given back.
    """
    lost = parts.commit(_hand_over, claim.id, planned)
    for vgpu in lost:
        parts.allocations.deallocate(vgpu.id)


def _hand_over(transaction: Transaction, claim_id: str, planned: Sequence[Vgpu]) -> list[Vgpu]:
    """Return the vGPUs that have no row any more; none when the claim went on to ``binding``."""
    session = transaction.session
    claim = claims.get(session, claim_id)
    rows = {vgpu.id for vgpu in vgpus.list_(session, {"claim_id": claim_id})}
    if claim.state != ClaimState.ALLOCATING or rows != {vgpu.id for vgpu in planned}:
        return [vgpu for vgpu in planned if vgpu.id not in rows]
    for vgpu in planned:
        vgpus.update(session, vgpu.id, generation=transaction.touch(vgpu.host_id))
    transaction.move(claim, ClaimState.BINDING, state_reason="")
    return []


def undo(parts: Parts, claim: Claim, planned: Sequence[Vgpu], reason: str) -> None:
    """Bring an allocating claim back to ``queued`` and give back what Placement may hold of it.

    A claim that went on meanwhile keeps everything.
    """
    lost = parts.commit(_undo, claim.id, planned, reason)
    try:
        for vgpu in lost:
            parts.allocations.deallocate(vgpu.id)
    except errors.GpupoolError as exc:
        # The reconciler gives back what has no row.
        LOG.warning("claim %s: allocations are given back later: %s", claim.id, exc)


def _undo(transaction: Transaction, claim_id: str, planned: Sequence[Vgpu], reason: str) -> list[Vgpu]:
    """Return the vGPUs that have no row any more, whoever deleted it."""
    session = transaction.session
    claim = claims.get(session, claim_id)
    rows = {vgpu.id for vgpu in vgpus.list_(session, {"claim_id": claim_id})}
    if claim.state != ClaimState.ALLOCATING or rows != {vgpu.id for vgpu in planned}:
        return [vgpu for vgpu in planned if vgpu.id not in rows]
    for vgpu in sorted(planned, key=lambda one: one.host_id):
        transaction.revise(vgpu.host_id)
        vgpus.delete(session, vgpu.id)
    transaction.move(claim, ClaimState.QUEUED, state_reason=reason)
    return list(planned)


def bind_active(transaction: Transaction, claim_ids: Collection[str]) -> None:
    """Bring those of the claims to ``bound`` that are binding and have all their vGPUs active."""
    if not claim_ids:
        return
    active = vgpus.count_active(transaction.session, claim_ids)
    ready = [
        claim
        for claim in claims.hold(transaction.session, claim_ids)
        if claim.state == ClaimState.BINDING and active.get(claim.id) == claim.count
    ]
    fresh = {"bound_at": timeutils.utcnow(), "attempts": 0, "refused_by": (), "state_reason": ""}
    transaction.move_all(ready, ClaimState.BOUND, **fresh)


def refused(transaction: Transaction, claim_id: str, host: str, error: str, attempts: int) -> None:
    """Take apart a claim that ``host`` could not make, or lost; queue it again unless too often.

    ``attempts`` is how many refusals a claim may meet before it fails.
    """
    claim = claims.get(transaction.session, claim_id)
    if claim.state not in {ClaimState.BINDING, ClaimState.BOUND}:
        return
    claim = claims.update(
        transaction.session,
        claim_id,
        expected_generation=claim.generation,
        attempts=claim.attempts + 1,
        refused_by=tuple(sorted({*claim.refused_by, host})),
    )
    release_to = ClaimState.QUEUED if claim.attempts < attempts else ClaimState.FAILED
    releasing.start(transaction, claim, release_to, f"host {host}: {error}")
