"""How claims are bound: planned here, agreed by Placement, made by their hosts.

The rows of their vGPUs come first, so that an allocation always belongs to a row; then Placement
decides, for all claims of a batch in one request; then the hosts are told. A crash in between is ended
by the reconciler.
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from gpupool.conductor.capacity.capacity import Capacity
from gpupool.conductor.claims import leases, quota, releasing
from gpupool.conductor.claims.limits import OfProject
from gpupool.conductor.claims.quota import Quotas
from gpupool.conductor.claims.releasing import Releasing
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.rotation import Rotation
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import claims, devices, hosts, times, vgpus
from gpupool.model import errors
from gpupool.model.claim import COUNT_MAX, Claim
from gpupool.model.device import Device
from gpupool.model.reason import NONE, Reason
from gpupool.model.share import Share
from gpupool.model.states import ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.allocation import Order
from gpupool.placement.allocations import Allocations
from gpupool.placement.errors import NoCapacity

TAKEN = Reason("a device that was chosen is not to be had any more; another one is looked for")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A claim, and the shares of its vGPUs, or of those that it is to have more.

    ``host`` is the name of its program's; None for a claim whose program has its host already.
    An elastic claim that is queued may get fewer, ``min_count`` of them at least; None for any other.
    """

    claim_id: str
    shares: tuple[Share, ...]
    host: str | None = None
    min_count: int | None = None


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


class Binding:
    """Binds claims for one conductor, and undoes what it could not bind."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        allocations: Allocations,
        inventory: Inventory,
        quotas: Quotas,
        releasing: Releasing,
        audit: Rotation,
    ) -> None:
        self._transactions, self._allocations = transactions, allocations
        self._inventory, self._quotas = inventory, quotas
        self._releasing, self._audit = releasing, audit

    def reserve(self, choices: Sequence[Choice]) -> Reserved:
        """Bring queued claims to ``allocating``, with the rows of their vGPUs.

        Those of ``lost`` stay queued: something of them, or of what was chosen for them, has changed.
        """
        elastic = [each.claim_id for each in choices if each.min_count is not None]
        limits = self._quotas.known_limits(elastic)
        return self._transactions.commit(_reserve, choices, self._inventory, limits)

    def allocate(self, asked: Sequence[Planned]) -> dict[str, errors.GpupoolError]:
        """Ask Placement and have hosts make what it agrees to; return by id why claims are queued again.

        NoCapacity is Placement's; after Unavailable nothing can be bound now.
        """
        said = self._allocations.allocate_all([each.order() for each in asked])
        self.hand_over([each for each in asked if each.claim.id not in said])
        self.undo([(each, _refusal(said[each.claim.id])) for each in asked if each.claim.id in said])
        return said

    def hand_over(self, agreed: Sequence[Planned]) -> None:
        """Ask hosts to make vGPUs that Placement has agreed to.

        If a claim was released or undone meanwhile, what nobody knows of any more is given back. What
        another conductor gave back before Placement had agreed, the reconciler's next run finds.
        """
        if not agreed:
            return
        going, lost = self._transactions.commit(_hand_over, agreed)
        self._releasing.give_back(lost)
        stopped = [each for each in agreed if each.claim.id not in going]
        self._audit.hurry(vgpu.device_id for each in stopped for vgpu in each.vgpus)

    def undo(self, refused: Sequence[tuple[Planned, Reason]]) -> None:
        """Bring allocating claims back to ``queued``, each with its reason; give back what they hold.

        Claims that went on meanwhile keep everything.
        """
        if refused:
            self._releasing.give_back(self._transactions.commit(_undo, refused))


def _refusal(error: errors.GpupoolError) -> Reason:
    """Return the reason of a claim that Placement did not grant what was chosen for it."""
    if isinstance(error, NoCapacity):
        return Reason(TAKEN.text, f"Placement refused: {error}")
    if isinstance(error, errors.Unavailable):
        why = "devices can't be granted now, since Placement does not answer"
    else:
        why = "Placement did not grant the devices that were chosen"
    return Reason(f"{why}; this is tried again", str(error))


def _reserve(
    transaction: Transaction,
    choices: Sequence[Choice],
    inventory: Inventory,
    limits: Mapping[str, OfProject],
) -> Reserved:
    """Do what ``reserve`` does.

    Whatever the plans were made on, here is what the hosts have, and nobody else adds to it: guaranteed
    claims never get more than there is of a device, nor programs of a host.
    """
    session = transaction.session
    named = {share.device_id for choice in choices for share in choice.shares}
    owned = {device.id: device for device in devices.list_(session, {"id": named})}
    on = hosts.ids(session, {choice.host for choice in choices if choice.host})
    held = transaction.hold({*on.values(), *(device.host_id for device in owned.values())})
    known = {claim.id: claim for claim in claims.hold(session, [each.claim_id for each in choices])}
    batch, capacity = Reserved(), Capacity(transaction, inventory, held)
    mine = {**NONE.fields(), "conductor_id": transaction.conductor_id}
    for choice in choices:
        claim, host = known.get(choice.claim_id), on.get(choice.host or "")
        if claim is None or claim.state != ClaimState.QUEUED:
            batch.lost[choice.claim_id] = errors.Conflict(f"claim {choice.claim_id} waits no more")
            continue
        shares = _allowed(session, claim, choice, limits)
        if host is None or not capacity.take(claim, shares, choice.host):
            error = f"what was chosen for claim {claim.id} is not to be had any more"
            batch.lost[claim.id] = errors.Conflict(error)
            continue
        claim = replace(claim, program_host_id=host)
        if claim.min_count is not None:
            # At once, so that its project's next claim has no more than what its quota leaves then.
            changes = {**mine, "count": len(shares), "next_index": len(shares)}
            (claim,) = transaction.start_all([claim], **changes)
        rows = [planned(claim, index, each, owned[each.device_id]) for index, each in enumerate(shares)]
        batch.planned.append(Planned(claim=claim, vgpus=tuple(rows)))
    made = [vgpu for each in batch.planned for vgpu in each.vgpus]
    vgpus.create_all(session, made)
    transaction.revise_all(held[host_id] for host_id in _hosts(batch.planned))
    fixed = [each.claim for each in batch.planned if each.claim.min_count is None]
    moved = {claim.id: claim for claim in transaction.start_all(fixed, **mine)}
    going = [
        Planned(claim=moved.get(each.claim.id, each.claim), vgpus=each.vgpus) for each in batch.planned
    ]
    return Reserved(going, batch.lost)


def _allowed(
    session: Session, claim: Claim, choice: Choice, limits: Mapping[str, OfProject]
) -> tuple[Share, ...]:
    """Return those of the chosen shares that an elastic claim may have; all of any other claim."""
    if choice.min_count is None or len(choice.shares) == choice.min_count:
        return choice.shares
    # Its minimum is counted already, since it was made.
    more = quota.room(session, claim, limits[claim.id]) if claim.id in limits else 0
    return choice.shares[: choice.min_count + more]


def free_indexes(held: Iterable[Vgpu], first: int = 0) -> Iterator[int]:
    """Yield the ordinals that none of a claim's vGPUs has, or had that leaves: from ``first`` round."""
    taken = {vgpu.index for vgpu in held}
    ordered = (at % COUNT_MAX for at in range(first, first + COUNT_MAX))
    return (index for index in ordered if index not in taken)


def planned(claim: Claim, index: int, share: Share, device: Device) -> Vgpu:
    """Return a new vGPU of a claim, of which Placement and its host know nothing yet."""
    return Vgpu(
        id=str(uuid.uuid4()),
        claim_id=claim.id,
        project_id=claim.project_id,
        host_id=device.host_id,
        index=index,
        state=VgpuState.PLANNED,
        generation=0,
        **share.fields(),
    )


def _hand_over(transaction: Transaction, agreed: Sequence[Planned]) -> tuple[set[str], list[Vgpu]]:
    """Return the claims that have all their vGPUs and go on, and the vGPUs that have no row any more."""
    transaction.touch_all(_hosts(agreed))
    going, lost = _still_allocating(transaction, agreed)
    ids = {claim.id for claim in going}
    rows = [vgpu.id for each in agreed if each.claim.id in ids for vgpu in each.vgpus]
    vgpus.want(transaction.session, rows)
    transaction.move_all(going, ClaimState.BINDING, **NONE.fields())
    return ids, lost


def _hosts(of: Sequence[Planned]) -> set[str]:
    """Return the hosts of vGPUs, and those of their claims' programs."""
    programs = {each.claim.program_host_id for each in of if each.claim.program_host_id}
    return programs | {vgpu.host_id for each in of for vgpu in each.vgpus}


def _still_allocating(transaction: Transaction, of: Sequence[Planned]) -> tuple[list[Claim], list[Vgpu]]:
    """Return the claims that are where they were, and the vGPUs of the others that have no row."""
    ids = [each.claim.id for each in of]
    known = {claim.id: claim for claim in claims.hold(transaction.session, ids)}
    rows = {vgpu.id for vgpu in vgpus.list_(transaction.session, {"claim_id": ids})}
    going, lost = [], []
    for each in of:
        claim = known.get(each.claim.id)
        missing = [vgpu for vgpu in each.vgpus if vgpu.id not in rows]
        if claim is not None and claim.state == ClaimState.ALLOCATING and not missing:
            going.append(claim)
        lost += missing
    return going, lost


def _undo(transaction: Transaction, refused: Sequence[tuple[Planned, Reason]]) -> list[Vgpu]:
    """Return the vGPUs that have no row any more, whoever deleted it."""
    of = [each for each, _ in refused]
    held = transaction.hold(_hosts(of))
    going, lost = _still_allocating(transaction, of)
    ids = {claim.id for claim in going}
    back = [each for each in of if each.claim.id in ids]
    undone = [vgpu for each in back for vgpu in each.vgpus]
    vgpus.delete_all(transaction.session, [vgpu.id for vgpu in undone])
    transaction.revise_all(held[host_id] for host_id in _hosts(back) & held.keys())
    reasons = {each.claim.id: reason for each, reason in refused}
    for reason in sorted(set(reasons.values())):
        alike = [claim for claim in going if reasons[claim.id] == reason]
        for least in {claim.min_count for claim in alike}:
            same = [claim for claim in alike if claim.min_count == least]
            changes = {"program_host_id": None} | ({} if least is None else {"count": least})
            transaction.move_all(same, ClaimState.QUEUED, **reason.fields(), **changes)
    return lost + undone


def bind_active(transaction: Transaction, claim_ids: Collection[str]) -> None:
    """Bring those of the claims to ``bound`` that are binding and have all their vGPUs active."""
    if not claim_ids:
        return
    active = vgpus.count_active(transaction.session, claim_ids)
    held = claims.hold(transaction.session, claim_ids)
    ready = [
        claim
        for claim in held
        if claim.state == ClaimState.BINDING and active.get(claim.id) == claim.count
    ]
    for claim in held:
        if claim.state == ClaimState.BOUND and claim.attempts:
            # It has grown where it was refused more before.
            claims.update(transaction.session, claim.id, **claims.UNREFUSED)
    now = times.now(transaction.session)
    fresh = {"bound_at": now, **claims.UNREFUSED, **NONE.fields()}
    endless = [claim for claim in ready if claim.time_limit is None]
    transaction.move_all(endless, ClaimState.BOUND, **fresh)
    for claim in ready:
        if claim.time_limit is not None:
            transaction.move_all([claim], ClaimState.BOUND, **fresh, **leases.at_bound(claim, now))
