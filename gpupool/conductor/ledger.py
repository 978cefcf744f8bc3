"""Placement against the database: every vGPU has its allocation, and nothing else is held.

Placement is read first and the rows after it: a row is written before its allocation and deleted
after it, so an allocation without a row is nobody's, whenever it is seen.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from gpupool.conductor import releasing
from gpupool.conductor.desired import WANTED
from gpupool.conductor.inventory import Held
from gpupool.conductor.isolation import isolated
from gpupool.conductor.parts import Parts, Transaction
from gpupool.db import claims, devices, vgpus
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.states import ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu
from gpupool.placement import names

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Books:
    """Both sides: ``held`` in Placement (amounts by class by consumer by device), and ``rows``.

    ``due`` are the rows on devices that were read which had to have their allocations before that, and
    still do.
    """

    held: Mapping[str, Held]
    rows: Mapping[str, Vgpu]
    due: Mapping[str, Vgpu]


def read(parts: Parts) -> Books:
    """Read both sides of the devices whose turn it is; raises Unavailable."""
    before = _due(parts)
    with parts.database.reader() as session:
        known = {device.id for device in devices.list_(session)}
    # A provider whose device is forgotten may hold something too.
    device_ids = {*parts.audit.choose(known), *(parts.inventory.provided() - known)}
    held = {each: parts.allocations.allocations_of(each) for each in device_ids}
    after = _due(parts)
    with parts.database.reader() as session:
        rows = {vgpu.id: vgpu for vgpu in vgpus.list_(session)}
    due = {
        vgpu_id: vgpu
        for vgpu_id, vgpu in before.items()
        if vgpu_id in after and vgpu.device_id in device_ids
    }
    return Books(held=held, rows=rows, due=due)


def _due(parts: Parts) -> dict[str, Vgpu]:
    """Return the vGPUs whose claims are past Placement's consent and not being released."""
    kept = [VgpuState.PLANNED, VgpuState.ACTIVE]
    with parts.database.reader() as session:
        wanted = {claim.id for claim in claims.list_(session, {"state": WANTED})}
        held = vgpus.list_(session, {"state": kept})
    # One without generation is prepared for a move only: Placement may not have agreed.
    return {vgpu.id: vgpu for vgpu in held if vgpu.claim_id in wanted and vgpu.generation}


def give_back_orphans(parts: Parts, books: Books) -> None:
    """Delete allocations of ours that belong to no vGPU; note what others hold."""
    for device_id, held in books.held.items():
        outside = {consumer: each for consumer, each in held.items() if consumer not in books.rows}
        foreign = {}
        for consumer, each in outside.items():
            with isolated(f"allocation of {consumer} belongs to no vGPU"):
                if not _give_back(parts, consumer):
                    foreign[consumer] = each
        parts.inventory.saw_foreign(device_id, foreign)


def _give_back(parts: Parts, consumer: str) -> bool:
    """Return whether ``consumer`` was of our type, and now holds nothing."""
    allocation = parts.allocations.get_allocation(consumer)
    if allocation is None:
        return True
    # Instances that Nova placed on our providers are no business of ours.
    if allocation.consumer_type != names.CONSUMER_TYPE:
        return False
    parts.allocations.deallocate(consumer)
    LOG.warning("allocation of %s belonged to no vGPU: given back", consumer)
    return True


def correct(parts: Parts, books: Books) -> None:
    """Write again allocations that are missing or of other sizes than their vGPU."""
    for vgpu in books.due.values():
        wanted = releasing.grant(vgpu).resources()[vgpu.device_id]
        if books.held.get(vgpu.device_id, {}).get(vgpu.id) != wanted:
            with isolated(f"vGPU {vgpu.id} is not allocated again now"):
                _allocate_again(parts, vgpu)


def _allocate_again(parts: Parts, vgpu: Vgpu) -> None:
    LOG.warning("vGPU %s: its allocation is missing or wrong: written again", vgpu.id)
    with parts.database.reader() as session:
        claim = claims.get(session, vgpu.claim_id)
    try:
        parts.allocations.deallocate(vgpu.id)
        parts.allocations.allocate([releasing.grant(vgpu)], claim.project_id, claim.user_id)
    except errors.Conflict as exc:
        reason = f"its share of device {vgpu.device_id} was lost in Placement: {exc}"
        parts.commit(_queue_again, claim, reason)
        return
    if not parts.commit(_still_there, vgpu.id):
        parts.allocations.deallocate(vgpu.id)


def _queue_again(transaction: Transaction, known: Claim, reason: str) -> None:
    claim = claims.get(transaction.session, known.id)
    if claim.state in WANTED:
        releasing.start(transaction, claim, ClaimState.QUEUED, reason)


def _still_there(transaction: Transaction, vgpu_id: str) -> bool:
    """Return whether a vGPU has its row: without, what was just written is nobody's."""
    return bool(vgpus.list_(transaction.session, {"id": vgpu_id}))
