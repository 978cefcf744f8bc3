"""The tables. A row has the fields of the dataclass of the same name in ``gpupool.model``."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from gpupool.model.attachment import AttachmentKind
from gpupool.model.claim import ClaimHealth, Layout, OnDeviceLost, OnPreempt, Qos, Tier
from gpupool.model.device import SharingMode
from gpupool.model.host_key import KeyState
from gpupool.model.move import MoveState
from gpupool.model.pool import PolicyName
from gpupool.model.reason import DETAIL_MAX
from gpupool.model.share import Part, Share
from gpupool.model.states import AttachmentState, ClaimState, DeviceHealth, HostState, VgpuState


class StringTuple(sa.TypeDecorator[tuple[str, ...]]):
    """A tuple of strings, kept as a JSON array."""

    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        """Return what JSON takes."""
        return None if value is None else list(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> tuple[str, ...]:  # noqa: ARG002
        """Return what the model takes."""
        return tuple(value)


class PartText(sa.TypeDecorator[Part]):
    """A part of a device, kept as PLACE:KIND."""

    impl = sa.String(64)
    cache_ok = True

    def process_bind_param(self, value: Part | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        """Return the text."""
        return None if value is None else f"{value.place}:{value.kind}"

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Part | None:  # noqa: ARG002
        """Return what the model takes."""
        if value is None:
            return None
        place, _, kind = value.partition(":")
        return Part(kind, int(place))


class ShareJson(sa.TypeDecorator[Share]):
    """A share, kept as a JSON object of its fields."""

    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: Share | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        """Return what JSON takes."""
        return None if value is None else value.fields()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Share:  # noqa: ARG002
        """Return what the model takes."""
        part = value["part"]
        return Share(**{**value, "part": None if part is None else Part(*part)})


# Microseconds on every database: listings and the queue are ordered by time.
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

Id = Annotated[str, mapped_column(sa.String(36))]
Key = Annotated[str, mapped_column(sa.String(36), primary_key=True)]
LongText = Annotated[str, mapped_column(sa.Text)]


def _columns(constraint: sa.Constraint, _table: sa.Table) -> str:
    """Return a unique constraint's columns in the form oslo.db reads them from a duplicate's error."""
    assert isinstance(constraint, sa.UniqueConstraint)  # noqa: S101
    return "0".join(column.name for column in constraint.columns)


class Base(DeclarativeBase):
    """Base of all rows."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uniq_%(table_name)s0%(columns)s",
            "columns": _columns,
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        int: sa.BigInteger(),
        datetime: TIME,
        tuple[str, ...]: StringTuple(),
        Mapping[str, str]: sa.JSON(),
        Enum: sa.Enum(
            Enum,
            native_enum=False,
            length=16,
            values_callable=lambda members: [member.value for member in members],
        ),
    }


class Stamps:
    """When a row was made and last changed, UTC."""

    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Pool(Stamps, Base):
    """See model.pool.Pool."""

    __tablename__ = "pools"
    __table_args__ = (sa.UniqueConstraint("name"),)

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(sa.String(255))
    description: Mapped[LongText]
    policy: Mapped[PolicyName]
    compute_overcommit: Mapped[int]
    memory_overcommit: Mapped[int]
    moves_per_hour: Mapped[int]
    min_run_time: Mapped[int | None]


class Host(Stamps, Base):
    """See model.host.Host."""

    __tablename__ = "hosts"
    __table_args__ = (
        sa.UniqueConstraint("name"),
        sa.Index(None, "pool_id"),
        sa.Index(None, "state", "last_seen_at"),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(sa.String(255))
    pool_id: Mapped[Id] = mapped_column(sa.ForeignKey("pools.id"))
    state: Mapped[HostState]
    generation: Mapped[int]
    applied_generation: Mapped[int]
    revision: Mapped[int]
    incarnation: Mapped[Id]
    cpu_milli: Mapped[int]
    memory_mib: Mapped[int]
    agent_version: Mapped[str] = mapped_column(sa.String(64))
    simulated: Mapped[bool]
    enabled: Mapped[bool]
    disabled_reason: Mapped[str] = mapped_column(sa.String(1000))
    unable_reason: Mapped[str] = mapped_column(sa.String(1000))
    refusals: Mapped[int]
    held_until: Mapped[datetime | None]
    held_reason: Mapped[str] = mapped_column(sa.String(1000))
    compute_node: Mapped[str | None] = mapped_column(sa.String(255))
    report_error: Mapped[str] = mapped_column(sa.String(1000))
    unapplied_reason: Mapped[str] = mapped_column(sa.String(1000))
    last_seen_at: Mapped[datetime | None]


class HostKey(Stamps, Base):
    """See model.host_key.HostKey.

    The host is no foreign key: a revoked key is remembered when its host is not.
    """

    __tablename__ = "host_keys"
    __table_args__ = (sa.Index(None, "host"), sa.Index(None, "state", "created_at"))

    id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    host: Mapped[str] = mapped_column(sa.String(255))
    state: Mapped[KeyState]
    signing_key: Mapped[str] = mapped_column(sa.String(64))
    sealing_key: Mapped[str] = mapped_column(sa.String(64))
    sequence: Mapped[int]
    digest: Mapped[str] = mapped_column(sa.String(64))


class HostTrait(Base):
    """A custom trait that a device of a host has had since the host was admitted."""

    __tablename__ = "host_traits"

    host_id: Mapped[str] = mapped_column(
        sa.String(36), sa.ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True
    )
    trait: Mapped[str] = mapped_column(sa.String(255), primary_key=True)


class ConductorKey(Base):
    """What conductors sign with: of several, that of the least number; the others come after it."""

    __tablename__ = "conductor_keys"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    public_key: Mapped[str] = mapped_column(sa.String(64))
    private_key: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]


class Device(Stamps, Base):
    """See model.device.Device."""

    __tablename__ = "devices"
    __table_args__ = (sa.UniqueConstraint("host_id", "key"),)

    id: Mapped[Key]
    host_id: Mapped[Id] = mapped_column(sa.ForeignKey("hosts.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(sa.String(255))
    vendor: Mapped[str] = mapped_column(sa.String(255))
    product: Mapped[str] = mapped_column(sa.String(255))
    sharing_mode: Mapped[SharingMode]
    memory_mib: Mapped[int]
    reserved_mib: Mapped[int]
    traits: Mapped[tuple[str, ...]]
    health: Mapped[DeviceHealth]
    health_reason: Mapped[str] = mapped_column(sa.String(1000))
    simulated: Mapped[bool]
    link_group: Mapped[str] = mapped_column(sa.String(255))
    extends_memory: Mapped[bool]
    enabled: Mapped[bool]
    disabled_reason: Mapped[LongText]
    in_placement: Mapped[bool]


class Wishes:
    """What a claim asks for besides sizes and traits, and a profile may give."""

    min_count: Mapped[int | None]
    max_count: Mapped[int | None]
    time_limit: Mapped[int | None]
    qos: Mapped[Qos]
    preemptible: Mapped[bool]
    on_preempt: Mapped[OnPreempt]
    on_device_lost: Mapped[OnDeviceLost]
    cpu_milli: Mapped[int]
    host_memory_mib: Mapped[int]
    layout: Mapped[Layout]
    same_host: Mapped[bool]
    same_type: Mapped[bool]
    linked: Mapped[bool]
    sharing_mode: Mapped[SharingMode] = mapped_column(server_default="shared")
    partition: Mapped[str] = mapped_column(sa.String(64), server_default="")


class Profile(Wishes, Stamps, Base):
    """See model.profile.Profile."""

    __tablename__ = "profiles"
    __table_args__ = (sa.UniqueConstraint("name"),)

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(sa.String(255))
    description: Mapped[LongText]
    count: Mapped[int]
    compute: Mapped[int]
    memory_mib: Mapped[int]
    tier: Mapped[Tier]
    priority: Mapped[int]
    required_traits: Mapped[tuple[str, ...]]
    forbidden_traits: Mapped[tuple[str, ...]]
    sessions: Mapped[int | None]


class Claim(Wishes, Stamps, Base):
    """See model.claim.Claim.

    Pool and profile are no foreign keys: a claim that ended keeps their ids when they are deleted.
    ``pools.hold`` and ``pools.delete`` see that a claim that has not ended has its pool.
    """

    __tablename__ = "claims"
    __table_args__ = (
        sa.Index(None, "state", "priority", "created_at"),
        sa.Index(None, "project_id", "created_at"),
        sa.Index(None, "pool_id", "state"),
        sa.Index(None, "profile_id"),
        sa.Index(None, "lease_end"),
        sa.Index(None, "created_at"),
        sa.Index(None, "program_host_id"),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(sa.String(255))
    project_id: Mapped[str] = mapped_column(sa.String(255))
    user_id: Mapped[str] = mapped_column(sa.String(255))
    pool_id: Mapped[Id]
    count: Mapped[int]
    compute: Mapped[int]
    memory_mib: Mapped[int]
    tier: Mapped[Tier]
    priority: Mapped[int]
    profile_id: Mapped[Id | None]
    required_traits: Mapped[tuple[str, ...]]
    forbidden_traits: Mapped[tuple[str, ...]]
    sessions: Mapped[int]
    host: Mapped[str | None] = mapped_column(sa.String(255))
    devices: Mapped[tuple[str, ...]]
    lease_end: Mapped[datetime | None]
    # What was asked for, while the time limit of a bound claim makes it end sooner.
    asked_lease_end: Mapped[datetime | None]
    state: Mapped[ClaimState]
    state_reason: Mapped[LongText]
    state_detail: Mapped[str] = mapped_column(sa.String(DETAIL_MAX))
    release_to: Mapped[ClaimState | None]
    # Of an elastic claim: from where a free index is looked for when it grows, so that one is used again
    # only after all others.
    next_index: Mapped[int] = mapped_column(server_default="0")
    # Of a claim that is allocating or moves: the conductor that does it. No foreign key: its row goes.
    conductor_id: Mapped[Id | None]
    health: Mapped[ClaimHealth]
    attempts: Mapped[int]
    refused_by: Mapped[tuple[str, ...]]
    # No foreign key: only while the claim holds something, and its host stays for as long.
    program_host_id: Mapped[Id | None]
    generation: Mapped[int]
    request_id: Mapped[str] = mapped_column(sa.String(64))
    bound_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class DecayedUsage(Base):
    """What a project was due of a pool, decayed up to ``at``, and is owed; see allocator.fairshare."""

    __tablename__ = "decayed_usages"

    pool_id: Mapped[Key]
    project_id: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    used: Mapped[int]
    owed: Mapped[int] = mapped_column(server_default="0")
    at: Mapped[datetime]


class ProjectLock(Base):
    """One row per project with quotas: whoever adds to what it holds writes the row, and so locks it."""

    __tablename__ = "project_locks"

    project_id: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    taken: Mapped[int]


class Vgpu(Stamps, Base):
    """See model.vgpu.Vgpu."""

    __tablename__ = "vgpus"
    __table_args__ = (
        sa.UniqueConstraint("claim_id", "index"),
        sa.Index(None, "project_id"),
        sa.Index(None, "host_id", "state"),
        sa.Index(None, "device_id"),
        sa.Index(None, "consumer_id"),
    )

    id: Mapped[Key]
    claim_id: Mapped[Id] = mapped_column(sa.ForeignKey("claims.id"))
    project_id: Mapped[str] = mapped_column(sa.String(255))
    host_id: Mapped[Id] = mapped_column(sa.ForeignKey("hosts.id"))
    device_id: Mapped[Id] = mapped_column(sa.ForeignKey("devices.id"))
    index: Mapped[int]
    compute: Mapped[int]
    memory_mib: Mapped[int]
    part: Mapped[Part | None] = mapped_column(PartText)
    consumer_id: Mapped[Id | None]
    state: Mapped[VgpuState]
    generation: Mapped[int]
    memory_used_mib: Mapped[int]
    busy_ns: Mapped[int]


class Move(Stamps, Base):
    """See model.move.Move."""

    __tablename__ = "moves"
    __table_args__ = (sa.UniqueConstraint("vgpu_id"), sa.Index(None, "host_id"))

    id: Mapped[Key]
    vgpu_id: Mapped[Id] = mapped_column(sa.ForeignKey("vgpus.id", ondelete="CASCADE"))
    host_id: Mapped[Id] = mapped_column(sa.ForeignKey("hosts.id"))
    source: Mapped[Share] = mapped_column(ShareJson)
    target: Mapped[Share] = mapped_column(ShareJson)
    state: Mapped[MoveState]
    generation: Mapped[int]
    # No foreign key: its row goes.
    conductor_id: Mapped[Id | None]


class Attachment(Stamps, Base):
    """See model.attachment.Attachment. The ticket is secret, so nothing is found or sorted by it."""

    __tablename__ = "attachments"
    __table_args__ = (
        sa.Index(None, "claim_id"),
        sa.Index(None, "project_id"),
        sa.Index(None, "host_id", "state"),
    )

    id: Mapped[Key]
    claim_id: Mapped[Id] = mapped_column(sa.ForeignKey("claims.id"))
    project_id: Mapped[str] = mapped_column(sa.String(255))
    host_id: Mapped[Id] = mapped_column(sa.ForeignKey("hosts.id"))
    kind: Mapped[AttachmentKind]
    state: Mapped[AttachmentState]
    state_reason: Mapped[LongText]
    ticket: Mapped[LongText]
    generation: Mapped[int]
    environment: Mapped[Mapping[str, str]]
    cdi_device: Mapped[str | None] = mapped_column(sa.String(255))


class Session(Base):
    """See model.session.Session.

    What a host saw, not what it should have: attachment and vGPU may be gone here already, so they
    are no foreign keys.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        sa.Index(None, "host_id"),
        sa.Index(None, "attachment_id"),
        sa.Index(None, "vgpu_id"),
    )

    id: Mapped[Key]
    attachment_id: Mapped[Id]
    vgpu_id: Mapped[Id]
    host_id: Mapped[Id] = mapped_column(sa.ForeignKey("hosts.id", ondelete="CASCADE"))
    program_pid: Mapped[int]
    worker_pid: Mapped[int]
    started_at: Mapped[datetime]
    memory_used_mib: Mapped[int]
    busy_ns: Mapped[int]


class SessionEnd(Base):
    """See model.session.SessionEnd. The session is no foreign key: a report may list it later again."""

    __tablename__ = "session_ends"
    __table_args__ = (sa.Index(None, "host_id"),)

    id: Mapped[Key]
    host_id: Mapped[Id] = mapped_column(sa.ForeignKey("hosts.id", ondelete="CASCADE"))
    generation: Mapped[int]


class Service(Base):
    """See model.service.Service."""

    __tablename__ = "services"
    __table_args__ = (sa.Index(None, "last_seen_at"),)

    id: Mapped[Key]
    binary: Mapped[str] = mapped_column(sa.String(64))
    host: Mapped[str] = mapped_column(sa.String(255))
    version: Mapped[str] = mapped_column(sa.String(64))
    beats: Mapped[int]
    leads: Mapped[bool]
    started_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
