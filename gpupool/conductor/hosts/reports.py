"""What a host reports goes into the database and Placement; what it should have is the answer (D2).

A report tells what is, not what changed, so one that comes twice or late changes nothing that a
newer one said of vGPUs and attachments: each carries the generation it was made for.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import orm

from gpupool.conductor.capacity import holds
from gpupool.conductor.claims import binding, health, resizing
from gpupool.conductor.claims.binding import Refusal
from gpupool.conductor.context import Parts
from gpupool.conductor.desired_state import desired_of, desired_states
from gpupool.conductor.hosts import report_validation, traits
from gpupool.conductor.hosts.report_cache import Reported, Said, Stale
from gpupool.conductor.hosts.sessions import write_ends
from gpupool.conductor.transaction import Transaction
from gpupool.conf import logs
from gpupool.db import attachments, devices, host_keys, hosts, sessions, times, vgpus
from gpupool.model import errors
from gpupool.model.attachment import Attachment
from gpupool.model.device import Device, device_id
from gpupool.model.host import Host
from gpupool.model.report import AttachmentReport, DesiredState, DeviceReport, HostReport, VgpuReport
from gpupool.model.session import Session
from gpupool.model.states import AttachmentState, DeviceHealth, HostState, VgpuState
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


def take(parts: Parts, report: HostReport, said: Said | None = None) -> Answer:
    """Write what a report says, of whose host the caller made sure; return what that should have.

    ``said`` is which of the signed reports it is: raises Stale unless it is the newest.
    """
    report_validation.check(report, parts.conf.conductor.max_device_memory_mib)
    taken = parts.commit(_write, report, parts, said)
    follows = taken.changed or parts.inventory.differs(taken.host, taken.owned)
    settled = not (taken.gone or follows)
    if not settled:
        parts.reported.forget(report.host)
        parts.left.add([taken.host.id] if follows else [], taken.gone)
        parts.wake_queue()
    return Answer(taken.host, taken.desired, settled)


def _write(transaction: Transaction, reported: HostReport, parts: Parts, said: Said | None) -> _Taken:
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
    host = _write_host(transaction, host, report, _applied(report, held), parts.reported)
    owned = _write_devices(transaction, host, report)
    changed = host.id in transaction.revised
    if changed or renewed:
        resizing.forget_refusals(transaction, host)
    if held and (changed or any(device.health != DeviceHealth.OK for device in owned)):
        health.write(transaction, host.id)
    refused = _write_vgpus(transaction, report, held)
    _take_refusals(transaction, host, refused, owned)
    attached = _write_attachments(transaction, host, report)
    _write_sessions(transaction, host, report, held, attached)
    ends = write_ends(transaction, host.id, report)
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


def _check_compute_node(session: orm.Session, host: Host, named: str) -> None:
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
    transaction: Transaction, host: Host, report: HostReport, applied: int, reported: Reported
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
    if not changes and not reported.is_due(host):
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


def _write_devices(transaction: Transaction, host: Host, report: HostReport) -> list[Device]:
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


def _write_vgpus(transaction: Transaction, report: HostReport, held: list[Vgpu]) -> dict[str, Refusal]:
    """Return by claim why a vGPU of it could not be made, or was lost."""
    seen = {each.id: each for each in report.vgpus}
    refused: dict[str, Refusal] = {}
    made: list[Vgpu] = []
    used: dict[str, tuple[int, int]] = {}
    for vgpu in held:
        each = seen.get(vgpu.id)
        if refusal := _why_not(vgpu, each, report.generation):
            first = refused.setdefault(vgpu.claim_id, refusal)
            if first is not refusal:
                ids = (*first.vgpu_ids, vgpu.id)
                refused[vgpu.claim_id] = replace(first, vgpu_ids=ids)
        elif each is not None and _is_news(vgpu, each):
            if vgpu.state == VgpuState.PLANNED:
                made.append(vgpu)
            # No more than it has, whatever the host says.
            said = min(each.memory_used_mib, vgpu.memory_mib), each.busy_ns
            if said != (vgpu.memory_used_mib, vgpu.busy_ns):
                used[vgpu.id] = said
    vgpus.write_usage(transaction.session, used)
    if made:
        vgpus.activate(transaction.session, [vgpu.id for vgpu in made])
        binding.bind_active(transaction, {vgpu.claim_id for vgpu in made} - refused.keys())
    return refused


def _is_news(vgpu: Vgpu, report: VgpuReport) -> bool:
    return report.generation >= vgpu.generation and vgpu.state != VgpuState.REMOVING


def _why_not(vgpu: Vgpu, report: VgpuReport | None, generation: int) -> Refusal | None:
    """Return why a host that converged to ``generation`` does not have a vGPU it should have."""
    if report is not None:
        if not report.error or not _is_news(vgpu, report):
            return None
        error = report_validation.storable(report.error)
        return Refusal(error, report.host_fault, vgpu.device_id, (vgpu.id,))
    # Without a generation the host was not told of it yet.
    told = vgpu.state == VgpuState.PLANNED and 0 < vgpu.generation <= generation
    error = f"it did not make vGPU {vgpu.id}"
    return Refusal(error, True, vgpu.device_id, (vgpu.id,)) if told else None


def _take_refusals(
    transaction: Transaction, host: Host, refused: dict[str, Refusal], owned: list[Device]
) -> None:
    """Queue the claims of refused vGPUs again, and hold the host unless only failed devices refused."""
    attempts = transaction.conf.conductor.binding_attempts
    for claim_id, refusal in refused.items():
        if not resizing.give_up_refused(transaction, claim_id, host.name, refusal):
            binding.refused(transaction, claim_id, host.name, refusal, attempts)
    working = {device.id for device in owned if device.health == DeviceHealth.OK}
    why = next((each.error for each in refused.values() if each.device_id in working), "")
    if why:
        changes = holds.hold(host, why, times.now(transaction.session))
        LOG.warning("host %s gets no new vGPUs until %s: %s", host.name, changes["held_until"], why)
        hosts.update(transaction.session, host.id, **changes)
        transaction.revise(host.id)


def _write_attachments(transaction: Transaction, host: Host, report: HostReport) -> list[Attachment]:
    """Return the attachments of the host."""
    seen = {each.id: each for each in report.attachments}
    attached = attachments.list_(transaction.session, {"host_id": host.id})
    for attachment in attached:
        each = seen.get(attachment.id)
        if attachment.state != AttachmentState.REMOVING:
            if each is not None and each.generation >= attachment.generation:
                _write_attachment(transaction, attachment, each)
        elif each is None and report.generation >= attachment.generation:
            attachments.delete(transaction.session, attachment.id)
    return attached


def _write_attachment(
    transaction: Transaction, attachment: Attachment, report: AttachmentReport
) -> None:
    state = AttachmentState.FAILED if report.error else AttachmentState.READY
    said = {
        "state_reason": report_validation.storable(report.error),
        "environment": report_validation.environment(attachment, report),
        "cdi_device": report.cdi_device,
    }
    if state != attachment.state:
        attachments.transition(transaction.session, attachment, state, **said)
    elif said != {name: getattr(attachment, name) for name in said}:
        attachments.update(transaction.session, attachment.id, **said)


def _write_sessions(
    transaction: Transaction,
    host: Host,
    report: HostReport,
    held: Sequence[Vgpu],
    attached: Sequence[Attachment],
) -> None:
    """Write the sessions of the host's own attachments; others would be shown to other projects.

    A host may list one whose attachment was just deleted here; it lists it no more when it has looked.
    """
    claim_of = {vgpu.id: vgpu.claim_id for vgpu in held}
    own = {attachment.id: attachment.claim_id for attachment in attached}
    seen = [
        Session(host_id=host.id, **vars(each))
        for each in report.sessions
        if each.attachment_id in own and own[each.attachment_id] == claim_of.get(each.vgpu_id)
    ]
    before = sessions.list_(transaction.session, {"host_id": host.id})
    if sorted(seen, key=lambda one: one.id) != sorted(before, key=lambda one: one.id):
        sessions.replace(transaction.session, host.id, seen)
