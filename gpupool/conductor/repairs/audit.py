"""Placement against the database: every vGPU has its allocation, and nothing else is held.

Placement is read first and the rows after it: a row is written before its allocation and deleted
after it, so an allocation without a row is nobody's, whenever it is seen.
"""

import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gpupool.conductor.claims import releasing
from gpupool.conductor.desired_state import WANTED
from gpupool.conductor.isolation import isolated
from gpupool.conductor.providers.inventory import Held, Inventory
from gpupool.conductor.rotation import Rotation
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import claims, devices, vgpus
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.reason import Reason
from gpupool.model.states import ClaimState
from gpupool.model.vgpu import Vgpu
from gpupool.placement import names
from gpupool.placement.allocations import Allocations

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Books:
    """Both sides: ``held`` in Placement (amounts by class by consumer by device), and ``consumers``.

    These are all that vGPUs and moves have. ``due`` are the rows on devices that were read which had to
    have their allocations before that, and still do.
    """

    held: Mapping[str, Held]
    consumers: AbstractSet[str]
    due: Sequence[Vgpu]


class Audit:
    """Compares both sides of the devices whose turn it is; ``rotation`` chooses them."""

    def __init__(
        self,
        transactions: Transactions,
        allocations: Allocations,
        inventory: Inventory,
        rotation: Rotation,
    ) -> None:
        self._transactions, self._allocations = transactions, allocations
        self._inventory, self._rotation = inventory, rotation

    def compare(self) -> None:
        """Repair allocations without vGPU, vGPUs without allocation, and other sizes."""
        books = self._read()
        self._give_back_orphans(books)
        self._correct(books)

    def _read(self) -> Books:
        """Read both sides of the devices whose turn it is; raises Unavailable."""
        with self._transactions.reader() as session:
            known = devices.ids(session)
        # A provider whose device is forgotten may hold something too.
        device_ids = {*self._rotation.choose(known), *(self._inventory.provided() - known)}
        with self._transactions.reader() as session:
            before = {(vgpu.id, vgpu.generation) for vgpu in vgpus.due(session, device_ids)}
        held = {each: self._allocations.allocations_of(each) for each in device_ids}
        with self._transactions.reader() as session:
            # A vGPU that moved meanwhile had another share before.
            after = vgpus.due(session, device_ids)
            due = [vgpu for vgpu in after if (vgpu.id, vgpu.generation) in before]
            return Books(held=held, consumers=vgpus.consumers(session), due=due)

    def _give_back_orphans(self, books: Books) -> None:
        """Delete allocations of ours that belong to no vGPU; note what others hold."""
        for device_id, held in books.held.items():
            foreign = {}
            for consumer in held.keys() - books.consumers:
                with isolated(f"allocation of {consumer} belongs to no vGPU"):
                    if not self._give_back(consumer):
                        foreign[consumer] = held[consumer]
            self._inventory.saw_foreign(device_id, foreign)

    def _give_back(self, consumer: str) -> bool:
        """Return whether ``consumer`` was of our type, and now holds nothing."""
        allocation = self._allocations.get_allocation(consumer)
        if allocation is None:
            return True
        # Instances that Nova placed on our providers are no business of ours.
        if allocation.consumer_type not in names.OWN_TYPES:
            return False
        self._allocations.deallocate(consumer)
        LOG.warning("allocation of %s belonged to no vGPU: given back", consumer)
        return True

    def _correct(self, books: Books) -> None:
        """Write again allocations that are missing or of other sizes than their vGPU."""
        for vgpu in books.due:
            wanted = releasing.grant(vgpu).resources()[vgpu.device_id]
            if books.held.get(vgpu.device_id, {}).get(vgpu.consumer) == wanted:
                continue
            if vgpu.consumer_id is not None:
                self._transactions.commit(_end_adopted, vgpu)
            else:
                with isolated(f"vGPU {vgpu.id} is not allocated again now"):
                    self._allocate_again(vgpu)

    def _allocate_again(self, vgpu: Vgpu) -> None:
        LOG.warning("vGPU %s: its allocation is missing or wrong: written again", vgpu.id)
        with self._transactions.reader() as session:
            claim = claims.get(session, vgpu.claim_id)
        try:
            self._allocations.deallocate(vgpu.id)
            self._allocations.allocate([releasing.grant(vgpu)], claim.project_id, claim.user_id)
        except errors.Conflict as exc:
            reason = Reason(
                "a device of it was given to somebody else outside of this service; it starts anew",
                f"its share of device {vgpu.device_id} was lost in Placement: {exc}",
            )
            self._transactions.commit(_queue_again, claim, reason)
            return
        if not self._transactions.commit(_still_there, vgpu.id):
            self._allocations.deallocate(vgpu.id)


def _end_adopted(transaction: Transaction, vgpu: Vgpu) -> None:
    """Release a claim of an allocation that somebody else wrote, and has taken back or changed."""
    claim = claims.get(transaction.session, vgpu.claim_id)
    if claim.state in WANTED:
        detail = (
            f"consumer {vgpu.consumer_id} does not hold its share of device {vgpu.device_id} any more"
        )
        reason = Reason("its allocation was taken back by the service that made it", detail)
        releasing.start(transaction, claim, ClaimState.RELEASED, reason)


def _queue_again(transaction: Transaction, known: Claim, reason: Reason) -> None:
    claim = claims.get(transaction.session, known.id)
    if claim.state in WANTED:
        releasing.start(transaction, claim, ClaimState.QUEUED, reason)


def _still_there(transaction: Transaction, vgpu_id: str) -> bool:
    """Return whether a vGPU has its row: without, what was just written is nobody's."""
    return bool(vgpus.list_(transaction.session, {"id": vgpu_id}))
