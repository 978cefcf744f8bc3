"""How claims are bound: planned here, agreed by Placement, made by their hosts.

The rows of their vGPUs come first, so that an allocation always belongs to a row; then Placement
decides, for all claims of a batch in one request; then the hosts are told. A crash in between is ended
by the reconciler.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gpupool.conductor import leases, releasing
from gpupool.conductor.inventory import Inventory
from gpupool.conductor.parts import Parts, Transaction
from gpupool.conductor.shelves import Shelves
from gpupool.db import claims, devices, times, vgpus
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.device import Device
from gpupool.model.states import ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.allocation import Order


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A queued claim, and the device of each of its vGPUs."""

    claim_id: str
    device_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A claim that is allocating, and the rows of its vGPUs."""

    claim: Claim
    vgpus: tuple[Vgpu, ...]

    def order(self) -> Order:
        """Return what Placement is asked for."""
        return Order(
            key=self.claim.id,
            grants=tuple(releasing.grant(vgpu) for vgpu in self.vgpus),
            project_id=self.claim.project_id,
            user_id=self.claim.user_id,
        )


@dataclass(frozen=True)
class Reserved:
    """What came of a batch: claims with rows, and by id why others have none."""

    planned: list[Planned] = field(default_factory=list)
    lost: dict[str, errors.GpupoolError] = field(default_factory=dict)


def reserve(parts: Parts, choices: Sequence[Choice]) -> Reserved:
    """Bring queued claims to ``allocating``, with the rows of their vGPUs.

    Those of ``lost`` stay queued: something of them, or of what was chosen for them, has changed.
    """
    return parts.commit(_reserve, choices, parts.inventory, parts.id)


def allocate(parts: Parts, planned: Sequence[Planned]) -> dict[str, errors.GpupoolError]:
    """Ask Placement and have hosts make what it agrees to; return by id why claims are queued again.

    NoCapacity is Placement's; after Unavailable nothing can be bound now.
    """
    said = parts.allocations.allocate_all([each.order() for each in planned])
    hand_over(parts, [each for each in planned if each.claim.id not in said])
    undo(parts, [(each, str(said[each.claim.id])) for each in planned if each.claim.id in said])
    return said


def _reserve(
    transaction: Transaction, choices: Sequence[Choice], inventory: Inventory, conductor_id: str
) -> Reserved:
    """Do what ``reserve`` does.

    Whatever the plans were made on, here is what the hosts have, and nobody else adds to it: guaranteed
    claims never get more than there is of a device, nor programs of a host.
    """
    session = transaction.session
    named = {device_id for choice in choices for device_id in choice.device_ids}
    owned = {device.id: device for device in devices.list_(session, {"id": named})}
    held = transaction.hold({device.host_id for device in owned.values()})
    known = {claim.id: claim for claim in claims.hold(session, [each.claim_id for each in choices])}
    batch, shelves = Reserved(), Shelves(transaction, inventory, held)
    for choice in choices:
        claim = known.get(choice.claim_id)
        if claim is None or claim.state != ClaimState.QUEUED:
            batch.lost[choice.claim_id] = errors.Conflict(f"claim {choice.claim_id} waits no more")
        elif not shelves.take(claim, choice.device_ids):
            error = f"what was chosen for claim {claim.id} is not to be had any more"
            batch.lost[claim.id] = errors.Conflict(error)
        else:
            chosen = enumerate(owned[device_id] for device_id in choice.device_ids)
            planned = tuple(_planned(claim, index, device) for index, device in chosen)
            batch.planned.append(Planned(claim=claim, vgpus=planned))
    rows = [vgpu for each in batch.planned for vgpu in each.vgpus]
    vgpus.create_all(session, rows)
    transaction.revise_all(held[host_id] for host_id in {vgpu.host_id for vgpu in rows})
    moving = [each.claim for each in batch.planned]
    mine = {"state_reason": "", "conductor_id": conductor_id}
    after = transaction.move_all(moving, ClaimState.ALLOCATING, **mine)
    moved = {claim.id: claim for claim in after}
    going = [Planned(claim=moved[each.claim.id], vgpus=each.vgpus) for each in batch.planned]
    return Reserved(going, batch.lost)


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


def hand_over(parts: Parts, agreed: Sequence[Planned]) -> None:
    """Have hosts make vGPUs that Placement has agreed to.

    If a claim was released or undone meanwhile, what nobody knows of any more is given back. What
    another conductor gave back before Placement had agreed, the reconciler's next run finds.
    """
    if not agreed:
        return
    going, lost = parts.commit(_hand_over, agreed)
    releasing.give_back(parts, lost)
    stopped = [each for each in agreed if each.claim.id not in going]
    parts.audit.hurry(vgpu.device_id for each in stopped for vgpu in each.vgpus)


def _hand_over(transaction: Transaction, agreed: Sequence[Planned]) -> tuple[set[str], list[Vgpu]]:
    """Return the claims that have all their vGPUs and go on, and the vGPUs that have no row any more."""
    transaction.touch_all(_hosts(agreed))
    going, lost = _still_allocating(transaction, agreed)
    ids = {claim.id for claim in going}
    rows = [vgpu.id for each in agreed if each.claim.id in ids for vgpu in each.vgpus]
    vgpus.want(transaction.session, rows)
    transaction.move_all(going, ClaimState.BINDING, state_reason="")
    return ids, lost


def _hosts(planned: Sequence[Planned]) -> set[str]:
    return {vgpu.host_id for each in planned for vgpu in each.vgpus}


def _still_allocating(
    transaction: Transaction, planned: Sequence[Planned]
) -> tuple[list[Claim], list[Vgpu]]:
    """Return the claims that are where they were, and the vGPUs of the others that have no row."""
    ids = [each.claim.id for each in planned]
    known = {claim.id: claim for claim in claims.hold(transaction.session, ids)}
    rows = {vgpu.id for vgpu in vgpus.list_(transaction.session, {"claim_id": ids})}
    going, lost = [], []
    for each in planned:
        claim = known.get(each.claim.id)
        missing = [vgpu for vgpu in each.vgpus if vgpu.id not in rows]
        if claim is not None and claim.state == ClaimState.ALLOCATING and not missing:
            going.append(claim)
        lost += missing
    return going, lost


def undo(parts: Parts, refused: Sequence[tuple[Planned, str]]) -> None:
    """Bring allocating claims back to ``queued``, each with its reason, and give back what they hold.

    Claims that went on meanwhile keep everything.
    """
    if refused:
        releasing.give_back(parts, parts.commit(_undo, refused))


def _undo(transaction: Transaction, refused: Sequence[tuple[Planned, str]]) -> list[Vgpu]:
    """Return the vGPUs that have no row any more, whoever deleted it."""
    planned = [each for each, _ in refused]
    held = transaction.hold(_hosts(planned))
    going, lost = _still_allocating(transaction, planned)
    ids = {claim.id for claim in going}
    undone = [vgpu for each in planned if each.claim.id in ids for vgpu in each.vgpus]
    vgpus.delete_all(transaction.session, [vgpu.id for vgpu in undone])
    transaction.revise_all(held[host_id] for host_id in {vgpu.host_id for vgpu in undone})
    reasons = {each.claim.id: reason for each, reason in refused}
    for reason in sorted(set(reasons.values())):
        back = [claim for claim in going if reasons[claim.id] == reason]
        transaction.move_all(back, ClaimState.QUEUED, state_reason=reason)
    return lost + undone


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
    now = times.now(transaction.session)
    fresh = {"bound_at": now, "attempts": 0, "refused_by": (), "state_reason": ""}
    endless = [claim for claim in ready if claim.time_limit is None]
    transaction.move_all(endless, ClaimState.BOUND, **fresh)
    for claim in ready:
        if claim.time_limit is not None:
            transaction.move_all([claim], ClaimState.BOUND, **fresh, **leases.at_bound(claim, now))


@dataclass(frozen=True)
class Refusal:
    """Why a host did not make a vGPU, or lost it; ``host_fault`` as in VgpuReport."""

    error: str
    host_fault: bool
    device_id: str


def refused(transaction: Transaction, claim_id: str, host: str, refusal: Refusal, attempts: int) -> None:
    """Take apart a claim that ``host`` could not make, or lost; queue it again unless too many can't.

    ``attempts`` is how many hosts may refuse what the claim asks for before it fails. What is a host's
    own fault never fails a claim, however often it happens, nor does one host by refusing repeatedly.
    """
    claim = claims.get(transaction.session, claim_id)
    if claim.state not in {ClaimState.BINDING, ClaimState.BOUND}:
        return
    counts = not refusal.host_fault and host not in claim.refused_by
    claim = claims.update(
        transaction.session,
        claim_id,
        expected_generation=claim.generation,
        attempts=claim.attempts + counts,
        refused_by=tuple(sorted({*claim.refused_by, host})),
    )
    release_to = ClaimState.QUEUED if claim.attempts < attempts else ClaimState.FAILED
    releasing.start(transaction, claim, release_to, f"host {host}: {refusal.error}")
