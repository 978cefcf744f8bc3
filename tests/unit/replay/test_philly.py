"""The Philly reader: whose jobs, which week, how large a cluster."""

from pathlib import Path

import pytest

from gpupool.model import errors
from gpupool.replay import philly
from gpupool.replay.lines import BadLines
from gpupool.replay.philly import DAY, Record

HEADER = "timestamp,duration,num_gpus,gpu_time,cluster\n"


def record(number: int, day: float, runs: float = 3600, gpus: int = 1, cluster: str = "a") -> Record:
    return Record(number=number, arrives=day * DAY, runs=runs, gpus=gpus, cluster=cluster)


def test_jobs(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text(HEADER + "1970-01-02 00:00:01,66.0,1,66.0,b\n1970-01-01 00:00:00,5.5,16,88.0,a\n")
    assert philly.read_jobs(path, BadLines()) == [
        Record(number=3, arrives=0, runs=5.5, gpus=16, cluster="a"),
        Record(number=2, arrives=86401, runs=66, gpus=1, cluster="b"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("soon,1,1,1,a", "line 2: timestamp is 'soon'; allowed: a time such as"),
        (
            "1970-01-02 00:00:01,-1,1,1,a",
            "line 2: duration is '-1'; allowed: a number from 0 to 2147",
        ),
        (
            "1970-01-02 00:00:01,1,0,1,a",
            "line 2: num_gpus is '0'; allowed: a whole number from 1 to",
        ),
        ("1970-01-02 00:00:01,1,1,1,", "line 2: cluster is ''; allowed: a name"),
    ],
)
def test_jobs_that_are_refused(row: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text(HEADER + row + "\n")
    with pytest.raises(errors.Invalid) as caught:
        philly.read_jobs(path, BadLines())
    assert reason in str(caught.value)


def test_clusters() -> None:
    records = [record(1, 0), record(2, 0), record(3, 0, gpus=2, cluster="b"), record(4, 0, cluster="c")]
    assert philly.of_cluster(records, "a") == ("a", records[:2])
    assert philly.of_cluster(records, None) == ("b", records[2:3])
    assert philly.of_cluster(records, "all") == ("all", records)
    assert philly.of_cluster(records[:2], None)[0] == "a"
    with pytest.raises(errors.Invalid, match="cluster is 'd'; allowed: a, b, c, all"):
        philly.of_cluster(records, "d")


def test_the_busiest_week_asks_for_most() -> None:
    """Not the one with most jobs, and not more than seven days."""
    records = [
        *(record(number, 0.1 * number, runs=1) for number in range(50)),
        record(100, 20.5, runs=5000, gpus=8),
        record(101, 26.9, runs=5000, gpus=8),
        record(102, 27.1, runs=1, gpus=8),
    ]
    assert [each.number for each in philly.busiest_week(records)] == [100, 101]


def test_size_and_load() -> None:
    records = [record(1, 0, runs=DAY, gpus=10), record(2, 6.5, runs=DAY, gpus=11)]
    # 21 device-days in 7 days.
    assert philly.load(records, 6, philly.days(records)) == pytest.approx(0.5)
    assert philly.sized(records, 0.25, 7) == 16
    assert philly.sized(records, 1.0, 7) == 16, "the largest job needs 11"
    with pytest.raises(
        errors.Invalid, match="load of 1e-06 the jobs need 3000000 devices; allowed: 999999"
    ):
        philly.sized(records, 1e-6, 7)
    rooms = philly.capacities(12)
    assert [len(room.devices) for room in rooms] == [8, 4]
    assert len({device.device_id for room in rooms for device in room.devices}) == 12


def test_jobs_of_the_queue() -> None:
    records = [record(7, 1, gpus=8), record(8, 2, gpus=9), record(9, 2.5)]
    made = philly.jobs(records, projects=2, time_limit=1.5)
    assert [job.arrives for job in made] == [0, DAY, 1.5 * DAY]
    assert [job.project for job in made] == ["a/0", "a/1", "a/0"]
    assert {job.time_limit for job in made} == {5400}
    # No host has nine.
    assert [job.demand.same_host for job in made] == [True, False, True]
    free = philly.jobs(records, same_host=False)
    assert not any(job.demand.same_host or job.time_limit for job in free)
