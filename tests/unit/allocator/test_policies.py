"""Which place each policy prefers."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import plan
from gpupool.allocator.policies import FragmentationGradientDescent, make
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout
from gpupool.model.pool import PolicyName
from tests.unit.allocator.rooms import copied, demand, demands, device, host, modest, pools, times

# Steps and ties of fgd: see there.
STEP, TIE = 8.0, 0.01


def planned(hosts, wanted, name, mix=(), remote=False) -> Plan:
    found = plan(PoolView(hosts, remote=remote), wanted, make(name, Mix(mix)))
    assert isinstance(found, Plan), found
    return found


HALVES = [
    host("host-a", device("a"), device("b")),
    host("host-b", device("c", compute_free=60), device("d", compute_free=90)),
    host("host-c", device("e", compute_free=30), device("f")),
]


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        # The tightest device, the fullest host that has room, the emptiest device of the emptiest host.
        (PolicyName.BEST_FIT, "e"),
        (PolicyName.PACK, "e"),
        (PolicyName.SPREAD, "a"),
    ],
)
def test_a_policy_has_its_place(name, chosen):
    assert planned(HALVES, demand(), name).device_ids == (chosen,)


def test_pack_takes_the_fullest_device_of_the_fullest_host():
    hosts = [host("host-a", device("a", compute_free=30)), host("host-b", device("b", compute_free=20))]
    wide = [*hosts, host("host-c", device("c", compute_free=10), device("d", compute_free=15))]
    assert planned(wide, demand(compute=15), PolicyName.PACK).device_ids == ("b",)
    assert planned(wide, demand(compute=10), PolicyName.PACK).device_ids == ("b",)


def test_fragments_decide_where_best_fit_would_do_harm():
    # Claims of 60 % come most: 30 % on the device that is tightest for them would leave them none.
    hosts = [host("host-a", device("a", compute_free=60)), host("host-b", device("b"))]
    usual = [demand(compute=60)] * 9 + [demand(compute=30)]
    wanted = demand(compute=30)
    assert planned(hosts, wanted, PolicyName.BEST_FIT).device_ids == ("a",)
    assert planned(hosts, wanted, PolicyName.FGD, usual).device_ids == ("b",)


def test_without_a_mix_fragments_leave_the_choice_to_best_fit():
    hosts = [host("host-a", device("a")), host("host-b", device("b", compute_free=40))]
    assert planned(hosts, demand(), PolicyName.FGD).device_ids == ("b",)


def test_a_program_alone_goes_where_no_device_is_left_to_serve():
    hosts = [host("host-a", device("a")), host("host-b", device("b", compute_free=0))]
    wanted = demand(count=0, compute=0, memory_mib=0, cpu_milli=2000)
    usual = [demand(cpu_milli=7000)]
    assert planned(hosts, wanted, PolicyName.FGD, usual).host == "host-b"


def test_random_takes_other_places_and_the_same_for_the_same_seed():
    hosts = [host(f"host-{number}", device(str(number))) for number in range(20)]

    def course(seed):
        view, policy = PoolView(hosts), make(PolicyName.RANDOM, Mix(), seed)
        found = []
        for _ in range(10):
            outcome = plan(view, demand(), policy)
            assert isinstance(outcome, Plan)
            view.take(demand(), outcome)
            found += outcome.device_ids
        return found

    assert course(1) == course(1)
    assert course(1) != course(2)
    assert len(set(course(1))) > 3


@pytest.mark.parametrize("name", PolicyName)
def test_packed_claims_take_as_few_devices_as_they_can(name):
    tight, empty = device("a", compute_free=25), device("b")
    halves = [device(letter, compute_free=50) for letter in "cdef"]
    wanted = demand(count=4, compute=25, memory_mib=250, layout=Layout.PACK)
    assert set(planned([host("host-a", tight, empty)], wanted, name).device_ids) == {"b"}
    # On another host where it takes fewer there.
    pools = [host("host-a", *halves), host("host-b", device("g"))]
    assert set(planned(pools, wanted, name).device_ids) == {"g"}


@pytest.mark.parametrize("name", PolicyName)
def test_spread_claims_take_as_many_devices_and_hosts_as_they_can(name):
    hosts = [host("host-a", device("a"), device("b")), host("host-b", device("c"))]
    wanted = demand(count=2, compute=25, memory_mib=250, layout=Layout.SPREAD)
    both = planned(hosts, wanted, name, remote=True)
    assert (len(set(both.device_ids)), both.remote, "c" in both.device_ids) == (2, 1, True)
    all_of_them = planned(hosts, replace(wanted, count=5), name, remote=True)
    assert sorted(Counter(all_of_them.device_ids).values()) == [1, 2, 2]
    # Where one host is all it may have, over the devices of that.
    assert set(planned(hosts, wanted, name).device_ids) == {"a", "b"}
    bound = replace(wanted, same_host=True)
    assert set(planned(hosts, bound, name, remote=True).device_ids) == {"a", "b"}


@pytest.mark.parametrize("name", PolicyName)
def test_gathered_devices_are_of_the_fewest_hosts_where_they_are_packed(name):
    small = [host(f"host-{letter}", device(letter, compute_free=25)) for letter in "abc"]
    large = host("host-z", device("x", compute_free=50), device("y", compute_free=25))
    wanted = demand(count=4, compute=25, memory_mib=250, layout=Layout.PACK)
    outcome = planned([*small, large], wanted, name, remote=True)
    assert {"x", "y"} < set(outcome.device_ids)
    assert len(set(outcome.device_ids)) == 3


@settings(deadline=None, max_examples=60)
@given(
    pools(least=3),
    demands(least=1).map(modest),
    st.lists(demands(), max_size=4).map(Mix),
)
def test_the_cost_of_a_device_is_what_it_adds_to_the_fragments(hosts, wanted, mix):
    wanted = demand(compute=wanted.compute, memory_mib=wanted.memory_mib, cpu_milli=wanted.cpu_milli)
    view, policy = PoolView(hosts), FragmentationGradientDescent(mix)
    before = policy.fragmentation(view)
    costs = policy.device_cost(view, wanted, np.arange(len(hosts)), program=True)
    for number, on in enumerate(view.capacities()):
        for slot, each in enumerate(on.devices):
            if not times(each, on, wanted) or on.cpu_free < wanted.cpu_milli:
                continue
            after = copied(view)
            after.take(wanted, Plan(host=on.name, shares=wanted.shares([each.device_id])))
            # Costs are told in steps, and best fit decides within them.
            added = policy.fragmentation(after) - before
            assert abs(costs[number, slot] - added) <= STEP / 2 + TIE
