"""What a crash or a hand may have left in the database: each kind is found by one query.

Where nothing is wrong they return nothing, whatever there is; who mends it looks again.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db.models import Attachment, Claim, Device, Host, Vgpu
from gpupool.model.claim import ClaimHealth
from gpupool.model.states import (
    HOLDING,
    AttachmentState,
    ClaimState,
    DeviceHealth,
    HostState,
    VgpuState,
)

_PAST_CONSENT = (ClaimState.BINDING, ClaimState.BOUND)
# See Vgpu.counted.
_counted = (Vgpu.state != VgpuState.REMOVING) & (Vgpu.generation > 0)


def binding(session: Session) -> list[str]:
    """Return claims with other vGPUs than they should have, or that wait for nothing or a down host."""
    held = sa.func.count(Vgpu.id)
    active = sa.func.coalesce(sa.func.sum(_one_if(Vgpu.state == VgpuState.ACTIVE)), 0)
    waits_in_vain = (sa.func.count(Host.id) > 0) | (active == Claim.count)
    query = (
        sa.select(Claim.id)
        .outerjoin(Vgpu, (Vgpu.claim_id == Claim.id) & _counted)
        .outerjoin(Host, (Host.id == Vgpu.host_id) & (Host.state == HostState.DOWN))
        .where(Claim.state.in_(_PAST_CONSENT))
        .group_by(Claim.id, Claim.state, Claim.count)
        .having((held != Claim.count) | ((Claim.state == ClaimState.BINDING) & waits_in_vain))
    )
    return _ids(session, query)


def releasing(session: Session) -> list[str]:
    """Return releasing claims that have no vGPU, or one that nobody takes away."""
    staying = sa.func.coalesce(sa.func.sum(_one_if(Vgpu.state != VgpuState.REMOVING)), 0)
    query = (
        sa.select(Claim.id)
        .outerjoin(Vgpu, Vgpu.claim_id == Claim.id)
        .where(Claim.state == ClaimState.RELEASING)
        .group_by(Claim.id)
        .having((sa.func.count(Vgpu.id) == 0) | (staying > 0))
    )
    return _ids(session, query)


def kept_vgpus(session: Session) -> list[str]:
    """Return claims that hold nothing and have vGPUs that nobody takes away."""
    query = sa.select(Claim.id).join(Vgpu, Vgpu.claim_id == Claim.id).distinct()
    return _ids(session, query.where(Claim.state.not_in(HOLDING), Vgpu.state != VgpuState.REMOVING))


def kept_attachments(session: Session) -> list[str]:
    """Return claims that are not bound and have attachments that nobody takes away."""
    query = sa.select(Claim.id).join(Attachment, Attachment.claim_id == Claim.id).distinct()
    query = query.where(Claim.state != ClaimState.BOUND, Attachment.state != AttachmentState.REMOVING)
    return _ids(session, query)


def health(session: Session) -> list[str]:
    """Return hosts with claims whose health is not what hosts and devices say."""
    down = sa.func.max(_one_if(Host.state == HostState.DOWN))
    failed = sa.func.max(_one_if(Device.health != DeviceHealth.OK))
    right = sa.case(
        (down == 1, ClaimHealth.HOST_DOWN.value),
        (failed == 1, ClaimHealth.DEVICE_FAILED.value),
        else_=ClaimHealth.OK.value,
    )
    query = (
        sa.select(sa.func.min(Vgpu.host_id))
        .join(Claim, Claim.id == Vgpu.claim_id)
        .join(Host, Host.id == Vgpu.host_id)
        .join(Device, Device.id == Vgpu.device_id)
        .group_by(Claim.id, Claim.health)
        .having(Claim.health != right)
    )
    return sorted(set(_ids(session, query)))


def _one_if(condition: sa.ColumnElement[bool]) -> sa.Case[int]:
    return sa.case((condition, 1), else_=0)


def _ids(session: Session, query: sa.Select[Any]) -> list[str]:
    return list(session.execute(query).scalars().all())
