"""Recordings: JSON lines there and back, and what does not fit together."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gpupool.model import errors
from gpupool.model.claim import Layout, Qos
from gpupool.replay import recording
from gpupool.replay.recording import ClaimRecord, DeviceRecord, HostRecord, PoolRecord, Recording

NOON = datetime(2026, 11, 23, 12)
POOL = PoolRecord(name="p", recorded_at=NOON, compute_overcommit=150, memory_overcommit=200)
HOST = HostRecord(name="h", cpu_milli=8000, memory_mib=4096)
DEVICE = DeviceRecord(id="d", host="h", memory_mib=1000, product="T4", traits=("CUSTOM_A",))


def claim(**fields: Any) -> ClaimRecord:
    given = {"created_at": NOON - timedelta(hours=2), "count": 1, "compute": 50, "memory_mib": 100}
    return ClaimRecord(**{"id": "c", "project_id": "x", **given, **fields})


def write(folder: Path, *lines: str) -> Path:
    path = folder / "pool.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def stored(folder: Path, *records: recording.Record) -> Recording:
    return recording.read(write(folder, *recording.lines(records)))


def test_there_and_back(tmp_path: Path) -> None:
    full = claim(
        bound_at=NOON - timedelta(hours=1),
        ended_at=NOON,
        devices=("d",),
        qos=Qos.BEST_EFFORT,
        layout=Layout.SPREAD,
        time_limit=60,
        preemptible=True,
    )
    read = stored(tmp_path, POOL, HOST, DEVICE, full, claim(id="e"))
    assert read == Recording(pool=POOL, hosts=(HOST,), devices=(DEVICE,), claims=(full, claim(id="e")))


def test_little_is_needed(tmp_path: Path) -> None:
    """What other software may write, with fields of its own."""
    read = recording.read(
        write(
            tmp_path,
            '{"kind": "pool", "name": "p", "recorded_at": "2026-11-23T12:00:00"}',
            '{"kind": "host", "name": "h", "rack": 7}',
            "",
            '{"kind": "device", "id": "d", "host": "h", "memory_mib": 1000}',
        )
    )
    assert read.pool == PoolRecord(name="p", recorded_at=NOON)
    assert read.hosts == (HostRecord(name="h"),)
    assert read.claims == ()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2 is no JSON: "),
        ("[]", "line 2: kind is None; allowed: pool, host, device, claim"),
        ('{"kind": "vm"}', "line 2: kind is 'vm'; allowed: pool, host, device, claim"),
        ('{"kind": "host"}', "line 2: HostRecord: KeyError('name')"),
        ('{"kind": "host", "name": "h", "schema_version": 9}', "schema version 9, at most 1 is known"),
        ('{"kind": "host", "name": "h", "cpu_milli": 1e25}', "line 2: cpu_milli is 1000000000000000090"),
        ('{"kind": "device", "id": "d", "host": "h", "memory_mib": -5}', "allowed: 0 to 2147483647"),
        (
            '{"kind": "pool", "name": "q", "recorded_at": "2026-11-23T12:00:00", "half_life": 0}',
            "line 2: half_life is 0.0; allowed: 1 to ",
        ),
        (
            '{"kind": "pool", "name": "q", "recorded_at": "2026-11-23T12:00:00", '
            '"project_weights": {"a": 0}}',
            "line 2: project_weights a is 0.0; allowed: 0.001 to ",
        ),
        ('{"kind": "pool", "name": "q", "recorded_at": "2026-11-23T12:00:00"}', "2 lines of kind pool"),
        ('{"kind": "device", "id": "d", "host": "g", "memory_mib": 1}', "is of host 'g', which has no"),
    ],
)
def test_lines_that_are_refused(line: str, reason: str, tmp_path: Path) -> None:
    first = next(recording.lines([POOL]))
    with pytest.raises(errors.Invalid) as caught:
        recording.read(write(tmp_path, first, line))
    assert reason in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"count": 0}, "line 2: count is 0; allowed: 1 to 1024"),
        ({"compute": 101}, "line 2: compute is 101; allowed: 1 to 100"),
        ({"cpu_milli": -3}, "line 2: cpu_milli is -3; allowed: 0 to 2147483647"),
        ({"time_limit": 0}, "line 2: time_limit is 0; allowed: 1 to 2147483647"),
        ({"bound_at": NOON - timedelta(hours=3)}, "created_at, bound_at, ended_at are not in order"),
    ],
)
def test_claims_that_are_refused(fields: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid) as caught:
        stored(tmp_path, POOL, claim(**fields))
    assert reason in str(caught.value)


def test_what_comes_twice_or_never_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match="0 lines of kind pool; allowed: one"):
        stored(tmp_path, HOST)
    with pytest.raises(errors.Invalid, match="host h comes twice"):
        stored(tmp_path, POOL, HOST, HOST)
    with pytest.raises(errors.Invalid, match="claim c comes twice"):
        stored(tmp_path, POOL, claim(), claim())
    with pytest.raises(errors.Invalid, match="can't be read: No such file"):
        recording.read(tmp_path / "none")


def test_rooms(tmp_path: Path) -> None:
    extends = DeviceRecord(id="e", host="h", memory_mib=1000, extends_memory=True, usable=False)
    read = stored(tmp_path, POOL, HOST, DEVICE, extends)
    [room] = recording.rooms(read)
    assert (room.cpu_free, room.memory_free) == (8000, 4096)
    assert [device.compute_limit for device in room.devices] == [150, 150]
    assert [device.memory_limit for device in room.devices] == [1000, 2000]
    assert [device.usable for device in room.devices] == [True, False]
    [room] = recording.rooms(read, overcommit=114)
    assert {device.compute_limit for device in room.devices} == {114}


def test_jobs(tmp_path: Path) -> None:
    """What ran runs as long again, what runs to the end; what never ran is wanted while it waited."""
    hours = {name: NOON - timedelta(hours=number) for number, name in enumerate("abcd")}
    records = [
        claim(
            id="ran", created_at=hours["d"], bound_at=hours["c"], ended_at=hours["b"], time_limit=7200
        ),
        claim(id="runs", created_at=hours["c"], bound_at=hours["b"]),
        claim(id="gave up", created_at=hours["c"], ended_at=hours["b"]),
        claim(id="waits", created_at=hours["b"].replace(tzinfo=UTC)),
    ]
    jobs = {job.id: job for job in recording.jobs(stored(tmp_path, POOL, *records))}
    assert {name: job.arrives / 3600 for name, job in jobs.items()} == {
        "ran": 0,
        "runs": 1,
        "gave up": 1,
        "waits": 2,
    }
    assert (jobs["ran"].runs, jobs["ran"].until, jobs["ran"].time_limit) == (3600, None, 7200)
    assert (jobs["runs"].runs, jobs["runs"].until) == (3600, None)
    assert jobs["gave up"].until == 2 * 3600
    assert jobs["waits"].until == 3 * 3600
    assert jobs["ran"].demand.compute == 50


def test_a_recording_names_nobody() -> None:
    """Neither users nor what they called their claims."""
    [line] = recording.lines([claim()])
    assert not {"name", "user_id", "request_id"} & set(json.loads(line))
