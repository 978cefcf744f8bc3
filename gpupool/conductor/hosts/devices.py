"""Devices: what the operator wants of them. What they are comes by reports, see ``reports``."""

from gpupool.conductor.claims import resizing
from gpupool.conductor.leader_notifier import LeaderNotifier
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.providers.outbox import Outbox
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import devices, hosts, moves, vgpus
from gpupool.model import errors
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.states import DeviceHealth, HostState


class Devices:
    """What the operator wants of devices, and who has to follow that."""

    def __init__(
        self,
        transactions: Transactions,
        inventory: Inventory,
        outbox: Outbox,
        notifier: LeaderNotifier,
    ) -> None:
        self._transactions, self._inventory = transactions, inventory
        self._outbox, self._notifier = outbox, notifier

    def set_enabled(self, device_id: str, enabled: bool, reason: str) -> Device:
        """Return the device, which takes new vGPUs or not; those it has stay."""
        device = self._transactions.commit(_set_enabled, device_id, enabled, reason)
        self._outbox.add([device.host_id])
        self._notifier.notify()
        return device

    def delete(self, device_id: str) -> None:
        """Forget a device that its host reports no more, and that holds nothing; else Conflict.

        Its provider goes first: where others hold some of it Placement refuses. Left in between, the
        device is still there to be deleted again. A host that reports it meanwhile keeps it: its
        provider is made again by the reconciler.
        """
        self._transactions.commit(_removable, device_id)
        self._inventory.remove(device_id)
        self._transactions.commit(_delete, device_id)
        self._notifier.notify()


def _set_enabled(transaction: Transaction, device_id: str, enabled: bool, reason: str) -> Device:
    why = "" if enabled else reason
    # First the host, as reports do.
    host_id = devices.get(transaction.session, device_id).host_id
    transaction.revise(host_id)
    resizing.forget_refusals(transaction, hosts.get(transaction.session, host_id))
    return devices.update(transaction.session, device_id, enabled=enabled, disabled_reason=why)


def _removable(transaction: Transaction, device_id: str) -> Device:
    """Return the device if it may be deleted. Its host stays locked: a report that comes now waits."""
    session = transaction.session
    (host,) = transaction.hold([devices.get(session, device_id).host_id]).values()
    device = devices.get(session, device_id)
    if device.health != DeviceHealth.MISSING:
        raise errors.Conflict(f"device {host.name}/{device.key} is {device.health}: {_advice(host)}")
    if held := len(vgpus.list_(session, {"device_id": device_id})):
        raise errors.Conflict(f"device {host.name}/{device.key} still holds {held} vGPUs")
    if moves.consumers(session, device_id):
        raise errors.Conflict(f"device {host.name}/{device.key} is left by a vGPU, or about to get one")
    return device


def _advice(host: Host) -> str:
    """Return why a device that is not missing is not deleted, and what an operator can do."""
    if host.state == HostState.UP:
        return (
            "its host still reports it, and would again; delete it once the host does not, or disable "
            "it to keep it from taking new vGPUs"
        )
    why = host.unable_reason or "no report"
    return f"its host {host.name} is {host.state} ({why}) and had it last; delete the host instead"


def _delete(transaction: Transaction, device_id: str) -> None:
    transaction.revise(_removable(transaction, device_id).host_id)
    devices.delete(transaction.session, device_id)
