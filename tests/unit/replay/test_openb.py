"""The openb reader, and the order in which its pods come."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from gpupool.allocator.demand import Demand
from gpupool.model import errors
from gpupool.model.claim import Qos
from gpupool.replay import openb
from gpupool.replay.lines import BadLines

NODES = "sn,cpu_milli,memory_mib,gpu,model\nb,8000,1024,2,T4\na,4000,512,0,\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n"

MODELS = frozenset({"T4", "V100", "V100M16", "V100M32", "G2", "A10"})


def nodes(folder: Path, content: str = NODES) -> list[openb.Node]:
    path = folder / "nodes.csv"
    path.write_text(content)
    return openb.read_nodes(path, BadLines())


def pods(folder: Path, *rows: str) -> openb.Pods:
    path = folder / "pods.csv"
    path.write_text(PODS + "".join(f"{row}\n" for row in rows))
    return openb.read_pods(path, MODELS, BadLines())


def demand(count: int, compute: int, **fields: object) -> Demand:
    return Demand(count=count, compute=compute, memory_mib=0, **fields)  # type: ignore[arg-type]


def test_nodes(tmp_path: Path) -> None:
    assert nodes(tmp_path) == [
        openb.Node(name="b", cpu_milli=8000, memory_mib=1024, gpus=2, model="T4"),
        openb.Node(name="a", cpu_milli=4000, memory_mib=512, gpus=0, model=""),
    ]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("a,1,1,x,T4\n", "line 2: gpu is 'x'; allowed: a whole number from 0 to 1024"),
        (",1,1,1,T4\n", "line 2: sn is ''; allowed: a name"),
        ("a,1,1,1,T4\na,1,1,1,T4\n", "line 3: sn is 'a' again; allowed: each once"),
        ("a,1,1,0,\n", "gpu is 0 in every line"),
    ],
)
def test_nodes_that_are_refused(rows: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid) as caught:
        nodes(tmp_path, "sn,cpu_milli,memory_mib,gpu,model\n" + rows)
    assert reason in str(caught.value)


def test_pods(tmp_path: Path) -> None:
    read = pods(tmp_path, "p,500,64,0,0,,BE", "q,1000,0,1,460,V100M16|A10,LS", "r,0,0,8,1000,nan,LS")
    assert read.demands == (
        demand(0, 0, cpu_milli=500, host_memory_mib=64),
        demand(1, 46, cpu_milli=1000, products=("A10", "V100M16")),
        demand(8, 100),
    )
    assert read.rounded == 0


def test_what_no_percent_is_is_rounded_up(tmp_path: Path) -> None:
    read = pods(tmp_path, "p,0,0,1,461,,", "q,0,0,1,5,,", "r,0,0,1,10,,")
    assert [each.compute for each in read.demands] == [47, 1, 1]
    assert read.rounded == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("p,0,0,1,0,,", "line 2: gpu_milli is '0'; allowed: 1 to 1000 where num_gpu is 1"),
        ("p,0,0,1,1001,,", "line 2: gpu_milli is '1001'; allowed: a whole number from 0 to 1000"),
        ("p,0,0,2,500,,", "line 2: gpu_milli is '500'; allowed: 1000 where num_gpu is 2"),
        ("p,-1,0,1,500,,", "line 2: cpu_milli is '-1'; allowed: a whole number from 0 to 2147483647"),
        ("p,0,0,0,0,,", "num_gpu is 0 in every line"),
    ],
)
def test_pods_that_are_refused(row: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid) as caught:
        pods(tmp_path, row)
    assert reason in str(caught.value)


def test_rooms(tmp_path: Path) -> None:
    rooms = openb.capacities(nodes(tmp_path), reserve_cpu_milli=500, overcommit=114, scale=2)
    assert [room.name for room in rooms] == ["b", "b/1", "a", "a/1"]
    # Only hosts with devices have work to do for others.
    assert [room.cpu_free for room in rooms] == [7500, 7500, 4000, 4000]
    devices = [device for room in rooms for device in room.devices]
    assert len({device.device_id for device in devices}) == 4
    assert {(device.compute_total, device.compute_limit) for device in devices} == {(100, 114)}
    assert openb.capacities(nodes(tmp_path), reserve_cpu_milli=9000)[0].cpu_free == 0


def test_only_slices_are_oversubscribed() -> None:
    several = [demand(0, 0), demand(1, 46), demand(1, 100), demand(2, 100)]
    qos = [each.qos for each in openb.oversubscribed(several)]
    assert qos == [Qos.GUARANTEED, Qos.BEST_EFFORT, Qos.GUARANTEED, Qos.GUARANTEED]


def test_arrivals() -> None:
    """Each once in an order that the seed decides, then copies, until enough is demanded."""
    several = [demand(1, share) for share in range(10, 30)]
    total = sum(each.compute for each in several)
    first = list(openb.arrivals(several, 3 * total, seed=1))
    assert Counter(first[:20]) == Counter(several)
    assert first[:20] != several
    assert set(first[20:]) <= set(several)
    asked = sum(each.compute for each in first)
    assert asked >= 3 * total > asked - first[-1].compute
    assert first == list(openb.arrivals(several, 3 * total, seed=1))
    assert first != list(openb.arrivals(several, 3 * total, seed=2))
    assert list(openb.arrivals(several, 0, seed=1)) == []


@pytest.mark.parametrize("seed", range(1, 9))
def test_copies_are_of_the_trace(seed: int) -> None:
    """Not of the copies before: kinds would die out, and with a rare one what asks for devices."""
    rare = [demand(1, 100), *(demand(0, 0, cpu_milli=number) for number in range(20))]
    asked = sum(each.count * each.compute for each in islice(openb.arrivals(rare, 1040, seed), 10_000))
    assert asked == 1100
    kinds = [demand(1, share) for share in range(1, 101)]
    late = list(openb.arrivals(kinds, 200 * sum(range(101)), seed))[-100:]
    assert len(set(late)) > 50
