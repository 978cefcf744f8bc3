"""Recordings: JSON lines there and back, and what does not fit together."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gpupool.model import errors
from gpupool.model.claim import Layout, Qos
from gpupool.replay import recording
from gpupool.replay.lines import BadLines
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
    path.write_text("".join(f"{line}\n" for line in lines), errors="surrogateescape")
    return path


def stored(folder: Path, *records: recording.Record) -> Recording:
    return recording.read(write(folder, *recording.lines(records)), BadLines())


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
    """What other software has to write."""
    read = recording.read(
        write(
            tmp_path,
            '{"kind": "pool", "name": "p", "recorded_at": "2026-11-23T12:00:00"}',
            '{"kind": "host", "name": "h"}',
            "",
            '{"kind": "device", "id": "d", "host": "h", "memory_mib": 1000}',
        ),
        BadLines(),
    )
    assert read.pool == PoolRecord(name="p", recorded_at=NOON)
    assert read.hosts == (HostRecord(name="h"),)
    assert read.claims == ()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2 column 2 is no JSON: Expecting property name"),
        ("[]", "line 2 is []; allowed: an object"),
        ("{}", "line 2: kind is not there; allowed: pool, host, device, claim"),
        ('{"kind": "vm"}', 'line 2: kind is "vm"; allowed: pool, host, device, claim'),
        ('{"kind": "host"}', "line 2: name is missing"),
        ('{"kind": "host", "name": "h", "name": "i"}', "line 2 is no JSON: 'name' comes twice"),
        ('{"kind": "host", "name": "h", "cpu_milli": NaN}', "line 2 is no JSON: NaN is no number"),
        (
            '{"kind": "host", "name": "h", "cpu_mili": 1}',
            "line 2: 'cpu_mili' is not known; is cpu_milli meant",
        ),
        (
            '{"kind": "host", "name": "h", "rack": 1}',
            "'rack' is not known; allowed: name, cpu_milli, memory_mib",
        ),
        ('{"kind": "host", "name": 7}', "line 2: name is 7; allowed: a string"),
        ('{"kind": "host", "name": null}', "line 2: name is null; allowed: a string"),
        (
            '{"kind": "host", "name": "h", "cpu_milli": "8"}',
            'line 2: cpu_milli is "8"; allowed: a whole number',
        ),
        (
            '{"kind": "host", "name": "h", "cpu_milli": true}',
            "cpu_milli is true; allowed: a whole number",
        ),
        (
            '{"kind": "device", "id": "d", "host": "h", "memory_mib": 1, "usable": "no"}',
            'usable is "no"; allowed: true or false',
        ),
        (
            '{"kind": "device", "id": "d", "host": "h", "memory_mib": 1, "traits": "CUSTOM_A"}',
            'traits is "CUSTOM_A"; allowed: a list',
        ),
        (
            '{"kind": "device", "id": "d", "host": "h", "memory_mib": 1, "traits": [1]}',
            "line 2: traits[0] is 1; allowed: a string",
        ),
        (
            '{"kind": "device", "id": "d", "host": "h", "memory_mib": 1, "sharing_mode": "mine"}',
            'sharing_mode is "mine"; allowed: ',
        ),
        (
            '{"kind": "pool", "name": "q", "recorded_at": "noon"}',
            'recorded_at is "noon"; allowed: a ',
        ),
        (
            '{"kind": "pool", "name": "q", "recorded_at": "2026-11-23T12:00:00", '
            '"project_weights": {"a": true}}',
            "line 2: project_weights 'a' is true; allowed: a number",
        ),
        ('{"kind": "host", "name": "\udcff"}', "line 2: character 27 is no UTF-8"),
        ('{"kind": "host", "name": "h", "schema_version": 9}', "schema version 9, at most 1 is known"),
        (
            '{"kind": "host", "name": "h", "cpu_milli": 1e25}',
            "line 2: cpu_milli is 1e+25; allowed: a whole number",
        ),
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
        recording.read(write(tmp_path, first, line), BadLines())
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
        recording.read(tmp_path / "none", BadLines())


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_gzip_and_byte_order_marks(start: str, tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl.gz"
    path.write_bytes(gzip.compress((start + "\n".join(recording.lines([POOL, HOST]))).encode()))
    assert recording.read(path, BadLines()).hosts == (HOST,)


def test_lines_that_are_left_out_are_counted(tmp_path: Path) -> None:
    """With those that make no sense without them; where a line is does not matter."""
    orphan = DeviceRecord(id="e", host="g", memory_mib=1000)
    records = list(recording.lines([claim(), claim(), orphan, DEVICE, HOST, POOL]))
    bad = BadLines(skip=True)
    read = recording.read(write(tmp_path, *records, '{"kind": "host", "name": "g", "rack": 1}'), bad)
    assert read == Recording(pool=POOL, hosts=(HOST,), devices=(DEVICE,), claims=(claim(),))
    assert (bad.count, len(bad.reasons)) == (3, 3)
    with pytest.raises(errors.Invalid, match="0 lines of kind pool"):
        recording.read(
            write(tmp_path, *recording.lines([HOST]), '{"kind": "pool"}'), BadLines(skip=True)
        )


def test_rooms(tmp_path: Path) -> None:
    extends = DeviceRecord(id="e", host="h", memory_mib=1000, extends_memory=True, usable=False)
    read = stored(tmp_path, POOL, HOST, DEVICE, extends)
    [room] = recording.capacities(read)
    assert (room.cpu_free, room.memory_free) == (8000, 4096)
    assert [device.compute_limit for device in room.devices] == [150, 150]
    assert [device.memory_limit for device in room.devices] == [1000, 2000]
    assert [device.usable for device in room.devices] == [True, False]
    [room] = recording.capacities(read, overcommit=114)
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
