"""gpupool-replay philly, on a small cluster."""

import csv

import pytest

from gpupool.replay.report import KEYS
from tests.functional.replay.conftest import Command


def test_json(command: Command) -> None:
    called = command.philly("--json")
    assert (called.code, called.err) == (0, "")
    found = called.found
    assert set(KEYS) <= set(found)
    assert found["unallocated_at_100"] is found["decision_p99_ms"] is None
    assert [row["name"] for row in found["rows"]] == ["fifo", "fair", "fair, no time limits"]
    assert found["assumptions"]["cluster"] == "mixed", "the one with gangs"
    assert found["assumptions"]["load"] <= 0.9
    assert {row["completed"] for row in found["rows"]} == {32}
    # The answer is the last order's, over the first.
    fifo, fair, _ = found["rows"]
    assert found["completion_mean_s"] == fair["completion_mean_s"]
    ratio = fair["completion_mean_s"] / fifo["completion_mean_s"]
    assert found["completion_ratio"] == pytest.approx(ratio)
    assert fifo["completion_ratio"] == 1
    assert found["compared"] == 32


def test_back_fill_helps_where_gangs_block_the_line(command: Command) -> None:
    found = command.philly("--json", "--devices", 16).found
    assert found["completion_ratio"] < 1
    assert found["waiting_mean_s"] < found["rows"][0]["waiting_mean_s"]


@pytest.mark.parametrize("order", ["fifo", "fair"])
def test_what_fits_does_not_wait(order: str, command: Command) -> None:
    found = command.philly("--json", "--order", order, "--devices", 999).found
    assert found["waiting_p99_s"] == 0
    assert found["rows"][0]["name"] == order


def test_the_busiest_week(command: Command) -> None:
    later = "2018-01-01 00:00:00,1000000,16,0,mixed\n"
    command.jobs.write_text(command.jobs.read_text() + later)
    found = command.philly("--json", "--busiest-week").found
    assert found["assumptions"]["jobs"] == 1
    assert found["assumptions"]["first arrival"] == "2018-01-01 00:00:00+00:00"


def test_clusters(command: Command) -> None:
    assert command.philly("--json", "--cluster", "small").found["assumptions"]["jobs"] == 16
    assert command.philly("--json", "--cluster", "all").found["assumptions"]["jobs"] == 48
    called = command.philly("--cluster", "none")
    assert called.code == 1
    assert called.err == "gpupool-replay: cluster is 'none'; allowed: mixed, small, all\n"


def test_files_that_are_refused(command: Command) -> None:
    command.jobs.write_text("timestamp,duration,num_gpus,cluster\n\n")
    called = command.philly()
    assert (called.code, called.out) == (1, "")
    assert (
        called.err == f"gpupool-replay: {command.jobs}: no line after the columns' names can be read\n"
    )


def test_jobs_that_no_host_holds(command: Command) -> None:
    """Are refused at once and said so, and hold up nobody."""
    found = command.philly("--json", "--devices", 8).found
    assert [row["refused"] for row in found["rows"]] == [8, 8, 8]
    assert [row["completed"] for row in found["rows"]] == [24, 24, 24]


def test_options_of_the_queue(command: Command) -> None:
    arguments = ("--projects", 3, "--half-life", 1, "--reservations", 2, "--remote")
    found = command.philly("--json", *arguments, "--time-limits", 2.5, "--devices", 16).found
    assert found["assumptions"]["time limits"] == "2.5 times the run time"
    assert found["assumptions"]["devices of one job"] == "any"
    assert (found["assumptions"]["reservations"], found["assumptions"]["half-life, hours"]) == (2, 1)
    found = command.philly("--json", *arguments, "--time-limits", "none", "--load", 0.5).found
    assert [row["name"] for row in found["rows"]] == ["fifo", "fair"]


def test_claims(command: Command) -> None:
    path, plot = command.folder / "out.csv", command.folder / "out.svg"
    found = command.philly("--json", "--devices", 16, "--csv", path, "--plot", plot).found
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["run"] == "fair"]
    completion = [float(row["completion_s"]) for row in rows]
    assert sum(completion) / len(rows) == pytest.approx(found["completion_mean_s"], abs=1e-2)
    assert all(
        float(row["ended_s"]) > float(row["started_s"]) >= float(row["arrived_s"]) for row in rows
    )
    assert plot.stat().st_size > 1000
