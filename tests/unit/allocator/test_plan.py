"""Plans on pools small enough to see what has to come out."""

import numpy as np
import pytest

from gpupool.allocator.plan import NoRoom, Plan, plan
from gpupool.allocator.view import PoolView
from tests.unit.allocator.rooms import claim, room


def planned(rooms, wanted, policy=None):
    outcome = plan(PoolView(rooms), wanted, policy)
    assert isinstance(outcome, Plan), outcome
    return outcome.device_ids


def refused(rooms, wanted):
    outcome = plan(PoolView(rooms), wanted)
    assert isinstance(outcome, NoRoom), outcome
    return outcome


def test_best_fit_takes_the_tightest_device():
    rooms = [
        room("a"),
        room("b", compute_free=30, memory_free=300),
        room("c", compute_free=20),
        room("d", compute_free=50),
    ]
    assert planned(rooms, claim()) == ("b",)


def test_memory_counts_as_much_as_compute():
    rooms = [room("a", compute_free=60), room("b", memory_free=500), room("c", compute_free=70)]
    assert planned(rooms, claim()) == ("b",)


def test_a_share_fits_exactly():
    assert planned([room("a", compute_free=25, memory_free=250)], claim()) == ("a",)


@pytest.mark.parametrize("short", [{"compute_free": 24}, {"memory_free": 249}])
def test_one_unit_short_is_no_room(short):
    assert not refused([room("a", **short)], claim()).impossible


def test_vgpus_go_to_different_devices_where_there_are_enough():
    rooms = [room("a"), room("b"), room("c", compute_free=30)]
    assert sorted(planned(rooms, claim(count=3))) == ["a", "b", "c"]


def test_a_host_with_enough_devices_goes_before_a_tighter_one_without():
    rooms = [
        room("a", "tight", compute_free=50),
        room("b", "wide"),
        room("c", "wide"),
    ]
    assert sorted(planned(rooms, claim(count=2))) == ["b", "c"]


def test_vgpus_share_devices_evenly_when_there_are_too_few():
    rooms = [room("a"), room("b")]
    assert sorted(planned(rooms, claim(count=5, compute=20, memory_mib=100))) == list("aaabb")


def test_no_vgpu_shares_a_device_that_is_full():
    rooms = [room("a", compute_free=25), room("b")]
    assert sorted(planned(rooms, claim(count=4))) == list("abbb")


def test_a_claim_is_never_split_over_hosts():
    rooms = [room("a", "host-a"), room("b", "host-b")]
    outcome = refused(rooms, claim(count=2, compute=60))
    assert outcome.impossible
    assert outcome.filters == (("compute", 2), ("memory", 2), ("2 on one host", 0))


def test_no_room_now_says_which_filter_left_how_many_devices():
    rooms = [
        room("a", traits={"CUSTOM_A"}, compute_free=10),
        room("b", traits={"CUSTOM_A"}),
        room("c", traits={"CUSTOM_A", "CUSTOM_B"}, usable=False),
        room("d", "host-b", traits={"CUSTOM_A"}, host_up=False),
        room("e"),
    ]
    wanted = claim(required_traits=("CUSTOM_A",), forbidden_traits=("CUSTOM_B",), memory_mib=1000)
    outcome = refused([*rooms[:1], *rooms[2:]], wanted)
    assert not outcome.impossible
    assert outcome.filters == (
        ("required traits", 3),
        ("forbidden traits", 2),
        ("enabled and healthy", 2),
        ("host up", 1),
        ("compute", 0),
        ("memory", 0),
        ("1 on one host", 0),
    )
    assert outcome.reason == (
        "no room for 1 x 25 % and 1000 MiB: 4 devices in the pool, 3 after required traits,"
        " 2 after forbidden traits, 2 after enabled and healthy, 1 after host up, 0 after compute"
    )
    assert planned(rooms, wanted) == ("b",)


def test_a_claim_bigger_than_every_device_is_impossible():
    outcome = refused([room("a", compute_free=0)], claim(memory_mib=1001))
    assert outcome.impossible
    assert outcome.filters == (("compute", 1), ("memory", 0), ("1 on one host", 0))


@pytest.mark.parametrize("trouble", [{"usable": False}, {"host_up": False}, {"compute_free": 0}])
def test_what_may_pass_is_not_impossible(trouble):
    assert not refused([room("a", **trouble)], claim()).impossible


def test_a_pool_without_devices_is_not_impossible():
    outcome = refused([], claim(count=7))
    assert not outcome.impossible
    assert "0 devices in the pool" in outcome.reason


@pytest.mark.parametrize(
    "place", [{"host": "host-z"}, {"devices": ("z",)}, {"required_traits": ("CUSTOM_Z",)}]
)
def test_a_place_that_does_not_exist_is_impossible(place):
    assert refused([room("a")], claim(**place)).impossible


def test_named_devices_and_host_are_kept_to():
    rooms = [room("a"), room("b", "host-b"), room("c", "host-b")]
    assert planned(rooms, claim(devices=("c",))) == ("c",)
    assert planned(rooms, claim(host="host-b")) == ("b",)


def test_equal_devices_are_taken_in_the_order_of_host_and_id():
    rooms = [room("b", "host-b"), room("z", "host-a"), room("a", "host-b")]
    assert planned(rooms, claim()) == ("z",)


def test_another_policy_takes_the_place_of_best_fit():
    class WorstFit:
        def cost(self, view, wanted):
            return -view.compute_free.astype(np.float64)

    rooms = [room("a", compute_free=40), room("b", compute_free=90)]
    assert planned(rooms, claim()) == ("a",)
    assert planned(rooms, claim(), WorstFit()) == ("b",)
