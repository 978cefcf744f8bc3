"""What a host reports of the vGPUs that it should have, and what becomes of those that it refuses."""

import logging
from dataclasses import replace

from gpupool.conductor.capacity import holds
from gpupool.conductor.claims import binding, refusals, resizing
from gpupool.conductor.claims.refusals import Refusal
from gpupool.conductor.hosts import report_validation
from gpupool.conductor.transaction import Transaction
from gpupool.db import hosts, times, vgpus
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.report import HostReport, VgpuReport
from gpupool.model.states import DeviceHealth, VgpuState
from gpupool.model.vgpu import Vgpu

LOG = logging.getLogger(__name__)


def write(transaction: Transaction, report: HostReport, held: list[Vgpu]) -> dict[str, Refusal]:
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


def take_refusals(
    transaction: Transaction, host: Host, refused: dict[str, Refusal], owned: list[Device]
) -> None:
    """Queue the claims of refused vGPUs again, and hold the host unless only failed devices refused."""
    attempts = transaction.conf.conductor.binding_attempts
    for claim_id, refusal in refused.items():
        if not resizing.give_up_refused(transaction, claim_id, host.name, refusal):
            refusals.take_apart(transaction, claim_id, host.name, refusal, attempts)
    working = {device.id for device in owned if device.health == DeviceHealth.OK}
    why = next((each.error for each in refused.values() if each.device_id in working), "")
    if why:
        changes = holds.hold(host, why, times.now(transaction.session))
        LOG.warning("host %s gets no new vGPUs until %s: %s", host.name, changes["held_until"], why)
        hosts.update(transaction.session, host.id, **changes)
        transaction.revise(host.id)
