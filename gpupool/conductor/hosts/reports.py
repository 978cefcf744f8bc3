"""What a host reports goes into the database and Placement; what it should have is the answer (D2).

A report tells what is, not what changed, so one that comes twice or late changes nothing that a
newer one said of vGPUs and attachments: each carries the generation it was made for.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from gpupool.conductor.claims import health, resizing
from gpupool.conductor.desired_state import desired_of, desired_states
from gpupool.conductor.hosts import (
    report_validation,
    reported_attachments,
    reported_devices,
    reported_vgpus,
    sessions,
)
from gpupool.conductor.hosts.report_cache import ReportCache, Said, Stale
from gpupool.conductor.leader_notifier import LeaderNotifier
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.providers.outbox import Outbox
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.conf import logs
from gpupool.db import host_keys, hosts, times, vgpus
from gpupool.model import errors
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.report import DesiredState, HostReport
from gpupool.model.states import DeviceHealth, HostState, VgpuState
from gpupool.model.vgpu import Vgpu

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What became of a report: its host, what that should have, and whether nothing is left to do."""

    host: Host
    desired: DesiredState
    settled: bool


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """What a report left: the host and its devices as they are now, vGPUs that left it, the answer.

    ``changed`` when it said something new of the host or its devices.
    """

    host: Host
    owned: list[Device]
    changed: bool
    gone: list[Vgpu]
    desired: DesiredState


class Reports:
    """Takes reports, and notes what they leave to be done in Placement."""

    def __init__(
        self,
        transactions: Transactions,
        inventory: Inventory,
        cache: ReportCache,
        outbox: Outbox,
        notifier: LeaderNotifier,
    ) -> None:
        self._transactions, self._inventory, self._cache = transactions, inventory, cache
        self._outbox, self._notifier = outbox, notifier

    def take(self, report: HostReport, said: Said | None = None) -> Answer:
        """Write what a report says, of whose host the caller made sure; return what that should have.

        ``said`` is which of the signed reports it is: raises Stale unless it is the newest.
        """
        report_validation.check(report, self._transactions.conf.conductor.max_device_memory_mib)
        taken = self._transactions.commit(_write, report, self._cache, said)
        follows = taken.changed or self._inventory.differs(taken.host, taken.owned)
        settled = not (taken.gone or follows)
        if not settled:
            self._cache.forget(report.host)
            self._outbox.add([taken.host.id] if follows else [], taken.gone)
            self._notifier.notify()
        return Answer(taken.host, taken.desired, settled)


def _write(
    transaction: Transaction, reported: HostReport, cache: ReportCache, said: Said | None
) -> _Taken:
    session = transaction.session
    host = hosts.hold(session, reported.host)
    if host is None:
        raise errors.NotFound(f"host {reported.host} was deleted")
    if said and not host_keys.advance(session, said.key, said.sequence, said.digest):
        raise Stale
    if said and _is_beyond(host, reported):
        host = _renew(transaction, host, reported)
    _check_compute_node(session, host, _compute_node(reported))
    report = replace(reported, generation=_converged_to(host, reported))
    renewed = host.agent_version != report.agent_version
    held = vgpus.list_(session, {"host_id": host.id})
    host = _write_host(transaction, host, report, _applied(report, held), cache)
    owned = reported_devices.write(transaction, host, report)
    changed = host.id in transaction.revised
    if changed or renewed:
        resizing.forget_refusals(transaction, host)
    if held and (changed or any(device.health != DeviceHealth.OK for device in owned)):
        health.write(transaction, host.id)
    refused = reported_vgpus.write(transaction, report, held)
    reported_vgpus.take_refusals(transaction, host, refused, owned)
    attached = reported_attachments.write(transaction, host, report)
    sessions.write(transaction, host, report, held, attached)
    ends = sessions.write_ends(transaction, host.id, report)
    if refused or host.id in transaction.revised:
        host = hosts.get(session, host.id)
    if refused:
        (desired,) = desired_states(session, [host.id])
    else:
        keys = {device.id: device.key for device in owned}
        (desired,) = desired_of(session, [host], keys, held, attached, ends=ends)
    gone = _gone(report, held)
    return _Taken(host=host, owned=owned, changed=changed, gone=gone, desired=desired)


def _gone(report: HostReport, held: list[Vgpu]) -> list[Vgpu]:
    """Return the vGPUs that were to leave the host and have."""
    listed = {each.id for each in report.vgpus}
    return [
        vgpu
        for vgpu in held
        if vgpu.state == VgpuState.REMOVING
        and vgpu.generation <= report.generation
        and vgpu.id not in listed
    ]


def _compute_node(report: HostReport) -> str:
    """Return the name of the compute node that a host names, its own where it names none."""
    return report.hypervisor_hostname or report.host


def _check_compute_node(session: Session, host: Host, named: str) -> None:
    """Raise Invalid when a host would have its devices put below another host's compute node.

    What is no gpupool host may be one all the same, so the first name after the admission stays.
    """
    if named != host.name and hosts.list_(session, {"name": named}):
        raise errors.Invalid(
            f"hypervisor_hostname is '{named}', which is another host; allowed: that of host "
            f"{host.name} itself"
        )
    if host.compute_node not in (None, named):
        raise errors.Invalid(
            f"hypervisor_hostname is '{named}'; allowed: {host.compute_node}, which host {host.name} "
            "named when it was admitted; an operator who admits it again allows another"
        )


def _is_beyond(host: Host, report: HostReport) -> bool:
    """Return whether a host names a generation that the database never gave."""
    return report.incarnation == host.incarnation and report.generation > host.generation


def _renew(transaction: Transaction, host: Host, report: HostReport) -> Host:
    """Start a new incarnation of the host's generations: the database was restored, or the host lies."""
    LOG.warning(
        "host %s reports generation %d, of %d; they are counted anew",
        *(host.name, report.generation, host.generation),
        extra=logs.alike("generation", host.name),
    )
    fresh = str(uuid.uuid4())
    return hosts.revise(transaction.session, host.id, incarnation=fresh, applied_generation=0)


def _converged_to(host: Host, report: HostReport) -> int:
    """Return the generation that ``report`` counts for: none of another incarnation, or beyond."""
    known = report.incarnation == host.incarnation and report.generation <= host.generation
    return report.generation if known else 0


def _applied(report: HostReport, held: Sequence[Vgpu]) -> int:
    """Return which generation a host has applied: none with a change of which its vGPUs show nothing."""
    seen = {each.id: each.generation for each in report.vgpus}
    without = [
        vgpu.generation
        for vgpu in held
        if vgpu.id in seen
        and (
            vgpu.state == VgpuState.REMOVING
            or (vgpu.state == VgpuState.PLANNED and seen[vgpu.id] < vgpu.generation)
        )
    ]
    return min([report.generation, *(generation - 1 for generation in without)])


def _write_host(
    transaction: Transaction, host: Host, report: HostReport, applied: int, cache: ReportCache
) -> Host:
    room = {
        "state": HostState.UP,
        "cpu_milli": report.cpu_milli,
        "memory_mib": report.memory_mib,
        "unable_reason": report_validation.storable(report.unable_reason),
    }
    said = {
        **room,
        "agent_version": report.agent_version,
        "applied_generation": max(host.applied_generation, applied),
        "compute_node": _compute_node(report),
        "report_error": "",
        "simulated": bool(report.devices) and all(each.simulated for each in report.devices),
    }
    changes = {name: value for name, value in said.items() if getattr(host, name) != value}
    if not changes and not cache.is_due(host):
        return host
    if host.state == HostState.DOWN:
        LOG.info("host %s is up%s", host.name, " again" if host.last_seen_at else "")
        transaction.wake_queue()
    if "unable_reason" in changes:
        _log_unable(host.name, report.unable_reason)
        transaction.wake_queue()
    if changes.keys() & room:
        transaction.revise(host.id)
    now = times.now(transaction.session)
    return hosts.update(transaction.session, host.id, last_seen_at=now, **changes)


def _log_unable(name: str, why: str) -> None:
    if why:
        why = report_validation.storable(why)
        LOG.warning("host %s takes no new vGPUs: %s", name, why, extra=logs.alike("unable", name))
    else:
        LOG.info("host %s takes new vGPUs again", name)
