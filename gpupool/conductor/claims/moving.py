"""How a vGPU changes its device, as ``db.moves`` records it.

The record is written first, while the host is held and has room. Then Placement, in one request, gives
the vGPU its target, and the record what the vGPU had. Then one transaction gives the vGPU's row its
target, and the host is told: it removes the vGPU from its source before it makes it on its target. What
the record holds is given back when the host reports the vGPU there.

A move that is interrupted before its switch is undone: no host knows of it. One that has switched ends
by itself, or with its vGPU. Claims with attachments stay where they are: to move a program's memory
needs the data plane.
"""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from gpupool.conductor.capacity.capacity import Capacity
from gpupool.conductor.isolation import isolated
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.rotation import Rotation
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.conductor.under_way import UnderWay
from gpupool.db import attachments, claims, devices, moves, vgpus
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.move import Move, MoveState
from gpupool.model.states import ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.allocations import Allocations

LOG = logging.getLogger(__name__)


class Moving:
    """Moves vGPUs for one conductor; ``audit`` chooses what is compared with Placement next."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        allocations: Allocations,
        inventory: Inventory,
        under_way: UnderWay,
        audit: Rotation,
    ) -> None:
        self._transactions, self._allocations = transactions, allocations
        self._inventory, self._under_way, self._audit = inventory, under_way, audit

    def move(self, vgpu_id: str, device_id: str) -> None:
        """Move a vGPU to another device of its host; raise a GpupoolError when that is not begun."""
        with self.under_way() as move_id:
            planned = self._transactions.commit(plan, move_id, vgpu_id, device_id, self._inventory)
            self._make(planned)

    @contextmanager
    def under_way(self) -> Iterator[str]:
        """Yield the id of a new move that nobody else ends meanwhile."""
        move_id = str(uuid.uuid4())
        self._under_way.begin([move_id])
        try:
            yield move_id
        finally:
            self._under_way.end([move_id])

    def _make(self, planned: Move) -> None:
        try:
            self._allocations.move(planned)
        except errors.GpupoolError:
            self.undo(planned)
            raise
        if not self._transactions.commit(switch, planned.id):
            self.undo(planned)
            raise errors.Conflict(f"the claim of vGPU {planned.vgpu_id} changed meanwhile")

    def undo(self, planned: Move) -> None:
        """Undo a move, unless it has switched; what fails the reconciler does again."""
        try:
            if not self._transactions.commit(_stop, planned.id):
                return
            self._allocations.move_back(planned)
            self._transactions.commit(_forget, planned.id)
        except errors.GpupoolError as exc:
            self._audit.hurry([planned.target.device_id])
            LOG.warning("the move of vGPU %s is undone later: %s", planned.vgpu_id, exc)

    def end(self) -> None:
        """Undo moves that a conductor left planned, and give back what those that ended left."""
        self.end_left()
        self.end_arrived()

    def end_arrived(self) -> None:
        """Give back the sources of vGPUs that are on their targets; raises Unavailable."""
        with self._transactions.reader() as session:
            found = moves.arrived(session)
        for each in found:
            with isolated(f"the source of vGPU {each.vgpu_id} is given back later"):
                self._allocations.deallocate(each.id)
                self._transactions.commit(_forget, each.id)

    def end_left(self) -> None:
        """Undo the moves that nobody goes on with: their conductor is gone, or failed to undo them."""
        with self._transactions.reader() as session:
            found = moves.list_(session, {"state": [MoveState.PLANNED, MoveState.UNDOING]})
        for each in found:
            if self._is_left(each):
                self.undo(each)

    def _is_left(self, planned: Move) -> bool:
        owner = planned.conductor_id
        return owner is None or self._under_way.is_left(owner, planned.id)


def plan(
    transaction: Transaction,
    move_id: str,
    vgpu_id: str,
    device_id: str,
    inventory: Inventory,
) -> Move:
    """Write the record of a move; Conflict when the vGPU can't move."""
    session = transaction.session
    vgpu, device = vgpus.get(session, vgpu_id), devices.get(session, device_id)
    if device.host_id != vgpu.host_id:
        raise errors.Conflict("needs a remote device: the program's host is another one")
    held = transaction.hold([vgpu.host_id])
    vgpu = vgpus.get(session, vgpu_id)
    claim = _movable(transaction, vgpu)
    if moves.list_(session, {"vgpu_id": vgpu.id}):
        raise errors.Conflict(f"vGPU {vgpu.id} is moving already")
    # The program stays where it is, and has what it needs there.
    alone = replace(claim, count=1, cpu_milli=0, host_memory_mib=0)
    target = vgpu.share._replace(device_id=device.id)
    if not Capacity(transaction, inventory, held).take(alone, [target], None):
        raise errors.Conflict(f"device {device.id} has no room for it any more")
    planned = Move(
        id=move_id,
        vgpu_id=vgpu.id,
        host_id=vgpu.host_id,
        source=vgpu.share,
        target=target,
        conductor_id=transaction.conductor_id,
    )
    transaction.revise_all(held.values())
    return moves.create(session, planned)


def _movable(transaction: Transaction, vgpu: Vgpu) -> Claim:
    """Return the claim of a vGPU on a host that is held; Conflict unless it may move now."""
    session = transaction.session
    (claim,) = claims.hold(session, [vgpu.claim_id])
    if claim.state != ClaimState.BOUND or vgpu.state != VgpuState.ACTIVE:
        raise errors.Conflict(f"claim {claim.id} changed meanwhile")
    if vgpu.consumer_id is not None:
        raise errors.Conflict("its allocation is somebody else's")
    if attachments.list_(session, {"claim_id": claim.id}):
        raise errors.Conflict("needs a live move: the claim has attachments")
    return claim


def switch(transaction: Transaction, move_id: str) -> bool:
    """Give a vGPU its target and tell its host; return False when that is too late."""
    session = transaction.session
    for host_id in {each.host_id for each in moves.list_(session, {"id": move_id})}:
        generation = transaction.touch(host_id)
        # Read again while the host is held.
        for planned in moves.list_(session, {"id": move_id, "state": MoveState.PLANNED}):
            vgpu = vgpus.get(session, planned.vgpu_id)
            try:
                claim = _movable(transaction, vgpu)
            except errors.Conflict:
                return False
            target = planned.target.fields()
            vgpus.transition(session, vgpu, VgpuState.PLANNED, generation=generation, **target)
            moves.update(session, planned.id, state=MoveState.SWITCHING, generation=generation)
            # Other transactions that know the claim read it again.
            claims.update(session, claim.id)
            return True
    return False


def _stop(transaction: Transaction, move_id: str) -> bool:
    """Keep a move from switching; return False when it has.

    Its record may be gone, with its vGPU or because another conductor undid it: then something may have
    come to Placement after that.
    """
    session = transaction.session
    transaction.hold({each.host_id for each in moves.list_(session, {"id": move_id})})
    for found in moves.list_(session, {"id": move_id}):
        if found.state == MoveState.SWITCHING:
            return False
        moves.update(session, move_id, state=MoveState.UNDOING)
    return True


def _forget(transaction: Transaction, move_id: str) -> None:
    session = transaction.session
    found = moves.list_(session, {"id": move_id})
    held = transaction.hold({each.host_id for each in found})
    moves.delete_all(session, [each.id for each in found])
    transaction.revise_all(held.values())
    transaction.wake_queue()
