"""Allocations of vGPUs: the ledger of what is granted (D1)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from gpupool.model import errors
from gpupool.placement import names
from gpupool.placement.allocation import Allocation, Grant, Order
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
        try:
            self._post([order], _body(order, generations))
        except ConcurrentUpdate:
            raise
        except errors.Conflict as exc:
            raise NoCapacity(exc.message) from exc
        except errors.Invalid as exc:
            raise self._missing(order.grants) or exc from exc

    def _post(self, orders: Sequence[Order], body: Mapping[str, Any]) -> None:
        with self._granting({grant.share.device_id for order in orders for grant in order.grants}):
            self._client.set_allocations(body)

    def _missing(self, grants: Sequence[Grant]) -> NoCapacity | None:
        """Return an error that names the devices of ``grants`` that Placement does not have."""
        devices = sorted({grant.share.device_id for grant in grants})
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
            "allocations": {
                provider: {"resources": amounts} for provider, amounts in grant.resources().items()
            },
            "project_id": order.project_id,
            "user_id": order.user_id,
            "consumer_type": names.CONSUMER_TYPE,
            "consumer_generation": generations.get(grant.vgpu_id),
        }
        for grant in order.grants
    }
