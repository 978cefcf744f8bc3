"""Fields for people and for machines."""

import json
from pathlib import Path

import pytest

from gpupool.client import columns
from gpupool.client.columns import Column

SAMPLES = Path(__file__).parents[3] / "api-ref" / "source" / "samples"
ITEM = {
    "id": "1",
    "name": "mine",
    "compute": 25,
    "memory_mib": 512,
    "busy_ns": 1_500_000,
    "enabled": False,
    "traits": ["A", "B"],
    "lease_end": None,
    "links": [],
}


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("compute", 25, "25 %"),
        ("memory_mib", 512, "512 MiB"),
        ("memory_mib", 0, "0 MiB"),
        ("memory_mib", 1024, "1 GiB"),
        ("memory_mib", 1536, "1536 MiB"),
        ("busy_ns", 1_500_000, "1.5 ms"),
        ("busy_ns", 2_000_000_000, "2.0 s"),
        ("busy_ns", 5_400_000_000_000, "1.5 h"),
        ("time_limit", 45, "45 s"),
        ("time_limit", 90 * 60, "90 min"),
        ("time_limit", 7200, "2 h"),
        ("time_limit", 86400, "1 d"),
        ("cpu_milli", 500, "0.5 cores"),
        ("cpu_milli", 0, "0 cores"),
        ("cpu_milli", 128000, "128 cores"),
        ("host_memory_mib", 2048, "2 GiB"),
        ("compute_overcommit", 150, "150 %"),
        ("preemptible", True, "yes"),
        ("gain", 12.3456, "12.3 %"),
        ("gain", 100, "100.0 %"),
        ("cost_mib", 512, "512 MiB"),
        ("applied", False, "no"),
        ("enabled", True, "yes"),
        ("enabled", False, "no"),
        ("traits", ["A", "B"], "A, B"),
        ("refused_by", [], ""),
    ],
)
def test_units(field: str, value: object, text: str) -> None:
    shown = columns.shown({field: value}, field)
    assert shown.human_readable() == text
    assert shown.machine_readable() == value


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_no_item_shows_people_how_a_program_writes_lists_and_truth(sample: Path) -> None:
    content = json.loads(sample.read_text())
    lists = [value for value in content.values() if isinstance(value, list)]
    listed = [item for items in lists for item in items if isinstance(item, dict)]
    for item in listed or [content]:
        _, values = columns.details(item)
        assert not [value for value in values if isinstance(value, bool | list)]


def test_an_elastic_claim_shows_between_what_it_has_how_many() -> None:
    item = {"count": 5, "min_count": 2, "max_count": 8, "state": "bound"}
    shown = columns.shown(item, "count")
    assert (shown.human_readable(), shown.machine_readable()) == ("5 of 2-8", 5)
    assert columns.shown({"count": 5, "min_count": None, "max_count": None}, "count") == 5
    assert columns.shown({"count": 5}, "count") == 5


@pytest.mark.parametrize("state", ["queued", "allocating", "suspended", None])
def test_what_has_no_vgpus_yet_shows_the_range_alone(state: str | None) -> None:
    item = {"count": 2, "min_count": 2, "max_count": 8, "compute": 25, "memory_mib": 512, "state": state}
    assert columns.shown(item, "count").human_readable() == "2-8"
    assert (
        columns.shown({**item, "state": columns.Cell(state, "any")}, "count").human_readable() == "2-8"
    )
    assert columns.size(item) == "2-8 x 25 %, 512 MiB"
    profile = {name: value for name, value in item.items() if name != "state"}
    assert columns.size(profile) == "2-8 x 25 %, 512 MiB"


def test_counts_are_wrapped_between_kinds() -> None:
    counts = {"queued": 1, "binding": 0, "bound": 7, "released": 12345, "expired": 2}
    shown = columns.shown({"claims": counts}, "claims")
    assert shown.human_readable() == "1 queued, 7 bound,\n12345 released,\n2 expired"
    assert shown.machine_readable() == counts


def test_plain_fields_stay() -> None:
    assert columns.shown(ITEM, "name") == "mine"
    assert columns.shown(ITEM, "lease_end").human_readable() == ""
    assert columns.shown(ITEM, "lease_end").machine_readable() is None
    assert columns.shown(ITEM, "not sent").machine_readable() is None
    # In usage, `devices` is how many.
    assert columns.shown({"devices": 4}, "devices") == 4


def test_a_table_has_titles_and_rows() -> None:
    titles, rows = columns.table([ITEM], (Column("name", "Name"), Column("id", "ID")))
    assert titles == ("Name", "ID")
    assert rows == [("mine", "1")]


def test_details_begin_with_id_and_name() -> None:
    fields, values = columns.details(ITEM)
    assert fields == ("id", "name", "busy_ns", "compute", "enabled", "lease_end", "memory_mib", "traits")
    assert values[:2] == ("1", "mine")
