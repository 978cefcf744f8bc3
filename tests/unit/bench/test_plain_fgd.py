"""The traces with types of the bench, and the method it compares with."""

import pytest

from bench import plain_fgd, typed_pods
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import plan
from gpupool.allocator.view import PoolView
from gpupool.replay.openb import Node, Pods
from gpupool.replay.openb_run import Trace
from tests.unit.allocator.rooms import demand, device, host

NODES = [
    Node(name=f"{model}-{number}", cpu_milli=8000, memory_mib=1000, gpus=gpus, model=model)
    for model, count, gpus in (("T4", 12, 2), ("V100M16", 3, 8), ("A10", 1, 1))
    for number in range(count)
]


def pod(num_gpu: int, **values: int) -> dict[str, str]:
    asked = {"cpu_milli": 1000, "memory_mib": 10, "num_gpu": num_gpu, "gpu_milli": 500, **values}
    return {"name": "pod", **{key: str(value) for key, value in asked.items()}}


def test_so_many_pods_with_gpus_name_a_type_that_could_hold_them() -> None:
    pods = [pod(0)] * 50 + [pod(1)] * 1000 + [pod(4)] * 1000 + [pod(16)] * 10
    rows = list(typed_pods.typed(pods, NODES, 30, typed_pods.GPUS, seed=1))
    assert rows == list(typed_pods.typed(pods, NODES, 30, typed_pods.GPUS, seed=1))
    assert [{**row, "gpu_spec": ""} for row in rows] == [{**each, "gpu_spec": ""} for each in pods]
    assert not any(row["gpu_spec"] for row in rows[:50])
    named = [row["gpu_spec"] for row in rows[50:1050]]
    assert 250 < sum(map(bool, named)) < 350
    assert {*named} == {"", "T4", "V100M16", "V100M16|V100M32"}
    # Nodes of two GPUs could hold none of four, nothing those of sixteen.
    assert {row["gpu_spec"] for row in rows[1050:2050]} == {"", "V100M16", "V100M16|V100M32"}
    assert {row["gpu_spec"] for row in rows[2050:]} == {""}


def test_types_are_drawn_by_their_gpus_or_evenly() -> None:
    counts = {}
    for by in (typed_pods.GPUS, typed_pods.EVENLY):
        nodes = [*NODES, *(each for each in NODES if each.model == "T4")] * 4
        rows = list(typed_pods.typed([pod(1)] * 2000, nodes, 100, by, seed=1))
        counts[by] = sum(row["gpu_spec"] == "T4" for row in rows)
    assert 1250 < counts[typed_pods.GPUS] < 1420
    assert 920 < counts[typed_pods.EVENLY] < 1080


@pytest.mark.parametrize("scores", [False, True])
def test_plain_fgd_takes_the_first_of_those_that_fragment_least(scores: bool) -> None:
    # Half of a device is of no use to the only kind of claim; to fill one leaves none.
    rooms = [host("a", device("a/0")), host("b", device("b/0", compute_free=50))]
    half, whole = demand(compute=50), demand(compute=100)
    policy = plain_fgd.Plain(plain_fgd.Typical([whole]), scores)
    found = plan(PoolView(rooms), half, policy)
    assert isinstance(found, Plan)
    assert found.device_ids == ("b/0",)
    found = plan(PoolView([*rooms, host("c", device("c/0"))]), whole, policy)
    assert isinstance(found, Plan)
    assert found.device_ids == ("a/0",)


def test_typical_demands_are_the_commonest_that_make_up_enough() -> None:
    demands = [demand(compute=10)] * 60 + [demand(compute=20)] * 36 + [demand(compute=30)] * 4
    assert dict(plain_fgd.Typical(demands).weights) == {demands[0]: 60 / 96, demands[60]: 36 / 96}


def test_all_methods_fill_the_same_pool() -> None:
    pods = Pods(demands=(demand(compute=50, memory_mib=0),), rounded=0)
    trace = Trace(nodes=NODES, pods=pods, left_out=0)
    for method in (plain_fgd.OURS, plain_fgd.EXACT, plain_fgd.SCORES):
        assert plain_fgd.unallocated(trace, method, seed=1) == pytest.approx(0, abs=2)
    assert plain_fgd.line("trace", "mean", [4.0, 4.5, 4.25]).endswith("-0.250")
