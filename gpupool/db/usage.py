"""Usage: what there is and what is granted, per pool and per project, in one statement each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from gpupool.db.models import Claim, Device, Host, Pool, Vgpu
from gpupool.model.states import ClaimState, DeviceHealth

# Percent of compute of one device.
DEVICE_COMPUTE = 100


@dataclass(frozen=True, kw_only=True)
class PoolUsage:
    """One pool: its devices, in percent and MiB, what is granted of them, its claims by state."""

    pool_id: str
    pool: str
    devices: int
    compute_total: int
    memory_mib_total: int
    vgpus: int
    compute_granted: int
    memory_mib_granted: int
    claims: dict[ClaimState, int]


@dataclass(frozen=True, kw_only=True)
class ProjectUsage:
    """One project that has or had claims: what is granted to it, its claims by state."""

    project_id: str
    vgpus: int
    compute_granted: int
    memory_mib_granted: int
    claims: dict[ClaimState, int]


def by_pool(session: Session) -> list[PoolUsage]:
    """Return the usage of every pool, by name."""
    devices, granted, claims = _devices(), _granted(Host.pool_id), _claims(Claim.pool_id)
    query = (
        sa.select(Pool.id, Pool.name, *_values(devices), *_values(granted), *_values(claims))
        .outerjoin(devices, devices.c.owner == Pool.id)
        .outerjoin(granted, granted.c.owner == Pool.id)
        .outerjoin(claims, claims.c.owner == Pool.id)
        .order_by(Pool.name)
    )
    return [
        PoolUsage(
            pool_id=row.id,
            pool=row.name,
            devices=int(row.devices),
            compute_total=DEVICE_COMPUTE * int(row.devices),
            memory_mib_total=int(row.memory_mib_total),
            **_shares(row),
        )
        for row in session.execute(query)
    ]


def by_project(session: Session, project_id: str | None = None) -> list[ProjectUsage]:
    """Return the usage of every project that has a claim, or of one, by id."""
    granted, claims = _granted(Vgpu.project_id), _claims(Claim.project_id)
    query = (
        sa.select(claims.c.owner, *_values(granted), *_values(claims))
        .outerjoin(granted, granted.c.owner == claims.c.owner)
        .order_by(claims.c.owner)
    )
    if project_id is not None:
        query = query.where(claims.c.owner == project_id)
    return [ProjectUsage(project_id=row.owner, **_shares(row)) for row in session.execute(query)]


def _devices() -> sa.Subquery:
    return (
        sa.select(
            Host.pool_id.label("owner"),
            sa.func.count().label("devices"),
            sa.func.sum(Device.memory_mib).label("memory_mib_total"),
        )
        .join(Host, Host.id == Device.host_id)
        # A device taken out of its host can't be granted.
        .where(Device.health != DeviceHealth.MISSING)
        .group_by(Host.pool_id)
        .subquery()
    )


def _granted(owner: InstrumentedAttribute[str]) -> sa.Subquery:
    return (
        sa.select(
            owner.label("owner"),
            sa.func.count().label("vgpus"),
            sa.func.sum(Vgpu.compute).label("compute_granted"),
            sa.func.sum(Vgpu.memory_mib).label("memory_mib_granted"),
        )
        .join(Host, Host.id == Vgpu.host_id)
        .group_by(owner)
        .subquery()
    )


def _claims(owner: InstrumentedAttribute[str]) -> sa.Subquery:
    counts = [
        sa.func.sum(sa.case((Claim.state == state, 1), else_=0)).label(f"claims_{state}")
        for state in ClaimState
    ]
    return sa.select(owner.label("owner"), *counts).group_by(owner).subquery()


def _values(subquery: sa.Subquery) -> Sequence[sa.ColumnElement[Any]]:
    """Return the columns of ``subquery`` but its owner; who is not in it counts as 0."""
    return [
        sa.func.coalesce(column, 0).label(column.key) for column in subquery.c if column.key != "owner"
    ]


def _shares(row: Any) -> dict[str, Any]:
    shares = {key: int(getattr(row, key)) for key in ("vgpus", "compute_granted", "memory_mib_granted")}
    claims = {state: int(getattr(row, f"claims_{state}")) for state in ClaimState}
    return {**shares, "claims": claims}
