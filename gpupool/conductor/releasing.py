"""How a claim is taken apart: its vGPUs leave the host first, then Placement, then the database.

In that order: while a program may still use a share, Placement says so, and no crash in between
leaves an allocation that nobody knows of.
"""

import logging
from collections.abc import Iterable

from oslo_utils import timeutils

from gpupool.conductor.isolation import isolated
from gpupool.conductor.parts import Parts, Transaction
from gpupool.db import attachments, claims, vgpus
from gpupool.model import errors
from gpupool.model.attachment import Attachment
from gpupool.model.claim import Claim, ClaimHealth
from gpupool.model.states import ENDED, AttachmentState, ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu

LOG = logging.getLogger(__name__)
_WAITING = "its allocations wait to be given back: "


def start(transaction: Transaction, claim: Claim, release_to: ClaimState, reason: str = "") -> Claim:
    """Have everything a claim has taken from its hosts; it becomes ``release_to`` when that is done.

    A claim that has nothing ends at once.
    """
    if claim.state in {ClaimState.QUEUED, ClaimState.SUSPENDED}:
        return transaction.move(claim, release_to, state_reason=reason, ended_at=timeutils.utcnow())
    held = vgpus.list_(transaction.session, {"claim_id": claim.id})
    # First, because it locks the host: no attachment can be made between here and the commit.
    remove_vgpus(transaction, held)
    for attachment in attachments.list_(transaction.session, {"claim_id": claim.id}):
        remove_attachment(transaction, attachment)
    claim = transaction.move(claim, ClaimState.RELEASING, release_to=release_to, state_reason=reason)
    return claim if held else finish(transaction, claim)


def remove_vgpus(transaction: Transaction, held: Iterable[Vgpu]) -> None:
    """Have vGPUs taken from their hosts."""
    # In one order, so that two who take claims apart don't wait for each other.
    for vgpu in sorted(held, key=lambda one: one.host_id):
        if vgpu.state != VgpuState.REMOVING:
            generation = transaction.touch(vgpu.host_id)
            vgpus.transition(transaction.session, vgpu, VgpuState.REMOVING, generation=generation)


def remove_attachment(transaction: Transaction, attachment: Attachment) -> None:
    """Have one attachment taken from its host; nothing happens if that is under way."""
    if attachment.state != AttachmentState.REMOVING:
        generation = transaction.touch(attachment.host_id)
        attachments.transition(
            transaction.session, attachment, AttachmentState.REMOVING, generation=generation
        )


def finish(transaction: Transaction, claim: Claim) -> Claim:
    """Bring a releasing claim whose last vGPU is gone to where it was to go."""
    state = claim.release_to or ClaimState.RELEASED
    ended = timeutils.utcnow() if state in ENDED else None
    transaction.wake_queue()
    return transaction.move(
        claim,
        state,
        state_reason=_without_waiting(claim.state_reason),
        release_to=None,
        health=ClaimHealth.OK,
        bound_at=None if not ended else claim.bound_at,
        ended_at=ended,
    )


def drop(parts: Parts, gone: Iterable[Vgpu]) -> None:
    """Give back in Placement what vGPUs that left their host held, then forget them.

    Raises Unavailable; the claims say so then, and it is done when a later report comes.
    """
    for vgpu in gone:
        with isolated(f"vGPU {vgpu.id} is given back later"):
            _drop(parts, vgpu)


def _drop(parts: Parts, vgpu: Vgpu) -> None:
    try:
        parts.allocations.deallocate(vgpu.id)
    except errors.Unavailable as exc:
        parts.commit(_note_waiting, vgpu.claim_id, str(exc))
        raise
    parts.commit(_forget, vgpu)


def _forget(transaction: Transaction, vgpu: Vgpu) -> None:
    """Delete a vGPU's row; the claim that had it as its last goes on."""
    session = transaction.session
    try:
        vgpus.delete(session, vgpu.id)
    except errors.NotFound:
        # The same report came twice, or another conductor was faster.
        return
    transaction.revise(vgpu.host_id)
    transaction.wake_queue()
    claim = claims.get(session, vgpu.claim_id)
    if claim.state == ClaimState.RELEASING and not vgpus.list_(session, {"claim_id": claim.id}):
        finish(transaction, claim)


def _note_waiting(transaction: Transaction, claim_id: str, why: str) -> None:
    """Write that Placement keeps a claim from ending, after why it ends at all."""
    claim = claims.get(transaction.session, claim_id)
    before = _without_waiting(claim.state_reason)
    note(transaction, claim_id, f"{before}; {_WAITING}{why}" if before else _WAITING + why)


def _without_waiting(reason: str) -> str:
    return reason.partition(_WAITING)[0].removesuffix("; ")


def note(transaction: Transaction, claim_id: str, reason: str) -> None:
    """Write why a claim is where it is, if that is news."""
    claim = claims.get(transaction.session, claim_id)
    if claim.state not in ENDED and claim.state_reason != reason:
        claims.update(transaction.session, claim.id, state_reason=reason)
