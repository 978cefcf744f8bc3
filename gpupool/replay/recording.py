"""Recordings of an operator's own pool: a file of JSON lines, written by ``gpupool-manage recording``.

Every line is an object; ``kind`` says of which of the classes below, the other keys are its fields. The
pool comes once. Fields with defaults may be left out; what is no field is refused.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import WINDOW
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
from gpupool.replay import objects
from gpupool.replay.job import Job
from gpupool.replay.lines import BadLines, check_text, opened
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
    project_min_run_times: Mapping[str, float] = field(default_factory=dict)
    ageing: float = QueueRules.ageing
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
    sharing_mode: SharingMode = SharingMode.SHARED
    partition: str = ""

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
_NAMES = {record: kind for kind, record in _KINDS.items()}
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
        "ageing": (0, _MANY),
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
    for record in records:
        plain = {key: value for key, value in wire.dump(record).items() if value is not None}
        yield json.dumps({"kind": _NAMES[type(record)], **plain})


def read(path: Path, bad: BadLines) -> Recording:
    """Return what a file says; raises Invalid by file and line."""
    found: list[tuple[str, Record]] = []
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path} line {number}"
                with bad.skipped():
                    found.append((where, _record(where, line)))
    kept = _fitting(found, bad)
    if len(kept[PoolRecord]) != 1:
        raise errors.Invalid(f"{path}: {len(kept[PoolRecord])} lines of kind pool; allowed: one")
    return Recording(
        pool=kept[PoolRecord][0],
        hosts=tuple(kept[HostRecord]),
        devices=tuple(kept[DeviceRecord]),
        claims=tuple(kept[ClaimRecord]),
    )


def capacities(recording: Recording, overcommit: int | None = None) -> list[HostCapacity]:
    """Return the empty hosts; ``overcommit`` (percent) in place of the pool's own for compute."""
    compute = recording.pool.compute_overcommit if overcommit is None else overcommit
    of_host: dict[str, list[DeviceCapacity]] = {host.name: [] for host in recording.hosts}
    for device in recording.devices:
        of_host[device.host].append(_room(device, compute, recording.pool.memory_overcommit))
    return [
        HostCapacity(
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
    check_text(where, line)
    plain = objects.parse(where, line.rstrip())
    kind = plain.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        shown = json.dumps(kind) if "kind" in plain else "not there"
        raise errors.Invalid(f"{where}: kind is {shown}; allowed: {', '.join(_KINDS)}")
    cls = _KINDS[kind]
    objects.check(where, cls, plain, also=("kind", "schema_version"))
    try:
        record = wire.load(cls, plain)
    except errors.Invalid as exc:
        raise errors.Invalid(f"{where}: {exc}") from exc
    for name, (least, most) in _BOUNDS[cls].items():
        _check_within(where, name, getattr(record, name), least, most)
    if isinstance(record, PoolRecord):
        for project, weight in record.project_weights.items():
            _check_within(where, f"project_weights {project}", weight, _WEIGHT_LEAST, _MANY)
        for project, time in record.project_min_run_times.items():
            _check_within(where, f"project_min_run_times {project}", time, 0, _MANY)
    if isinstance(record, ClaimRecord):
        _check_times(where, record)
    return record


def _check_within(where: str, name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise errors.Invalid(f"{where}: {name} is {value}; allowed: {least} to {most}")


def _fitting(found: Iterable[tuple[str, Record]], bad: BadLines) -> dict[type[Record], list[Any]]:
    """Return by kind the records that fit together, whatever the order of their lines."""
    kinds = list(_KINDS.values())
    kept: dict[type[Record], list[Any]] = {kind: [] for kind in kinds}
    names: dict[type[Record], set[str]] = {kind: set() for kind in kinds}
    for where, record in sorted(found, key=lambda each: kinds.index(type(each[1]))):
        kind = type(record)
        with bad.skipped():
            name = record.name if isinstance(record, PoolRecord | HostRecord) else record.id
            if name in names[kind]:
                raise errors.Invalid(f"{where}: {_NAMES[kind]} {name} comes twice; allowed: once")
            if isinstance(record, DeviceRecord) and record.host not in names[HostRecord]:
                raise errors.Invalid(
                    f"{where}: device {name} is of host {record.host!r}, which has no line"
                )
            names[kind].add(name)
            kept[kind].append(record)
    return kept


def _check_times(where: str, claim: ClaimRecord) -> None:
    times = [time for time in (claim.created_at, claim.bound_at, claim.ended_at) if time]
    if sorted(times, key=seconds) != times:
        raise errors.Invalid(f"{where}: created_at, bound_at, ended_at are not in order")


def _room(device: DeviceRecord, compute: int, memory: int) -> DeviceCapacity:
    extended = memory if device.extends_memory else OVERCOMMIT_NONE
    return DeviceCapacity(
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
