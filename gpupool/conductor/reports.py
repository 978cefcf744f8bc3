"""What a host reports goes into the database and Placement; what it should have is the answer (D2).

A report tells what is, not what changed, so one that comes twice or late changes nothing that a
newer one said of vGPUs and attachments: each carries the generation it was made for.
"""

import logging
import uuid

from oslo_utils import timeutils

from gpupool.conductor import binding, health, report_checks, requests
from gpupool.conductor.desired import desired_state
from gpupool.conductor.parts import Parts, Transaction
from gpupool.db import attachments, devices, hosts, sessions, vgpus
from gpupool.model import errors
from gpupool.model.attachment import Attachment
from gpupool.model.device import Device, device_id
from gpupool.model.host import Host
from gpupool.model.report import AttachmentReport, DesiredState, DeviceReport, HostReport, VgpuReport
from gpupool.model.session import Session
from gpupool.model.states import AttachmentState, DeviceHealth, HostState, VgpuState
from gpupool.model.vgpu import Vgpu

LOG = logging.getLogger(__name__)


def take(parts: Parts, report: HostReport) -> DesiredState:
    """Write what ``report`` says and return what its host should have."""
    report_checks.check(report)
    host, owned, gone = parts.commit(_write, report, parts.conf.conductor.binding_attempts)
    parts.inventory.heard(host, report.hypervisor_hostname or host.name)
    if gone or parts.inventory.differs(host, owned):
        parts.left.add(host.id, gone)
        parts.wake_queue()
    with parts.database.reader() as session:
        return desired_state(session, hosts.get(session, host.id))


def _write(
    transaction: Transaction, report: HostReport, attempts: int
) -> tuple[Host, list[Device], list[Vgpu]]:
    """Return the host, its devices, the vGPUs that left it; ``attempts`` as for binding.refused."""
    host = _write_host(transaction, report)
    _write_devices(transaction, host, report)
    held = vgpus.list_(transaction.session, {"host_id": host.id})
    if held:
        health.write(transaction, host.id)
    refused = _write_vgpus(transaction, report, held)
    for claim_id, error in refused.items():
        binding.refused(transaction, claim_id, host.name, error, attempts)
    _write_attachments(transaction, host, report)
    _write_sessions(transaction, host, report)
    listed = {each.id for each in report.vgpus}
    gone = [
        vgpu
        for vgpu in held
        if vgpu.state == VgpuState.REMOVING
        and vgpu.generation <= report.generation
        and vgpu.id not in listed
    ]
    return host, devices.list_(transaction.session, {"host_id": host.id}), gone


def _write_host(transaction: Transaction, report: HostReport) -> Host:
    session = transaction.session
    host = _find_or_create(transaction, report)
    changes = {
        "last_seen_at": timeutils.utcnow(),
        "agent_version": report.agent_version,
        "applied_generation": max(host.applied_generation, report.generation),
        "simulated": bool(report.devices) and all(each.simulated for each in report.devices),
    }
    if report.generation > host.generation:
        # This host was here before and was forgotten: its agent must see its generation grow.
        changes["generation"] = report.generation
    if host.state == HostState.DOWN:
        LOG.info("host %s is up again", host.name)
        transaction.wake_queue()
    room = {"state": HostState.UP, "cpu_milli": report.cpu_milli, "memory_mib": report.memory_mib}
    if any(getattr(host, name) != value for name, value in room.items()):
        transaction.revise(host.id)
    return hosts.update(session, host.id, **changes, **room)


def _find_or_create(transaction: Transaction, report: HostReport) -> Host:
    session = transaction.session
    try:
        return hosts.get_by_name(session, report.host)
    except errors.NotFound:
        pool = requests.find_pool(session, report.pool)
    LOG.info("host %s joins pool %s", report.host, pool.name)
    transaction.wake_queue()
    host = Host(id=str(uuid.uuid4()), name=report.host, pool_id=pool.id, state=HostState.UP)
    return hosts.create(session, host)


def _write_devices(transaction: Transaction, host: Host, report: HostReport) -> None:
    session = transaction.session
    before = {device.id: device for device in devices.list_(session, {"host_id": host.id})}
    for each in report.devices:
        after = devices.upsert(session, _device(host, each))
        if after != before.pop(after.id, None):
            transaction.revise(host.id)
            transaction.wake_queue()
    for device in before.values():
        if device.health != DeviceHealth.MISSING:
            LOG.warning("host %s reports device %s no longer", host.name, device.key)
            devices.update(session, device.id, health=DeviceHealth.MISSING)
            transaction.revise(host.id)


def _device(host: Host, report: DeviceReport) -> Device:
    # A Device has every field of its report by the same name.
    return Device(id=device_id(host.name, report.key), host_id=host.id, **vars(report))


def _write_vgpus(transaction: Transaction, report: HostReport, held: list[Vgpu]) -> dict[str, str]:
    """Return by claim why a vGPU of it could not be made, or was lost."""
    seen = {each.id: each for each in report.vgpus}
    refused: dict[str, str] = {}
    made = set()
    for vgpu in held:
        each = seen.get(vgpu.id)
        if error := _why_not(vgpu, each, report.generation):
            refused.setdefault(vgpu.claim_id, error)
        elif each is not None and _is_news(vgpu, each):
            _write_vgpu(transaction, vgpu, each)
            made.add(vgpu.claim_id)
    for claim_id in made - set(refused):
        binding.bind_if_active(transaction, claim_id)
    return refused


def _is_news(vgpu: Vgpu, report: VgpuReport) -> bool:
    return report.generation >= vgpu.generation and vgpu.state != VgpuState.REMOVING


def _why_not(vgpu: Vgpu, report: VgpuReport | None, generation: int) -> str:
    """Return why a host that converged to ``generation`` does not have a vGPU it should have."""
    if report is not None:
        return report_checks.storable(report.error) if _is_news(vgpu, report) else ""
    # Without a generation the host was not told of it yet.
    told = vgpu.state == VgpuState.PLANNED and 0 < vgpu.generation <= generation
    return f"it did not make vGPU {vgpu.id}" if told else ""


def _write_vgpu(transaction: Transaction, vgpu: Vgpu, report: VgpuReport) -> None:
    usage = {"memory_used_mib": report.memory_used_mib, "busy_ns": report.busy_ns}
    if vgpu.state == VgpuState.PLANNED:
        vgpus.transition(transaction.session, vgpu, VgpuState.ACTIVE, **usage)
    elif usage != {"memory_used_mib": vgpu.memory_used_mib, "busy_ns": vgpu.busy_ns}:
        vgpus.update(transaction.session, vgpu.id, **usage)


def _write_attachments(transaction: Transaction, host: Host, report: HostReport) -> None:
    seen = {each.id: each for each in report.attachments}
    for attachment in attachments.list_(transaction.session, {"host_id": host.id}):
        each = seen.get(attachment.id)
        if attachment.state != AttachmentState.REMOVING:
            if each is not None and each.generation >= attachment.generation:
                _write_attachment(transaction, attachment, each)
        elif each is None and report.generation >= attachment.generation:
            attachments.delete(transaction.session, attachment.id)


def _write_attachment(
    transaction: Transaction, attachment: Attachment, report: AttachmentReport
) -> None:
    state = AttachmentState.FAILED if report.error else AttachmentState.READY
    said = {
        "state_reason": report_checks.storable(report.error),
        "environment": dict(report.environment),
        "cdi_device": report.cdi_device,
    }
    if state != attachment.state:
        attachments.transition(transaction.session, attachment, state, **said)
    elif said != {name: getattr(attachment, name) for name in said}:
        attachments.update(transaction.session, attachment.id, **said)


def _write_sessions(transaction: Transaction, host: Host, report: HostReport) -> None:
    seen = [Session(host_id=host.id, **vars(each)) for each in report.sessions]
    before = sessions.list_(transaction.session, {"host_id": host.id})
    if sorted(seen, key=lambda one: one.id) != sorted(before, key=lambda one: one.id):
        sessions.replace(transaction.session, host.id, seen)
