"""CUDA_VISIBLE_DEVICES, as NVIDIA's programming guide documents it."""

import pytest

from testbed.local_agent import Vgpu

IDS = (
    "8932f937-d72c-4106-c12f-20bd9faed9f6",
    "8932f9aa-d72c-4106-c12f-20bd9faed9f6",
    "00112233-4455-6677-8899-aabbccddeeff",
)
SUM = sum(range(1, 1025))


@pytest.fixture
def three(agent):
    return agent(*(Vgpu(25, 64, id=each) for each in IDS))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0", [0]),
        ("1", [1]),
        ("2,1", [2, 1]),
        (" 2 , 0 ", [2, 0]),
        ("0,2,-1,1", [0, 2]),
        ("0,7,1", [0]),
        ("1,,2", [1]),
        ("1,GPU-none", [1]),
        ("01,+2", [1, 2]),
        ("2gpu,1", [2, 1]),
        (f"GPU-{IDS[1]}", [1]),
        ("GPU-00,GPU-8932f9a", [2, 1]),
        ("GPU-8932F937", [0]),
        ("GPU-0,1", [2, 1]),
        (f"2,GPU-8932f9,GPU-{IDS[0]}", [2]),
        (f"1,GPU-{IDS[0]}0", [1]),
        (f"1,MIG-{IDS[0]}", [1]),
        ("1,99999999999999999999", [1]),
    ],
)
def test_devices_are_those_listed_in_the_order_of_the_list(three, run, value, shown):
    seen = run(three, "shown", CUDA_VISIBLE_DEVICES=value)
    assert seen["uuids"] == [IDS[index] for index in shown]
    assert seen["beyond"] == "CUDA_ERROR_INVALID_DEVICE"
    assert three.workers == [], "to look costs no session"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", ""),
        (" ", ""),
        (",0", ""),
        ("-1", ""),
        ("-1,0", ""),
        ("NoDevFiles", ""),
        ("3", "3 is not one of this program's 3 devices"),
        ("GPU-8932f9", "GPU-8932f9 is not one of this program's 3 devices"),
        ("GPU-none", "GPU-none is not one of this program's 3 devices"),
        ("0,1,0", "names device 0 twice: none is visible"),
        (f"0,GPU-{IDS[0]}", "names device 0 twice: none is visible"),
    ],
)
def test_a_list_may_show_none(three, run, value, said):
    """A list that ends on purpose is nothing to tell; one that is mistaken is."""
    seen = run(three, "init", CUDA_VISIBLE_DEVICES=value)
    assert seen["error"] == seen["again"] == "CUDA_ERROR_NO_DEVICE"
    assert said in seen["log"]
    assert bool(seen["log"]) == bool(said)


def test_without_the_variable_all_are_shown_in_their_order(three, run):
    assert run(three, "shown")["uuids"] == list(IDS)
    # Any order but the claim's would be another one in each of its programs' containers.
    for order in ("PCI_BUS_ID", "FASTEST_FIRST"):
        assert run(three, "shown", CUDA_DEVICE_ORDER=order)["uuids"] == list(IDS)


def test_a_device_that_is_shown_is_used_under_its_new_number(agent, run):
    vgpus = (Vgpu(50, 64, 0), Vgpu(25, 32, 1), Vgpu(25, 16, 0))
    serving = agent(*vgpus, environment={"REFCUDA_DEVICES": "2"})
    seen = run(serving, "two_devices", CUDA_VISIBLE_DEVICES="2,1")
    assert seen["memory"] == [16 << 20, 32 << 20]
    assert seen["first"]
    assert seen["peer_copy"]
    assert sorted(serving.opened) == [1, 2]


def test_each_rank_lands_on_a_device_of_its_own(three, run):
    seen = run(three, "ranks")
    assert seen["uuids"] == [[each] for each in IDS]
    assert seen["sum"] == SUM
    assert sorted(three.opened) == [0, 1, 2]


def test_forked_ranks_choose_their_devices(three, run):
    seen = run(three, "forked_ranks")
    assert seen["uuids"] == [[each] for each in IDS]
    assert seen["sums"] == [SUM] * 3


def test_what_the_environment_says_after_cuinit_counts_no_more(three, run):
    seen = run(three, "environment_after_init", CUDA_VISIBLE_DEVICES="1")
    assert seen["uuids"] == [IDS[1]]
    assert seen["again"] == "CUDA_SUCCESS"
    assert seen["sum"] == SUM
    assert three.opened == [1]
