"""What a host reports of its devices."""

import logging

from gpupool.conductor.hosts import report_validation, traits
from gpupool.conductor.transaction import Transaction
from gpupool.db import devices
from gpupool.model import errors
from gpupool.model.device import Device, device_id
from gpupool.model.host import Host
from gpupool.model.report import DeviceReport, HostReport
from gpupool.model.states import DeviceHealth

LOG = logging.getLogger(__name__)


def write(transaction: Transaction, host: Host, report: HostReport) -> list[Device]:
    """Return the devices of the host, those too that it does not report any more."""
    session = transaction.session
    before = {device.id: device for device in devices.list_(session, {"host_id": host.id})}
    listed = [each.key for each in report.devices]
    report_validation.check_remembered(host.name, [device.key for device in before.values()], listed)
    owned = []
    reported = [_device(host, each) for each in report.devices]
    same = {each.id for each in reported if each.id in before and devices.same(before[each.id], each)}
    traits.note(transaction, host, (each for each in reported if each.id not in same))
    for device in reported:
        known = before.pop(device.id, None)
        if known is None or device.id not in same:
            known = devices.upsert(session, device)
            if known.host_id != host.id:
                raise errors.Conflict(f"device {host.name}/{device.key} is another host's")
            transaction.revise(host.id)
            transaction.wake_queue()
        owned.append(known)
    for device in before.values():
        gone = device
        if device.health != DeviceHealth.MISSING:
            LOG.warning("host %s reports device %s no longer", host.name, device.key)
            gone = devices.update(
                session,
                device.id,
                health=DeviceHealth.MISSING,
                health_reason="its host lists it no more",
            )
            transaction.revise(host.id)
        owned.append(gone)
    return owned


def _device(host: Host, report: DeviceReport) -> Device:
    # A Device has every field of its report by the same name.
    said = {**vars(report), "health_reason": report_validation.storable(report.health_reason)}
    return Device(id=device_id(host.name, report.key), host_id=host.id, **said)
