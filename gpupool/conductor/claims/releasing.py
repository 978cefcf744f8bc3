"""How a claim is taken apart: its vGPUs leave the host first, then Placement, then the database.

In that order: while a program may still use a share, Placement says so, and no crash in between
leaves an allocation that nobody knows of.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from gpupool.conductor.isolation import isolated
from gpupool.conductor.rotation import Rotation
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import attachments, claims, hosts, moves, times, vgpus
from gpupool.model import errors
from gpupool.model.attachment import Attachment
from gpupool.model.claim import Claim, ClaimHealth
from gpupool.model.host import REVOKED
from gpupool.model.move import Move
from gpupool.model.reason import NONE, Reason
from gpupool.model.states import ENDED, AttachmentState, ClaimState, HostState, VgpuState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.allocation import Grant, Order
from gpupool.placement.allocations import Allocations

LOG = logging.getLogger(__name__)
# So many vGPUs are given back in one request and one transaction.
_BATCH = 32
# Marks of what is told of a claim only while it is releasing, after why it ends at all.
_WAITING = "its devices are given back when Placement answers again"
_AWAY = "it waits for hosts that are down: "
_KEPT = "its vGPUs stay until they are removed by hosts that report and do not apply what they should: "
_MARKS = (_WAITING, _AWAY, _KEPT)


class Releasing:
    """Gives back in Placement what vGPUs held; ``audit`` chooses what is compared with it next."""

    def __init__(self, transactions: Transactions, allocations: Allocations, audit: Rotation) -> None:
        self._transactions, self._allocations, self._audit = transactions, allocations, audit

    def give_back(self, lost: Sequence[Vgpu]) -> None:
        """Give back in Placement what vGPUs without rows hold there, now or soon."""
        try:
            for vgpu in lost:
                if vgpu.consumer_id is None:
                    self._allocations.deallocate(vgpu.id)
        except errors.GpupoolError as exc:
            # The reconciler gives back what has no row.
            self._audit.hurry(vgpu.device_id for vgpu in lost)
            LOG.warning("allocations of %s vGPUs are given back later: %s", len(lost), exc)

    def drop(self, gone: Sequence[Vgpu]) -> None:
        """Give back in Placement what vGPUs that left their host held, then forget them.

        Raises Unavailable; the claims say so then, and it is done when a later report comes.
        """
        for start_at in range(0, len(gone), _BATCH):
            batch = gone[start_at : start_at + _BATCH]
            try:
                self._drop(batch)
            except errors.Unavailable:
                raise
            except Exception:
                LOG.warning("%s vGPUs could not be given back together: each by itself", len(batch))
                for vgpu in batch:
                    with isolated(f"vGPU {vgpu.id} is given back later"):
                        self._drop([vgpu])

    def _drop(self, gone: Sequence[Vgpu]) -> None:
        with self._transactions.reader() as session:
            users = vgpus.owners_of_leaving(session, [vgpu.id for vgpu in gone])
            moved = moves.list_(session, {"vgpu_id": list(users)}) if users else []
        # The same report may have come twice, or to another conductor, which was faster.
        gone = [vgpu for vgpu in gone if vgpu.id in users]
        if not gone:
            return
        own = [vgpu for vgpu in gone if vgpu.consumer_id is None]
        orders = [_order(vgpu, users[vgpu.id], moved) for vgpu in own]
        failed = self._allocations.deallocate_all(orders)
        self._transactions.commit(_forget, [vgpu for vgpu in gone if vgpu.id not in failed])
        # What others wrote may stay in Placement: it is theirs alone again.
        self._audit.hurry(vgpu.device_id for vgpu in gone if vgpu.consumer_id is not None)
        away = [vgpu for vgpu in gone if isinstance(failed.get(vgpu.id), errors.Unavailable)]
        for claim_id in sorted({vgpu.claim_id for vgpu in away}):
            self._transactions.commit(_note_waiting, claim_id, str(failed[away[0].id]))
        for error in failed.values():
            raise error


def grant(vgpu: Vgpu) -> Grant:
    """Return what Placement has to hold for ``vgpu``."""
    return Grant(vgpu_id=vgpu.id, share=vgpu.share)


def start(
    transaction: Transaction, claim: Claim, release_to: ClaimState, reason: Reason = NONE
) -> Claim:
    """Take everything a claim has from its hosts; it becomes ``release_to`` when that is done.

    A claim that has nothing ends at once.
    """
    if claim.state in {ClaimState.QUEUED, ClaimState.SUSPENDED}:
        now = times.now(transaction.session)
        return transaction.move(claim, release_to, **reason.fields(), ended_at=now)
    held = vgpus.list_(transaction.session, {"claim_id": claim.id})
    if release_to == ClaimState.QUEUED and any(vgpu.consumer_id for vgpu in held):
        # The writer of its allocation chose the devices: it has no others to wait for.
        release_to = ClaimState.FAILED
    # First, because it locks the host: no attachment can be made between here and the commit.
    remove_vgpus(transaction, held)
    for attachment in attachments.list_(transaction.session, {"claim_id": claim.id}):
        remove_attachment(transaction, attachment)
    reason = reason.and_(_away(transaction, held)).and_(_kept(transaction, held))
    changes = {"release_to": release_to, **reason.fields()}
    claim = transaction.move(claim, ClaimState.RELEASING, **changes)
    return claim if held else finish(transaction, [claim.id])[0]


def remove_vgpus(transaction: Transaction, held: Iterable[Vgpu]) -> None:
    """Ask hosts to remove vGPUs."""
    # In one order, so that two who take claims apart don't wait for each other.
    for vgpu in sorted(held, key=lambda one: one.host_id):
        if vgpu.state != VgpuState.REMOVING:
            generation = transaction.touch(vgpu.host_id)
            vgpus.transition(transaction.session, vgpu, VgpuState.REMOVING, generation=generation)


def remove_attachment(transaction: Transaction, attachment: Attachment) -> None:
    """Ask an attachment's host to remove it; nothing happens if that is under way."""
    if attachment.state != AttachmentState.REMOVING:
        generation = transaction.touch(attachment.host_id)
        attachments.transition(
            transaction.session, attachment, AttachmentState.REMOVING, generation=generation
        )


def finish(transaction: Transaction, claim_ids: Iterable[str]) -> list[Claim]:
    """Bring releasing claims whose last vGPU is gone to where they were to go; return those."""
    session = transaction.session
    held = [claim for claim in claims.hold(session, claim_ids) if claim.state == ClaimState.RELEASING]
    left = {vgpu.claim_id for vgpu in vgpus.list_(session, {"claim_id": [one.id for one in held]})}
    over = [claim for claim in held if claim.id not in left]
    ways: dict[tuple[ClaimState, Reason, bool, int | None], list[Claim]] = {}
    for claim in over:
        limited = claim.time_limit is not None and claim.bound_at is not None
        reason = _without_waiting(claim)
        if claim.release_to == ClaimState.QUEUED:
            reason = reason.again()
        way = claim.release_to or ClaimState.RELEASED, reason, limited, claim.min_count
        ways.setdefault(way, []).append(claim)
        if claim.program_host_id is not None:
            transaction.revise(claim.program_host_id)
    done: list[Claim] = []
    for (state, reason, limited, least), same in ways.items():
        changes = _end(state, limited, least, times.now(session))
        done += transaction.move_all(same, state, **reason.fields(), **changes)
    if done:
        transaction.wake_queue()
    return done


def _end(state: ClaimState, limited: bool, least: int | None, now: datetime) -> dict[str, object]:
    """Return what changes on a claim that comes to ``state``.

    ``limited``: its time was running. ``least`` is what it waits for if it is elastic.
    """
    changes: dict[str, object] = {"release_to": None, "program_host_id": None, "health": ClaimHealth.OK}
    if state in ENDED:
        return {**changes, "ended_at": now}
    if least is not None:
        changes |= {"count": least}
    return {**changes, "bound_at": None, **(claims.ASKED_LEASE if limited else {})}


def _order(vgpu: Vgpu, user_id: str, moved: Iterable[Move]) -> Order:
    """Return what Placement holds for a vGPU, and for its move if it is among ``moved``."""
    own = (Grant(vgpu_id=each.id, share=each.share) for each in moved if each.vgpu_id == vgpu.id)
    grants = (grant(vgpu), *own)
    return Order(key=vgpu.id, grants=grants, project_id=vgpu.project_id, user_id=user_id)


def _forget(transaction: Transaction, gone: Sequence[Vgpu]) -> None:
    """Delete the rows of vGPUs; claims that had them as their last go on."""
    session = transaction.session
    held = transaction.hold({vgpu.host_id for vgpu in gone})
    # Another conductor may have been faster meanwhile.
    there = vgpus.list_(session, {"id": [vgpu.id for vgpu in gone]})
    if not there:
        return
    vgpus.delete_all(session, [vgpu.id for vgpu in there])
    transaction.revise_all(held[host_id] for host_id in {vgpu.host_id for vgpu in there})
    transaction.wake_queue()
    ids = {vgpu.claim_id for vgpu in there}
    finish(transaction, ids)
    # The queue reads a claim again that goes on with less, and knows that the rest is free.
    claims.note_changed(session, ids, ClaimState.BOUND)


def _note_waiting(transaction: Transaction, claim_id: str, why: str) -> None:
    """Write that Placement keeps a claim from ending, after why it ends at all."""
    claim = claims.get(transaction.session, claim_id)
    reason = _without_waiting(claim).and_(Reason(_WAITING, f"{_WAITING}: {why}"))
    if claim.state not in ENDED and claim.state_reason != reason.text:
        claims.update(transaction.session, claim.id, None, **reason.fields())


def note_kept(transaction: Transaction, claim_id: str) -> None:
    """Write on a claim that is releasing which hosts keep its vGPUs, after why it ends at all."""
    claim = claims.get(transaction.session, claim_id)
    kept = _kept(transaction, vgpus.list_(transaction.session, {"claim_id": claim_id}))
    if claim.state == ClaimState.RELEASING and kept != NONE:
        reason = _without_waiting(claim).and_(kept)
        claims.update(transaction.session, claim_id, None, **reason.fields())


def _without_waiting(claim: Claim) -> Reason:
    """Return why a claim ends, without what keeps it from ending."""
    said = [claim.state_reason, claim.state_detail]
    for mark in _MARKS:
        said = [each.partition(mark)[0].removesuffix("; ") for each in said]
    return Reason(*said)


def _away(transaction: Transaction, held: Iterable[Vgpu]) -> Reason:
    """Return which hosts of these vGPUs can't take them away now; its project knows its own hosts."""
    ids = {vgpu.host_id for vgpu in held}
    down = hosts.list_(transaction.session, {"id": ids, "state": HostState.DOWN}, [("name", "asc")])
    if not down:
        return NONE
    revoked = [one.name for one in down if one.unable_reason == REVOKED]
    detail = f"{_AWAY}{', '.join(revoked)}: {REVOKED}" if revoked else ""
    return Reason(_AWAY + ", ".join(one.name for one in down), detail)


def _kept(transaction: Transaction, held: Iterable[Vgpu]) -> Reason:
    """Return which hosts of these vGPUs do not apply that they are to remove them."""
    ids = {vgpu.host_id for vgpu in held}
    found = hosts.list_(transaction.session, {"id": ids, "state": HostState.UP}, [("name", "asc")])
    names = [host.name for host in found if host.unapplied_reason]
    return Reason(_KEPT + ", ".join(names)) if names else NONE
