"""How bound elastic claims grow and shrink, between ``min_count`` and ``max_count`` vGPUs.

To grow, rows without a generation are written, of which no host is told; Placement grants them; then
one transaction gives them the generation of their hosts, which are told, and the claim counts them from
then on. Left in between they are dropped by the reconciler. To shrink is to have vGPUs removed from
their hosts, and the claim counts them no more.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from gpupool.conductor.capacity.capacity import Capacity
from gpupool.conductor.claims import binding, quota, releasing
from gpupool.conductor.claims.binding import Choice, Planned, Reserved
from gpupool.conductor.claims.limits import OfProject
from gpupool.conductor.claims.preemption import made_room
from gpupool.conductor.claims.quota import Quotas
from gpupool.conductor.claims.refusals import Refusal
from gpupool.conductor.claims.releasing import Releasing
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.conductor.under_way import UnderWay
from gpupool.db import claims, devices, moves, vgpus
from gpupool.model import errors
from gpupool.model.claim import COUNT_MAX, Claim
from gpupool.model.host import Host
from gpupool.model.reason import NONE, Reason
from gpupool.model.states import ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.allocations import Allocations


class Resizing:
    """Has claims grow for one conductor; Placement grants what they grow by."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        allocations: Allocations,
        inventory: Inventory,
        quotas: Quotas,
        releasing: Releasing,
        under_way: UnderWay,
    ) -> None:
        self._transactions, self._allocations = transactions, allocations
        self._inventory, self._quotas = inventory, quotas
        self._releasing, self._under_way = releasing, under_way

    def reserve(self, choices: Sequence[Choice]) -> Reserved:
        """Write rows beside those of bound claims, one for each device that is chosen for more.

        Those of ``lost`` stay as they are: something has changed, or their project may have no more.
        """
        limits = self._quotas.known_limits([each.claim_id for each in choices])
        made = self._transactions.commit(_reserve, choices, self._inventory, limits)
        self._under_way.begin(each.claim.id for each in made.planned)
        return made

    def allocate(self, planned: Sequence[Planned]) -> dict[str, errors.GpupoolError]:
        """Ask Placement and have claims grow by what it agrees to; return by id why others do not."""
        try:
            said = self._allocations.allocate_all([each.order() for each in planned])
            agreed = [each for each in planned if each.claim.id not in said]
            limits = self._quotas.known_limits([each.claim.id for each in agreed])
            lost = self._transactions.commit(_grow, agreed, limits) if agreed else []
            refused = [vgpu for each in planned if each.claim.id in said for vgpu in each.vgpus]
            self._releasing.give_back(lost)
            self.undo(refused)
        finally:
            self._under_way.end(each.claim.id for each in planned)
        return said

    def undo(self, planned: Sequence[Vgpu]) -> None:
        """Drop those of the vGPUs by which claims were to grow and do not yet, and what they hold."""
        if planned:
            self._releasing.give_back(self._transactions.commit(_undo, planned))


def _reserve(
    transaction: Transaction,
    choices: Sequence[Choice],
    inventory: Inventory,
    limits: dict[str, OfProject],
) -> Reserved:
    session = transaction.session
    named = {share.device_id for choice in choices for share in choice.shares}
    owned = {device.id: device for device in devices.list_(session, {"id": named})}
    held = transaction.hold({device.host_id for device in owned.values()})
    known = {claim.id: claim for claim in claims.hold(session, [each.claim_id for each in choices])}
    batch, capacity = Reserved(), Capacity(transaction, inventory, held)
    for choice in choices:
        claim = known.get(choice.claim_id)
        rows = vgpus.list_(session, {"claim_id": choice.claim_id})
        room = _room(transaction, claim, rows, limits) if claim else 0
        chosen = [each for each in choice.shares[:room] if each.device_id in owned]
        # Its program is there, and has what it needs.
        if claim is None or not chosen or not capacity.take(_more(claim), chosen, None):
            error = f"claim {choice.claim_id} can't have more vGPUs now"
            batch.lost[choice.claim_id] = errors.Conflict(error)
            continue
        free = binding.free_indexes(rows, claims.next_index(session, claim.id))
        more = [binding.planned(claim, next(free), each, owned[each.device_id]) for each in chosen]
        claim = claims.update(session, claim.id, conductor_id=transaction.conductor_id)
        batch.planned.append(Planned(claim=claim, vgpus=tuple(more)))
    rows = [vgpu for each in batch.planned for vgpu in each.vgpus]
    vgpus.create_all(session, rows)
    transaction.revise_all(held[host_id] for host_id in {vgpu.host_id for vgpu in rows})
    return batch


def _more(claim: Claim) -> Claim:
    return replace(claim, count=1, cpu_milli=0, host_memory_mib=0)


def _room(
    transaction: Transaction, claim: Claim, rows: Collection[Vgpu], limits: dict[str, OfProject]
) -> int:
    """Return how many vGPUs more a claim that is held may have; none while it moves or grows already."""
    if claim.state != ClaimState.BOUND or claim.max_count is None or claim.id not in limits:
        return 0
    if any(each.state == VgpuState.PLANNED and not each.generation for each in rows):
        return 0
    if moves.list_(transaction.session, {"vgpu_id": [each.id for each in rows]}):
        return 0
    if claim.attempts >= transaction.conf.conductor.binding_attempts:
        return 0
    unused = len(list(binding.free_indexes(rows)))
    allowed = quota.room(transaction.session, claim, limits[claim.id])
    return min(claim.max_count - claim.count, unused, allowed)


def _grow(
    transaction: Transaction, agreed: Sequence[Planned], limits: dict[str, OfProject]
) -> list[Vgpu]:
    """Add the vGPUs that Placement agreed to to their claims; return those that these can't have."""
    session = transaction.session
    generations = transaction.touch_all({vgpu.host_id for each in agreed for vgpu in each.vgpus})
    known = {claim.id: claim for claim in claims.hold(session, [each.claim.id for each in agreed])}
    lost: list[Vgpu] = []
    for each in agreed:
        rows = {vgpu.id: vgpu for vgpu in vgpus.list_(session, {"claim_id": each.claim.id})}
        there = [vgpu for vgpu in each.vgpus if vgpu.id in rows]
        staying = [rows[vgpu_id] for vgpu_id in rows.keys() - {vgpu.id for vgpu in there}]
        claim = known.get(each.claim.id)
        room = _room(transaction, claim, staying, limits) if claim else 0
        if claim is not None and there[:room]:
            for vgpu in there[:room]:
                vgpus.update(session, vgpu.id, generation=generations[vgpu.host_id])
            count = claim.count + len(there[:room])
            after = (there[:room][-1].index + 1) % COUNT_MAX
            _resize(transaction, claim, count, NONE, next_index=after)
        lost += [vgpu for vgpu in each.vgpus if vgpu not in there[:room]]
    _drop(transaction, lost)
    return lost


def _undo(transaction: Transaction, planned: Sequence[Vgpu]) -> list[Vgpu]:
    """Return those that nobody knows of any more."""
    transaction.hold({vgpu.host_id for vgpu in planned})
    found = vgpus.list_(transaction.session, {"id": [each.id for each in planned]})
    kept = {each.id for each in found if each.generation or each.state != VgpuState.PLANNED}
    gone = [vgpu for vgpu in planned if vgpu.id not in kept]
    _drop(transaction, gone)
    return gone


def _drop(transaction: Transaction, lost: Sequence[Vgpu]) -> None:
    """Delete rows that no claim counts, on hosts that are held."""
    there = vgpus.list_(transaction.session, {"id": [vgpu.id for vgpu in lost]})
    vgpus.delete_all(transaction.session, [vgpu.id for vgpu in there])
    transaction.revise_all(transaction.hold({vgpu.host_id for vgpu in there}).values())
    for claim_id in sorted({vgpu.claim_id for vgpu in there}):
        # Other transactions that know the claim read it again; released, it may have lost its last row.
        claims.update(transaction.session, claim_id)
    releasing.finish(transaction, {vgpu.claim_id for vgpu in there})


def shrink(transaction: Transaction, victim: Claim, vgpu_ids: Collection[str], waiting: Claim) -> None:
    """Take vGPUs from a claim for another one; nothing happens when one of them has changed since."""
    now = claims.generations_of(transaction.session, [victim.id, waiting.id])
    if now == {each.id: each.generation for each in (victim, waiting)}:
        give_up(transaction, victim.id, vgpu_ids, made_room(victim, waiting))


def give_up(
    transaction: Transaction,
    claim_id: str,
    vgpu_ids: Collection[str],
    why: Reason,
    **changes: object,
) -> bool:
    """Take vGPUs from a bound elastic claim; return False when it needs them, or is not elastic.

    Their sessions end as those of a claim that is preempted. ``changes`` are made of the claim too.
    """
    session = transaction.session
    # Hosts first, as reports do.
    transaction.hold({each.host_id for each in vgpus.list_(session, {"id": list(vgpu_ids)})})
    (claim,) = claims.hold(session, [claim_id])
    rows = vgpus.list_(session, {"claim_id": claim_id})
    leaving = [each for each in rows if each.id in vgpu_ids and each.counted]
    left = claim.count - len(leaving)
    if claim.state != ClaimState.BOUND or claim.min_count is None or left < claim.min_count:
        return False
    # In one order, so that two who take claims apart don't wait for each other.
    for vgpu in sorted(leaving, key=lambda one: one.host_id):
        generation = transaction.touch(vgpu.host_id)
        vgpus.transition(session, vgpu, VgpuState.REMOVING, generation=generation)
    if leaving:
        what = Reason(f"it gave {len(leaving)} of {claim.count} vGPUs back")
        _resize(transaction, claim, left, what.and_(why), **changes)
    return True


def give_up_refused(transaction: Transaction, claim_id: str, host: str, refusal: Refusal) -> bool:
    """Take from a bound elastic claim what its host refused or lost; return False as ``give_up``.

    Whosever fault it is, each time counts: after ``[conductor] binding_attempts`` the claim grows no
    more, or the host would be held back from all others after each of its attempts, for ever.
    """
    claim = claims.get(transaction.session, claim_id)
    said = "its host could not provide them" if refusal.host_fault else refusal.error
    why = Reason(said, f"host {host}: {refusal.error}")
    tries = claim.attempts + 1
    if tries >= transaction.conf.conductor.binding_attempts:
        times = f"{tries} times" if tries > 1 else "once"
        why = why.and_(Reason(f"it was refused {times} and grows no more until it or its host changes"))
    refused_by = tuple(sorted({*claim.refused_by, host}))
    counted = {"attempts": tries, "refused_by": refused_by}
    return give_up(transaction, claim_id, refusal.vgpu_ids, why, **counted)


def forget_refusals(transaction: Transaction, host: Host) -> None:
    """Let bound elastic claims grow again that a host refused more, which is held and has changed."""
    for claim in claims.refused_more(transaction.session):
        if host.name in claim.refused_by:
            claims.update(transaction.session, claim.id, None, **claims.UNREFUSED, **NONE.fields())
            transaction.wake_queue()


def _resize(
    transaction: Transaction, claim: Claim, count: int, reason: Reason, **changes: object
) -> None:
    changed = {**changes, **reason.fields()}
    after = claims.update(transaction.session, claim.id, None, count=count, **changed)
    transaction.resized.append(after)
