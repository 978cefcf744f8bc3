"""Whatever a file holds, it is read or refused with a reason."""

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.model import errors
from gpupool.replay import openb, philly, recording

VALUES = st.one_of(
    st.sampled_from(
        ["", "nan", "1", "-1", "1000", "8", "1e9", "1" * 40, "٣", "2017-10-09 07:01:55", "a|b"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters=',"\r\n'), max_size=8),
)
NAMES = (*openb.NODE_COLUMNS, *openb.POD_COLUMNS, *philly.COLUMNS)
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


def tried(content: bytes, *reads: Callable[[Path], Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        for read in reads:
            with suppress(errors.Invalid):
                read(path)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(VALUES, min_size=len(COLUMNS), max_size=len(COLUMNS)), max_size=3))
def test_values(rows: list[list[str]]) -> None:
    lines = [",".join(row) for row in [list(COLUMNS), *rows]]
    tried("\n".join(lines).encode(), openb.read_nodes, openb.read_pods, philly.read_jobs)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_bytes(content: bytes) -> None:
    tried(content, openb.read_nodes, openb.read_pods, philly.read_jobs, recording.read)


@settings(deadline=None, max_examples=100)
@given(st.lists(RECORDS | JSON, max_size=4))
def test_records(records: list[Any]) -> None:
    def read(path: Path) -> None:
        found = recording.read(path)
        recording.rooms(found)
        recording.jobs(found)

    tried("\n".join(map(json.dumps, records)).encode(), read)
