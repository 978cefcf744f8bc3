"""What a host should have, and nothing else should it have (D2)."""

from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

from gpupool.db import attachments, claims, devices, vgpus
from gpupool.model.attachment import Attachment
from gpupool.model.host import Host
from gpupool.model.report import AttachmentSpec, DesiredState, VgpuSpec
from gpupool.model.states import AttachmentState, ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu

# Not `allocating`: Placement has not agreed yet.
WANTED = frozenset({ClaimState.BINDING, ClaimState.BOUND})


def desired_state(session: Session, host: Host) -> DesiredState:
    """Return the desired state of ``host``, whose row the caller locked in this transaction."""
    keys = {device.id: device.key for device in devices.list_(session, {"host_id": host.id})}
    held = vgpus.list_(session, {"host_id": host.id})
    return desired_of(session, host, keys, held, attachments.list_(session, {"host_id": host.id}))


def desired_of(
    session: Session,
    host: Host,
    keys: Mapping[str, str],
    held: Iterable[Vgpu],
    attached: Iterable[Attachment],
) -> DesiredState:
    """Return the desired state of ``host`` from its device keys by id, its vGPUs and attachments."""
    wanted = _wanted_vgpus(session, held)
    return DesiredState(
        host=host.name,
        generation=host.generation,
        vgpus=tuple(_vgpu_spec(vgpu, keys[vgpu.device_id]) for vgpu in wanted),
        attachments=_attachment_specs(attached, wanted),
    )


def _wanted_vgpus(session: Session, held: Iterable[Vgpu]) -> list[Vgpu]:
    # One without generation is prepared for a move only.
    staying = [vgpu for vgpu in held if vgpu.state != VgpuState.REMOVING and vgpu.generation]
    if not staying:
        return []
    ids = {vgpu.claim_id for vgpu in staying}
    wanted = {claim.id for claim in claims.list_(session, {"id": ids, "state": WANTED})}
    staying.sort(key=lambda vgpu: (vgpu.claim_id, vgpu.index))
    return [vgpu for vgpu in staying if vgpu.claim_id in wanted]


def _vgpu_spec(vgpu: Vgpu, device_key: str) -> VgpuSpec:
    return VgpuSpec(
        id=vgpu.id,
        claim_id=vgpu.claim_id,
        device_key=device_key,
        compute=vgpu.compute,
        memory_mib=vgpu.memory_mib,
        generation=vgpu.generation,
    )


def _attachment_specs(
    attached: Iterable[Attachment], wanted: Iterable[Vgpu]
) -> tuple[AttachmentSpec, ...]:
    """Return the attachments of claims that have vGPUs here; ``wanted`` is in the claim's order."""
    of_claim: dict[str, list[str]] = {}
    for vgpu in wanted:
        of_claim.setdefault(vgpu.claim_id, []).append(vgpu.id)
    return tuple(
        AttachmentSpec(
            id=attachment.id,
            claim_id=attachment.claim_id,
            kind=attachment.kind,
            ticket=attachment.ticket,
            vgpu_ids=tuple(of_claim[attachment.claim_id]),
            generation=attachment.generation,
        )
        for attachment in attached
        if attachment.state != AttachmentState.REMOVING and attachment.claim_id in of_claim
    )
