"""Devices: what the operator wants of them. What they are comes by reports, see ``hosts``."""

import logging

from gpupool.conductor.parts import Parts, Transaction
from gpupool.db import devices, hosts
from gpupool.model import errors
from gpupool.model.device import Device
from gpupool.model.host import Host

LOG = logging.getLogger(__name__)


def set_enabled(parts: Parts, device_id: str, enabled: bool, reason: str) -> Device:
    """Return the device, which takes new vGPUs or not; those it has stay."""
    host, device = parts.commit(_set_enabled, device_id, enabled, reason)
    try:
        parts.inventory.follow(host, [device])
    except errors.Unavailable as exc:
        LOG.warning("device %s: written to Placement later: %s", device_id, exc)
    return device


def _set_enabled(
    transaction: Transaction, device_id: str, enabled: bool, reason: str
) -> tuple[Host, Device]:
    device = devices.update(
        transaction.session, device_id, enabled=enabled, disabled_reason="" if enabled else reason
    )
    if enabled:
        transaction.wake_queue()
    return hosts.get(transaction.session, device.host_id), device
