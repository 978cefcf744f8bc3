"""Devices: what the operator wants of them. What they are comes by reports, see ``hosts``."""

from gpupool.conductor.parts import Parts, Transaction
from gpupool.db import devices
from gpupool.model.device import Device


def set_enabled(parts: Parts, device_id: str, enabled: bool, reason: str) -> Device:
    """Return the device, which takes new vGPUs or not; those it has stay."""
    device = parts.commit(_set_enabled, device_id, enabled, reason)
    parts.left.add([device.host_id])
    parts.wake_queue()
    return device


def _set_enabled(transaction: Transaction, device_id: str, enabled: bool, reason: str) -> Device:
    why = "" if enabled else reason
    # First the host, as reports do.
    transaction.revise(devices.get(transaction.session, device_id).host_id)
    return devices.update(transaction.session, device_id, enabled=enabled, disabled_reason=why)
