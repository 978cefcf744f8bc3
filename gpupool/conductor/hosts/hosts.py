"""Hosts: when they fall silent, and what the operator wants of them. Their reports: ``reports``."""

import logging

from gpupool.conductor.claims import health, resizing
from gpupool.conductor.hosts import admission
from gpupool.conductor.isolation import isolated
from gpupool.conductor.leader_notifier import LeaderNotifier
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.providers.outbox import Outbox
from gpupool.conductor.silence import Silence
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import attachments, claims, devices, hosts, pools, vgpus
from gpupool.model import errors
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.states import HostState

LOG = logging.getLogger(__name__)


class Hosts:
    """What the operator wants of hosts, and who has to follow that."""

    def __init__(
        self,
        transactions: Transactions,
        inventory: Inventory,
        outbox: Outbox,
        notifier: LeaderNotifier,
    ) -> None:
        self._transactions, self._inventory = transactions, inventory
        self._outbox, self._notifier = outbox, notifier

    def set_pool(self, host_id: str, pool_id: str) -> Host:
        """Return the host, moved to another pool; Conflict while vGPUs are on it."""
        return self._follow(self._transactions.commit(_set_pool, host_id, pool_id))

    def set_enabled(self, host_id: str, enabled: bool, reason: str) -> Host:
        """Return the host, which takes new vGPUs or not; those it has stay, with their programs."""
        return self._follow(self._transactions.commit(_set_enabled, host_id, enabled, reason))

    def _follow(self, host: Host) -> Host:
        """Let the host's providers and the queue follow a change of it; return it."""
        self._outbox.add([host.id])
        self._notifier.notify()
        return host

    def delete(self, host_id: str) -> None:
        """Forget a host and its devices; Conflict while it is up or holds a vGPU."""
        for device in self._transactions.commit(_removable, host_id):
            self._inventory.remove(device.id)
        self._transactions.commit(_delete, host_id)


def mark_silent(transactions: Transactions, silence: Silence) -> None:
    """Mark down every host that has not reported for ``[conductor] host_timeout`` seconds."""
    with transactions.reader() as session:
        up = hosts.up(session)
    by_id = {host.id: host for host in up}
    for host in (by_id[each] for each in silence.look({host.id: host.last_seen_at for host in up})):
        with isolated(f"host {host.name} is not marked down now"):
            transactions.commit(_mark_down, host)


def _mark_down(transaction: Transaction, judged: Host) -> None:
    session = transaction.session
    # Writing locks the row: a report that comes now waits, and marks it up again.
    host = hosts.update(session, judged.id)
    if host.state == HostState.UP and host.last_seen_at == judged.last_seen_at:
        LOG.warning("host %s is down: no report since %s", host.name, host.last_seen_at)
        hosts.revise(session, host.id, state=HostState.DOWN)
        health.write(transaction, host.id)


def _set_pool(transaction: Transaction, host_id: str, pool_id: str) -> Host:
    session = transaction.session
    pools.hold(session, pool_id)
    host = hosts.update(session, host_id)
    if host.pool_id == pool_id:
        return host
    host = hosts.revise(session, host_id, pool_id=pool_id)
    _check_empty(transaction, host)
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
