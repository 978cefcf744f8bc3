"""What the bench of gangs measures, on few hosts; no time is looked at."""

from pathlib import Path

import pytest

from bench import gang_course, gang_latency
from tests.unit.allocator.rooms import demand, device, host

ROOMS = [
    host(
        f"host-{number}",
        *(device(f"{number}/{slot}", product=f"product-{number % 2}") for slot in range(4)),
        cpu_total=96_000,
        cpu_free=96_000,
        memory_total=100_000,
        memory_free=100_000,
    )
    for number in range(30)
]


@pytest.mark.parametrize("wish", gang_course.WISHES)
def test_gangs_come_until_more_is_demanded_than_there_is(wish: str) -> None:
    singles = [demand(compute=50, memory_mib=0)]
    found = gang_course.measure(ROOMS, singles, wish)
    assert len(found["clock"]) == len(found["processor"]) >= len(gang_course.SEEDS)
    assert found["plans"] == gang_course.measure(ROOMS, singles, wish)["plans"]


def test_lines_have_the_ratios_and_whether_plans_are_the_same() -> None:
    this = [{"clock": [1_000_000] * 9, "processor": [1_000_000] * 9, "plans": "a"}]
    other = [{"clock": [10_000_000] * 9, "processor": [5_000_000] * 9, "plans": "a"}]
    processor, clock = gang_latency.lines("pack", this, other)
    assert "p50 5.000, 5.0 times; p99 5.000, 5.0 times; plans are the same" in processor
    assert "p50 10.000, 10.0 times; p99 10.000, 10.0 times" in clock
    assert "DIFFER" in next(gang_latency.lines("pack", this, [{**other[0], "plans": "b"}]))


def test_the_trace_is_read_with_copies_of_its_nodes(tmp_path: Path) -> None:
    nodes, pods = tmp_path / "nodes.csv", tmp_path / "pods.csv"
    nodes.write_text("sn,cpu_milli,memory_mib,gpu,model\na,8000,100,2,T4\n")
    pods.write_text("name,cpu_milli,memory_mib,num_gpu,gpu_milli\nx,1000,10,0,0\ny,2000,20,1,505\n")
    rooms = gang_course.read_rooms(nodes, scale=2)
    assert [each.device_id for on in rooms for each in on.devices] == [
        "a/0/0000",
        "a/0/0001",
        "a/1/0000",
        "a/1/0001",
    ]
    (single,) = gang_course.read_singles(pods)
    assert (single.count, single.compute, single.cpu_milli) == (1, 51, 2000)
