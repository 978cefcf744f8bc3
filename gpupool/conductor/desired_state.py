"""What a host should have, and nothing else should it have (D2)."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy.orm import Session

from gpupool.db import attachments, claims, devices, hosts, session_ends, vgpus
from gpupool.model.attachment import Attachment
from gpupool.model.host import Host
from gpupool.model.report import AttachmentSpec, DesiredState, VgpuSpec
from gpupool.model.session import SessionEnd
from gpupool.model.states import AttachmentState, ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu

# Not `allocating`: Placement has not agreed yet.
WANTED = frozenset({ClaimState.BINDING, ClaimState.BOUND})


def desired_states(session: Session, host_ids: Collection[str]) -> list[DesiredState]:
    """Return what hosts, whose rows the caller locked in this transaction, should have."""
    if not host_ids:
        return []
    held = vgpus.list_(session, {"host_id": host_ids})
    keys = devices.keys(session, {vgpu.device_id for vgpu in held})
    attached = attachments.list_(session, {"host_id": host_ids})
    ends = session_ends.list_(session, {"host_id": host_ids})
    return desired_of(session, hosts.list_(session, {"id": host_ids}), keys, held, attached, ends=ends)


def desired_of(
    session: Session,
    of: Iterable[Host],
    keys: Mapping[str, str],
    held: Iterable[Vgpu],
    attached: Iterable[Attachment],
    *,
    ends: Iterable[SessionEnd],
) -> list[DesiredState]:
    """Return what hosts, in their order, should have, from all their vGPUs and attachments.

    ``keys`` are those of the devices of the vGPUs, by id; ``ends`` the sessions that are to end.
    """
    wanted, bound_to, ended = defaultdict(list), defaultdict(list), defaultdict(list)
    for vgpu, terms in _wanted_vgpus(session, held):
        wanted[vgpu.host_id].append((vgpu, terms))
    for attachment in attached:
        bound_to[attachment.host_id].append(attachment)
    for end in ends:
        ended[end.host_id].append(end.id)
    return [
        DesiredState(
            host=host.name,
            generation=host.generation,
            incarnation=host.incarnation,
            vgpus=tuple(
                _vgpu_spec(vgpu, keys[vgpu.device_id], *terms) for vgpu, terms in wanted[host.id]
            ),
            attachments=_attachment_specs(bound_to[host.id], [vgpu for vgpu, _ in wanted[host.id]]),
            ended_sessions=tuple(sorted(ended[host.id])),
        )
        for host in of
    ]


def _wanted_vgpus(session: Session, held: Iterable[Vgpu]) -> list[tuple[Vgpu, tuple[str, int]]]:
    """Return the vGPUs that hosts should have, each with its project and how many sessions it has."""
    # One without generation is prepared for a move only.
    staying = [vgpu for vgpu in held if vgpu.state != VgpuState.REMOVING and vgpu.generation]
    terms = claims.terms_in(session, {vgpu.claim_id for vgpu in staying}, WANTED)
    staying.sort(key=lambda vgpu: (vgpu.claim_id, vgpu.index))
    return [(vgpu, terms[vgpu.claim_id]) for vgpu in staying if vgpu.claim_id in terms]


def _vgpu_spec(vgpu: Vgpu, device_key: str, project_id: str, sessions: int) -> VgpuSpec:
    return VgpuSpec(
        id=vgpu.id,
        claim_id=vgpu.claim_id,
        device_key=device_key,
        compute=vgpu.compute,
        memory_mib=vgpu.memory_mib,
        part=vgpu.part,
        generation=vgpu.generation,
        sessions=sessions,
        project_id=project_id,
        index=vgpu.index,
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
