"""Allocations of vGPUs: the ledger of what is granted (D1)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from gpupool.model import errors
from gpupool.model.move import Move
from gpupool.model.share import Share
from gpupool.placement import names
from gpupool.placement.allocation import Allocation, Grant, Order, resources
from gpupool.placement.client import PlacementClient
from gpupool.placement.errors import ConcurrentUpdate, NoCapacity

# Placement itself tries ten times before it reports a generation conflict of a provider.
_ATTEMPTS = 4


# Entered around a request that writes allocations on some devices, by id; an error leaves it.
Granting = Callable[[Collection[str]], AbstractContextManager[object]]


class Allocations:
    """Writes and reads what vGPUs hold; errors as PlacementClient's."""

    def __init__(self, client: PlacementClient, granting: Granting = nullcontext) -> None:
        self._client = client
        self._granting = granting

    def allocate(self, grants: Sequence[Grant], project_id: str, user_id: str) -> None:
        """Allocate all ``grants`` or none; the same grants again change nothing.

        NoCapacity when one does not fit or its device is gone; Conflict when a vGPU holds something
        else already; Unavailable leaves open whether it was written: repeat it, or deallocate each.
        """
        if len({grant.vgpu_id for grant in grants}) < len(grants):
            raise errors.Invalid("a vGPU is named twice in one request; allowed: once")
        self._allocate(Order(key="", grants=tuple(grants), project_id=project_id, user_id=user_id))

    def allocate_all(self, orders: Sequence[Order]) -> dict[str, errors.GpupoolError]:
        """Allocate each order or none of it; return by key what ``allocate`` would have raised.

        All in one request if Placement takes it; else in two halves, until those are found that it
        refuses. What comes after an Unavailable is not tried any more, and unavailable too.
        """
        return _halving(orders, self._write_all, self._allocate)

    def deallocate(self, vgpu_id: str) -> None:
        """Give back all a vGPU holds; nothing happens when that is nothing."""
        try:
            self._client.delete_allocation(vgpu_id)
        except errors.NotFound:
            return

    def deallocate_all(self, orders: Sequence[Order]) -> dict[str, errors.GpupoolError]:
        """Give back all that the vGPUs of ``orders`` hold; return by key what could not be given back.

        All in one request if they are as ``allocate`` left them; else as ``allocate_all``.
        """
        return _halving(orders, self._write_none, self._give_back)

    def move(self, move: Move) -> None:
        """Give a vGPU the target of its move, and the move what the vGPU had; again changes nothing.

        NoCapacity when the target does not fit or is gone; Conflict when the vGPU holds something else
        than the source; Unavailable leaves open whether it was written: ``move_back``.
        """
        for attempt in range(_ATTEMPTS):
            held, kept = self.get_allocation(move.vgpu_id), self.get_allocation(move.id)
            if _holds(held, move.target) and _holds(kept, move.source):
                return
            if held is None or not _holds(held, move.source):
                raise errors.Conflict(f"vGPU {move.vgpu_id} holds another allocation already")
            # See _allocate: one that Placement forgot to delete is of generation 0.
            generation = kept.generation if kept else (0 if attempt % 2 else None)
            try:
                self._write_move(move, held, move.target, move.source, generation)
            except ConcurrentUpdate as exc:
                conflict = exc
            else:
                return
        raise conflict

    def move_back(self, move: Move) -> None:
        """Give a vGPU the source of its move again, and the move nothing; again changes nothing."""
        for _ in range(_ATTEMPTS):
            kept = self.get_allocation(move.id)
            if kept is None:
                return
            held = self.get_allocation(move.vgpu_id)
            if held is None or not _holds(held, move.target):
                # It gave all back meanwhile.
                self.deallocate(move.id)
                return
            try:
                self._write_move(move, held, move.source, None, kept.generation)
            except ConcurrentUpdate as exc:
                conflict = exc
            else:
                return
        raise conflict

    def get_allocation(self, vgpu_id: str) -> Allocation | None:
        """Return what a vGPU holds, or None."""
        return self._client.get_allocation(vgpu_id)

    def allocations_of(self, device_id: str) -> dict[str, dict[str, int]]:
        """Return amounts by resource class by consumer id; empty when the provider is gone."""
        try:
            return self._client.provider_allocations(device_id)
        except errors.NotFound:
            return {}

    def _allocate(self, order: Order) -> None:
        generations: dict[str, int | None] = {}
        for _ in range(_ATTEMPTS):
            try:
                self._write(order, generations)
            except ConcurrentUpdate as exc:
                conflict = exc
            else:
                return
            held = self._held(order)
            if len(held) == len(order.grants):
                return
            # Placement forgets to delete a consumer that it made for a request it then refused because
            # of a missing provider: it is there then, of generation 0, and holds nothing.
            generations = {
                grant.vgpu_id: held.get(grant.vgpu_id, 0 if grant.vgpu_id not in generations else None)
                for grant in order.grants
            }
        raise conflict

    def _give_back(self, order: Order) -> None:
        for grant in order.grants:
            self.deallocate(grant.vgpu_id)

    def _write_all(self, orders: Sequence[Order]) -> bool:
        """Write vGPUs that hold nothing yet in one request; return False when Placement refuses it."""
        body: dict[str, Any] = {}
        for order in orders:
            body |= _body(order, {})
        try:
            self._post(orders, body)
        except (errors.Conflict, errors.Invalid):
            return False
        return True

    def _write_none(self, orders: Sequence[Order]) -> bool:
        """Remove allocations of vGPUs in one request; return False when they are not of generation 1."""
        body: dict[str, Any] = {}
        for order in orders:
            entries = _body(order, {grant.vgpu_id: 1 for grant in order.grants})
            body |= {vgpu_id: {**entry, "allocations": {}} for vgpu_id, entry in entries.items()}
        try:
            self._post(orders, body)
        except (errors.Conflict, errors.Invalid):
            return False
        return True

    def _write(self, order: Order, generations: Mapping[str, int | None]) -> None:
        """Write an order in one request; a vGPU without generation must not be known yet."""
        self._send({grant.share.device_id for grant in order.grants}, _body(order, generations))

    def _send(self, device_ids: Collection[str], body: Mapping[str, Any]) -> None:
        """Write allocations on some devices in one request; NoCapacity when one of these has no room."""
        try:
            with self._granting(device_ids):
                self._client.set_allocations(body)
        except ConcurrentUpdate:
            raise
        except errors.Conflict as exc:
            raise NoCapacity(exc.message) from exc
        except errors.Invalid as exc:
            raise self._missing(device_ids) or exc from exc

    def _write_move(
        self,
        move: Move,
        held: Allocation,
        of_vgpu: Share,
        of_move: Share | None,
        generation: int | None,
    ) -> None:
        """Write what both consumers of a move hold from now on; ``generation`` is that of the move's."""
        owner = {"project_id": held.project_id, "user_id": held.user_id}
        body = {
            move.vgpu_id: {
                **owner,
                "allocations": _allocations(of_vgpu),
                "consumer_type": names.CONSUMER_TYPE,
                "consumer_generation": held.generation,
            },
            move.id: {
                **owner,
                "allocations": {} if of_move is None else _allocations(of_move),
                "consumer_type": names.MOVE_TYPE,
                "consumer_generation": generation,
            },
        }
        shares = (move.source, move.target)
        self._send({share.device_id for share in shares}, body)

    def _post(self, orders: Sequence[Order], body: Mapping[str, Any]) -> None:
        with self._granting({grant.share.device_id for order in orders for grant in order.grants}):
            self._client.set_allocations(body)

    def _missing(self, ids: Collection[str]) -> NoCapacity | None:
        """Return an error that names those of the devices that Placement does not have."""
        devices = sorted(ids)
        gone = [device for device in devices if self._client.get_provider(device) is None]
        return NoCapacity(f"not in Placement: device {', '.join(gone)}") if gone else None

    def _held(self, order: Order) -> dict[str, int]:
        """Return the consumer generations of the vGPUs that hold what is granted already."""
        found = {}
        for grant in order.grants:
            held = self._client.get_allocation(grant.vgpu_id)
            if held is None:
                continue
            if held.resources != grant.resources() or held.project_id != order.project_id:
                raise errors.Conflict(f"vGPU {grant.vgpu_id} holds another allocation already")
            found[grant.vgpu_id] = held.generation
        return found


def _halving(
    orders: Sequence[Order],
    together: Callable[[Sequence[Order]], bool],
    alone: Callable[[Order], None],
) -> dict[str, errors.GpupoolError]:
    """Do with ``orders`` what ``together`` does, in halves where it says no, with the last ``alone``.

    Return by key why some were not done. What comes after an Unavailable is not tried any more.
    """
    try:
        if len(orders) > 1 and together(orders):
            return {}
    except errors.Unavailable as exc:
        return {order.key: exc for order in orders}
    if len(orders) <= 1:
        return _alone(orders, alone)
    middle = len(orders) // 2
    failed = _halving(orders[:middle], together, alone)
    lost = next((exc for exc in failed.values() if isinstance(exc, errors.Unavailable)), None)
    if lost is not None:
        return {**failed, **{order.key: lost for order in orders[middle:]}}
    return {**failed, **_halving(orders[middle:], together, alone)}


def _alone(orders: Sequence[Order], alone: Callable[[Order], None]) -> dict[str, errors.GpupoolError]:
    failed: dict[str, errors.GpupoolError] = {}
    for order in orders:
        try:
            alone(order)
        except errors.GpupoolError as exc:
            failed[order.key] = exc
    return failed


def _body(order: Order, generations: Mapping[str, int | None]) -> dict[str, Any]:
    """Return the part of a ``POST /allocations`` body that is about ``order``."""
    return {
        grant.vgpu_id: {
            "allocations": _allocations(grant.share),
            "project_id": order.project_id,
            "user_id": order.user_id,
            "consumer_type": names.CONSUMER_TYPE,
            "consumer_generation": generations.get(grant.vgpu_id),
        }
        for grant in order.grants
    }


def _allocations(share: Share) -> dict[str, Any]:
    return {device: {"resources": amounts} for device, amounts in resources(share).items()}


def _holds(held: Allocation | None, share: Share) -> bool:
    """Return whether an allocation is just a share."""
    return held is not None and held.resources == resources(share)
