"""Recordings of an operator's own pool: a file of JSON lines, written by ``gpupool-manage recording``.

Every line is an object; ``kind`` says of which of the classes below, the other keys are its fields. The
pool comes first and once. Fields with defaults may be left out; unknown ones are ignored.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import WINDOW
from gpupool.allocator.rooms import DeviceRoom, HostRoom
from gpupool.allocator.scheduling import QueueRules
from gpupool.model import errors, wire
from gpupool.model.claim import (
    AMOUNT_MAX,
    COMPUTE_MAX,
    COUNT_MAX,
    PRIORITY_DEFAULT,
    PRIORITY_MAX,
    Claim,
    Layout,
    OnPreempt,
    Qos,
    Tier,
)
from gpupool.model.device import Device, SharingMode
from gpupool.model.host import Host
from gpupool.model.pool import NUMBER_MAX, OVERCOMMIT_NONE, PolicyName, Pool
from gpupool.replay.job import Job
from gpupool.replay.queueing import HALF_LIFE

T = TypeVar("T", bound="Record")


@dataclass(frozen=True, kw_only=True)
class PoolRecord:
    """The pool (kind ``pool``), as it was when it was recorded.

    Fields as on Pool, and what the configuration of the service says of queue and allocator; times are
    seconds.
    """

    name: str
    recorded_at: datetime
    policy: PolicyName = PolicyName.FGD
    compute_overcommit: int = OVERCOMMIT_NONE
    memory_overcommit: int = OVERCOMMIT_NONE
    half_life: float = HALF_LIFE
    project_weights: Mapping[str, float] = field(default_factory=dict)
    backfill: bool = QueueRules.backfill
    reservations: int = QueueRules.reservations
    min_run_time: float = QueueRules.min_run_time
    mix_window: int = WINDOW

    @classmethod
    def of(cls, pool: Pool, recorded_at: datetime, **configured: Any) -> "PoolRecord":
        """Return what a recording says of ``pool``, with the fields that are not of it."""
        return _copy(cls, pool, recorded_at=recorded_at, **configured)


@dataclass(frozen=True, kw_only=True)
class HostRecord:
    """One host (kind ``host``); what programs may claim of it, 0 when it does not say."""

    name: str
    cpu_milli: int = 0
    memory_mib: int = 0

    @classmethod
    def of(cls, host: Host, cpu_milli: int, memory_mib: int) -> "HostRecord":
        """Return what a recording says of ``host``, of which programs may claim so much."""
        return _copy(cls, host, cpu_milli=cpu_milli, memory_mib=memory_mib)


@dataclass(frozen=True, kw_only=True)
class DeviceRecord:
    """One device (kind ``device``) of a host, by the host's name; other fields as on Device."""

    id: str
    host: str
    memory_mib: int
    product: str = ""
    sharing_mode: SharingMode = SharingMode.SHARED
    traits: tuple[str, ...] = ()
    link_group: str = ""
    extends_memory: bool = False
    usable: bool = True

    @classmethod
    def of(cls, device: Device, host: str, traits: tuple[str, ...], usable: bool) -> "DeviceRecord":
        """Return what a recording says of ``device``, of the host of that name."""
        return _copy(cls, device, host=host, traits=traits, usable=usable)


@dataclass(frozen=True, kw_only=True)
class ClaimRecord:
    """One claim (kind ``claim``); fields as on Claim, times in UTC.

    ``bound_at`` is None for one that never got a place or waits again, ``ended_at`` for one that goes
    on. Nothing of a claim that tells what it was for, or whose it was, but its project.
    """

    id: str
    project_id: str
    created_at: datetime
    bound_at: datetime | None = None
    ended_at: datetime | None = None
    count: int
    compute: int
    memory_mib: int
    tier: Tier = Tier.POOL
    priority: int = PRIORITY_DEFAULT
    required_traits: tuple[str, ...] = ()
    forbidden_traits: tuple[str, ...] = ()
    host: str | None = None
    devices: tuple[str, ...] = ()
    time_limit: int | None = None
    qos: Qos = Qos.GUARANTEED
    preemptible: bool = False
    on_preempt: OnPreempt = OnPreempt.REQUEUE
    cpu_milli: int = 0
    host_memory_mib: int = 0
    layout: Layout = Layout.ANY
    same_host: bool = False
    same_type: bool = False
    linked: bool = False

    @classmethod
    def of(cls, claim: Claim) -> "ClaimRecord":
        """Return what a recording says of ``claim``, which has been stored."""
        return _copy(cls, claim)


Record = PoolRecord | HostRecord | DeviceRecord | ClaimRecord
_KINDS: dict[str, type[Record]] = {
    "pool": PoolRecord,
    "host": HostRecord,
    "device": DeviceRecord,
    "claim": ClaimRecord,
}
# The service's configuration names no most; this is to be computed with.
_MANY = 10**15
_WEIGHT_LEAST = 0.001
# From what to what numbers are allowed, as in the API and in agents' reports. Memory may be 0: other
# software that writes recordings need not know of it.
_BOUNDS: Mapping[type[Record], Mapping[str, tuple[int, int]]] = {
    PoolRecord: {
        "compute_overcommit": (OVERCOMMIT_NONE, NUMBER_MAX),
        "memory_overcommit": (OVERCOMMIT_NONE, NUMBER_MAX),
        "half_life": (1, _MANY),
        "reservations": (0, _MANY),
        "min_run_time": (0, _MANY),
        "mix_window": (1, _MANY),
    },
    HostRecord: dict.fromkeys(("cpu_milli", "memory_mib"), (0, AMOUNT_MAX)),
    DeviceRecord: {"memory_mib": (0, AMOUNT_MAX)},
    ClaimRecord: {
        "count": (1, COUNT_MAX),
        "compute": (1, COMPUTE_MAX),
        "priority": (0, PRIORITY_MAX),
        "time_limit": (1, AMOUNT_MAX),
        **dict.fromkeys(("memory_mib", "cpu_milli", "host_memory_mib"), (0, AMOUNT_MAX)),
    },
}
_DEMAND = tuple(field.name for field in fields(Demand))


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Everything a file says."""

    pool: PoolRecord
    hosts: tuple[HostRecord, ...]
    devices: tuple[DeviceRecord, ...]
    claims: tuple[ClaimRecord, ...]


def lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield the line of each record, without its end."""
    kinds = {record: kind for kind, record in _KINDS.items()}
    for record in records:
        plain = {key: value for key, value in wire.dump(record).items() if value is not None}
        yield json.dumps({"kind": kinds[type(record)], **plain})


def read(path: Path) -> Recording:
    """Return what a file says; raises Invalid by file and line."""
    found: dict[type, list[Any]] = {kind: [] for kind in _KINDS.values()}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    record = _record(f"{path} line {number}", line)
                    found[type(record)].append(record)
    except (OSError, UnicodeDecodeError) as exc:
        raise errors.Invalid(f"{path} can't be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(found[PoolRecord]) != 1:
        raise errors.Invalid(f"{path}: {len(found[PoolRecord])} lines of kind pool; allowed: one")
    recording = Recording(
        pool=found[PoolRecord][0],
        hosts=tuple(found[HostRecord]),
        devices=tuple(found[DeviceRecord]),
        claims=tuple(found[ClaimRecord]),
    )
    _check(path, recording)
    return recording


def rooms(recording: Recording, overcommit: int | None = None) -> list[HostRoom]:
    """Return the empty hosts; ``overcommit`` (percent) in place of the pool's own for compute."""
    compute = recording.pool.compute_overcommit if overcommit is None else overcommit
    of_host: dict[str, list[DeviceRoom]] = {host.name: [] for host in recording.hosts}
    for device in recording.devices:
        of_host[device.host].append(_room(device, compute, recording.pool.memory_overcommit))
    return [
        HostRoom(
            name=host.name,
            cpu_total=host.cpu_milli,
            cpu_free=host.cpu_milli,
            memory_total=host.memory_mib,
            memory_free=host.memory_mib,
            devices=tuple(of_host[host.name]),
        )
        for host in recording.hosts
    ]


def begun(recording: Recording) -> float:
    """Return when the first claim came, in seconds since 1970; the end of the recording without any."""
    times = [seconds(claim.created_at) for claim in recording.claims]
    return min(times, default=seconds(recording.pool.recorded_at))


def jobs(recording: Recording) -> list[Job]:
    """Return what comes to the queue, from 0 seconds on.

    A claim runs as long as it was bound; one that goes on, until the recording ends. How long a claim
    that never was bound would have run is not known: it is wanted for as long as it waited.
    """
    zero, end = begun(recording), recording.pool.recorded_at
    made = []
    for claim in recording.claims:
        ended = claim.ended_at or end
        made.append(
            Job(
                id=claim.id,
                project=claim.project_id,
                demand=Demand(
                    **{name: getattr(claim, name) for name in _DEMAND if hasattr(claim, name)}
                ),
                arrives=seconds(claim.created_at) - zero,
                runs=between(claim.bound_at or claim.created_at, ended),
                until=None if claim.bound_at else seconds(ended) - zero,
                open=claim.ended_at is None or claim.bound_at is None,
                priority=claim.priority,
                time_limit=claim.time_limit,
                preemptible=claim.preemptible,
                on_preempt=claim.on_preempt,
            )
        )
    return made


def _record(where: str, line: str) -> Record:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise errors.Invalid(f"{where} is no JSON: {exc}") from exc
    kind = plain.get("kind") if isinstance(plain, dict) else None
    if kind not in _KINDS:
        raise errors.Invalid(f"{where}: kind is {kind!r}; allowed: {', '.join(_KINDS)}")
    try:
        record = wire.load(_KINDS[kind], plain)
    except errors.Invalid as exc:
        raise errors.Invalid(f"{where}: {exc}") from exc
    for name, (least, most) in _BOUNDS[type(record)].items():
        _check_within(where, name, getattr(record, name), least, most)
    if isinstance(record, PoolRecord):
        for project, weight in record.project_weights.items():
            _check_within(where, f"project_weights {project}", weight, _WEIGHT_LEAST, _MANY)
    return record


def _check_within(where: str, name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise errors.Invalid(f"{where}: {name} is {value}; allowed: {least} to {most}")


def _check(path: Path, recording: Recording) -> None:
    """Raise Invalid where records do not fit together."""
    for what, names in (
        ("host", [host.name for host in recording.hosts]),
        ("device", [device.id for device in recording.devices]),
        ("claim", [claim.id for claim in recording.claims]),
    ):
        _check_unique(path, what, names)
    hosts = {host.name for host in recording.hosts}
    for device in recording.devices:
        if device.host not in hosts:
            raise errors.Invalid(
                f"{path}: device {device.id} is of host {device.host!r}, which has no line"
            )
    for claim in recording.claims:
        _check_times(path, claim)


def _check_unique(path: Path, what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise errors.Invalid(f"{path}: {what} {name} comes twice; allowed: once")
        seen.add(name)


def _check_times(path: Path, claim: ClaimRecord) -> None:
    times = [time for time in (claim.created_at, claim.bound_at, claim.ended_at) if time]
    if sorted(times, key=seconds) != times:
        raise errors.Invalid(
            f"{path}: claim {claim.id}: created_at, bound_at, ended_at are not in order"
        )


def _room(device: DeviceRecord, compute: int, memory: int) -> DeviceRoom:
    extended = memory if device.extends_memory else OVERCOMMIT_NONE
    return DeviceRoom(
        device_id=device.id,
        usable=device.usable,
        traits=frozenset(device.traits),
        product=device.product,
        sharing_mode=device.sharing_mode,
        link_group=device.link_group,
        compute_total=COMPUTE_MAX,
        compute_limit=compute,
        memory_total=device.memory_mib,
        memory_limit=device.memory_mib * extended // OVERCOMMIT_NONE,
    )


def seconds(time: datetime) -> float:
    """Return seconds since 1970; a time without a zone is UTC, as everywhere in gpupool."""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _copy(cls: type[T], item: object, **given: Any) -> T:
    """Return the record whose fields are ``given`` or else those of ``item``."""
    kept = [field.name for field in fields(cls) if field.name not in given]
    return cls(**given, **{name: getattr(item, name) for name in kept})


def between(first: datetime, last: datetime) -> float:
    """Return the seconds from ``first`` to ``last``, 0 if that is before."""
    return max(seconds(last) - seconds(first), 0.0)
