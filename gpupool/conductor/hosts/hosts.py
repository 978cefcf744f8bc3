"""Hosts: when they fall silent, and what the operator wants of them. Their reports: ``reports``."""

import logging

from gpupool.conductor.claims import health, resizing
from gpupool.conductor.context import Parts
from gpupool.conductor.hosts import admission
from gpupool.conductor.isolation import isolated
from gpupool.conductor.silence import Silence
from gpupool.conductor.transaction import Transaction
from gpupool.db import attachments, claims, devices, hosts, pools, vgpus
from gpupool.model import errors
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.states import HostState

LOG = logging.getLogger(__name__)


def mark_silent(parts: Parts, silence: Silence) -> None:
    """Mark down every host that has not reported for ``[conductor] host_timeout`` seconds."""
    with parts.database.reader() as session:
        up = hosts.up(session)
    by_id = {host.id: host for host in up}
    for host in (by_id[each] for each in silence.look({host.id: host.last_seen_at for host in up})):
        with isolated(f"host {host.name} is not marked down now"):
            parts.commit(_mark_down, host)


def _mark_down(transaction: Transaction, judged: Host) -> None:
    session = transaction.session
    # Writing locks the row: a report that comes now waits, and marks it up again.
    host = hosts.update(session, judged.id)
    if host.state == HostState.UP and host.last_seen_at == judged.last_seen_at:
        LOG.warning("host %s is down: no report since %s", host.name, host.last_seen_at)
        hosts.revise(session, host.id, state=HostState.DOWN)
        health.write(transaction, host.id)


def set_pool(parts: Parts, host_id: str, pool_id: str) -> Host:
    """Return the host, moved to another pool; Conflict while vGPUs are on it."""
    host = parts.commit(_set_pool, host_id, pool_id)
    parts.left.add([host.id])
    parts.wake_queue()
    return host


def _set_pool(transaction: Transaction, host_id: str, pool_id: str) -> Host:
    session = transaction.session
    pools.hold(session, pool_id)
    host = hosts.update(session, host_id)
    if host.pool_id == pool_id:
        return host
    host = hosts.revise(session, host_id, pool_id=pool_id)
    _check_empty(transaction, host)
    return host


def set_enabled(parts: Parts, host_id: str, enabled: bool, reason: str) -> Host:
    """Return the host, which takes new vGPUs or not; those it has stay, with their programs."""
    host = parts.commit(_set_enabled, host_id, enabled, reason)
    parts.left.add([host.id])
    parts.wake_queue()
    return host


def _set_enabled(transaction: Transaction, host_id: str, enabled: bool, reason: str) -> Host:
    why = "" if enabled else reason
    host = hosts.revise(transaction.session, host_id, enabled=enabled, disabled_reason=why)
    resizing.forget_refusals(transaction, host)
    return host


def _check_empty(transaction: Transaction, host: Host) -> None:
    held = len(vgpus.list_(transaction.session, {"host_id": host.id}))
    if held:
        raise errors.Conflict(f"host {host.name} still has {held} vGPUs")
    programs = claims.list_(transaction.session, {"program_host_id": host.id})
    if programs:
        raise errors.Conflict(f"host {host.name} still has the programs of {len(programs)} claims")


def delete(parts: Parts, host_id: str) -> None:
    """Forget a host and its devices; Conflict while it is up or holds a vGPU."""
    for device in parts.commit(_removable, host_id):
        parts.inventory.remove(device.id)
    parts.commit(_delete, host_id)


def _removable(transaction: Transaction, host_id: str) -> list[Device]:
    """Return the devices of a host that may be deleted."""
    host = hosts.update(transaction.session, host_id)
    if host.state == HostState.UP:
        raise errors.Conflict(
            f"host {host.name} is {host.state}; stop its agent and wait until it is down"
        )
    _check_empty(transaction, host)
    return devices.list_(transaction.session, {"host_id": host_id})


def _delete(transaction: Transaction, host_id: str) -> None:
    _removable(transaction, host_id)
    admission.forget(transaction.session, hosts.get(transaction.session, host_id).name)
    for attachment in attachments.list_(transaction.session, {"host_id": host_id}):
        attachments.delete(transaction.session, attachment.id)
    hosts.delete(transaction.session, host_id)
