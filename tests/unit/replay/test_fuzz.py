"""Whatever a file holds, it is read and replayed, or refused with a reason."""

import json
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.cmd import replay
from gpupool.model import errors
from gpupool.model.claim import AMOUNT_MAX
from gpupool.replay import openb, philly, recording
from gpupool.replay.lines import BadLines

VALUES = st.one_of(
    st.sampled_from(
        ["", "nan", "1", "-1", "1000", "8", "1e9", "1" * 40, "٣", "2017-10-09 07:01:55", "a|b"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters=',"\r\n'), max_size=8),
)
NAMES = (*openb.NODE_COLUMNS.needed, *openb.POD_COLUMNS.needed, "gpu_spec", *philly.COLUMNS.needed)
COLUMNS = tuple(dict.fromkeys(NAMES))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
FIELDS = ("name", "id", "host", "project_id", "created_at", "bound_at", "count", "compute", "memory_mib")
RECORDS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["pool", "host", "device", "claim"])},
    optional={
        **dict.fromkeys((*FIELDS, "tier", "traits", "schema_version"), JSON),
        "recorded_at": JSON | st.just("2026-11-23T12:00:00"),
    },
)


def pods(path: Path, bad: BadLines) -> Any:
    return openb.read_pods(path, {"a"}, bad)


def tried(content: bytes, *reads: Callable[[Path, BadLines], Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        for read in reads:
            for skip in (False, True):
                with suppress(errors.Invalid):
                    read(path, BadLines(skip=skip))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(VALUES, min_size=len(COLUMNS), max_size=len(COLUMNS)), max_size=3))
def test_values(rows: list[list[str]]) -> None:
    lines = [",".join(row) for row in [list(COLUMNS), *rows]]
    tried("\n".join(lines).encode(), openb.read_nodes, pods, philly.read_jobs)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_bytes(content: bytes) -> None:
    tried(content, openb.read_nodes, pods, philly.read_jobs, recording.read)


@settings(deadline=None, max_examples=100)
@given(st.lists(RECORDS | JSON, max_size=4))
def test_records(records: list[Any]) -> None:
    def read(path: Path, bad: BadLines) -> None:
        found = recording.read(path, bad)
        recording.capacities(found)
        recording.jobs(found)

    tried("\n".join(map(json.dumps, records)).encode(), read)


BEYOND = [AMOUNT_MAX + 1, 10**25, -3]


def mostly(allowed: list[Any], others: list[Any]) -> st.SearchStrategy[Any]:
    """What fits, so that whole files do, and now and then what does not."""
    return st.sampled_from([*allowed * 20, *others])


def numbers(*most: float) -> st.SearchStrategy[Any]:
    return mostly([*most], BEYOND)


AMOUNTS = mostly(["0", "1", "1000", str(AMOUNT_MAX)], [*map(str, BEYOND), "1e308", "x"])
TIMES = mostly(
    ["2017-10-09 07:01:55", "2017-10-11 00:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59"],
    ["0001-01-01 00:00:00+12:00", "9999-12-31 23:59:59-12:00"],
)
NODES = st.fixed_dictionaries(
    {
        "cpu_milli": AMOUNTS,
        "memory_mib": AMOUNTS,
        "gpu": mostly(["1", "3"], ["0", "-1"]),
        "model": st.just("T4"),
    }
)
PODS = st.fixed_dictionaries(
    {
        "cpu_milli": AMOUNTS,
        "memory_mib": AMOUNTS,
        "num_gpu": mostly(["1"], ["0", "2"]),
        "gpu_milli": st.sampled_from(["330", "1000"]),
    }
)
JOBS = st.fixed_dictionaries(
    {
        "timestamp": TIMES,
        "duration": mostly(["0", "1", "90000"], [str(AMOUNT_MAX), str(AMOUNT_MAX + 1), "1e308"]),
        "num_gpus": mostly(["1", "2"], ["0", "1024", "1025"]),
        "cluster": st.just("a"),
    }
)
POOL_NUMBERS = {
    "compute_overcommit": numbers(100, 150),
    "memory_overcommit": numbers(100, 10**6),
    "half_life": numbers(1, 10**15),
    "project_weights": st.dictionaries(st.just("x"), numbers(1, 0.001)),
    "backfill": st.booleans(),
    "reservations": numbers(0, 3),
    "min_run_time": numbers(0, 10**15),
    "project_min_run_times": st.dictionaries(st.just("x"), numbers(0, 10**15)),
    "mix_window": numbers(1, 10**15),
}
HOST_NUMBERS = {"cpu_milli": numbers(0, AMOUNT_MAX), "memory_mib": numbers(0, AMOUNT_MAX)}
CLAIM_NUMBERS = {
    **HOST_NUMBERS,
    "count": numbers(1, 2, 1024),
    "compute": numbers(1, 30, 100),
    "host_memory_mib": numbers(0, AMOUNT_MAX),
    "priority": numbers(0, 100),
    "time_limit": numbers(1, AMOUNT_MAX),
}
CLAIM_TIMES = st.lists(TIMES, min_size=3, max_size=3).map(sorted)


def table(named: str, rows: list[dict[str, str]]) -> str:
    lines = [{named: f"name-{number}", **row} for number, row in enumerate(rows)]
    return "\n".join(",".join(line) for line in [lines[0], *(line.values() for line in lines)])


def replayed(*arguments: str, **files: str) -> None:
    """Run the command with options that name files of that content: a report, or one line of why not."""
    out, err = StringIO(), StringIO()
    with tempfile.TemporaryDirectory() as folder:
        named = []
        for name, content in files.items():
            path = Path(folder) / name
            path.write_text(content)
            named += [f"--{name}", str(path)] if arguments[0] != "recording" else [str(path)]
        with redirect_stdout(out), redirect_stderr(err):
            code = replay.main([*arguments, *named])
    said = err.getvalue().replace("1 of 1 seeds done\n", "")
    assert (code, said) == (0, "") or (code == 1 and said.count("\n") == 1 and not out.getvalue())


@settings(deadline=None, max_examples=50)
@given(st.lists(NODES, min_size=1, max_size=3), st.lists(PODS, min_size=1, max_size=3), st.booleans())
def test_replays_of_openb(nodes: list[Any], pods: list[Any], remote: bool) -> None:
    options = ["--remote", "--moves", "--oversubscribe", "1.5"] if remote else []
    replayed("openb", *options, nodes=table("sn", nodes), pods=table("name", pods))


@settings(deadline=None, max_examples=50)
@given(st.lists(JOBS, min_size=1, max_size=3))
def test_replays_of_philly(jobs: list[Any]) -> None:
    replayed("philly", jobs=table("job", jobs))


@settings(deadline=None, max_examples=50)
@given(
    st.fixed_dictionaries({}, optional=POOL_NUMBERS),
    st.fixed_dictionaries({}, optional=HOST_NUMBERS),
    numbers(8192, AMOUNT_MAX),
    st.lists(
        st.tuples(st.fixed_dictionaries({}, optional=CLAIM_NUMBERS), CLAIM_TIMES, st.integers(1, 3)),
        max_size=3,
    ),
)
def test_replays_of_recordings(
    pool: dict[str, Any], host: dict[str, Any], memory_mib: int, claims: list[Any]
) -> None:
    lines: list[dict[str, Any]] = [
        {"kind": "pool", "name": "p", "recorded_at": "2026-11-23T12:00:00", **pool},
        {"kind": "host", "name": "h", **host},
        {"kind": "device", "id": "d", "host": "h", "memory_mib": memory_mib, "extends_memory": True},
    ]
    for number, (numbers, times, known) in enumerate(claims):
        of_claim = {"id": str(number), "project_id": "x", "count": 1, "compute": 50, "memory_mib": 9}
        named = dict(list(zip(("created_at", "bound_at", "ended_at"), times, strict=True))[:known])
        lines.append({"kind": "claim", **of_claim, **named, **numbers})
    replayed("recording", file="\n".join(map(json.dumps, lines)))
