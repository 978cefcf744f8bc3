"""The measure of fragments: by tables as by the slow way, one device after the other."""

import time
import tracemalloc
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.fragmentation import Hosts, Usefulness
from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.policies import FragmentationGradientDescent
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Qos, Tier
from gpupool.model.device import SharingMode
from tests.unit.allocator.rooms import (
    CPU,
    copied,
    demand,
    demands,
    device,
    eligible,
    host,
    left,
    modest,
    pools,
)

COURSE = settings(deadline=None, max_examples=40)
mixes = st.lists(st.one_of(demands(), demands().map(modest)), max_size=5).map(Mix)


def alike(hosts):
    """The same hosts, each with devices of one kind: as hosts are, and as gangs are counted."""
    return [
        replace(
            on,
            devices=tuple(
                replace(each, product=on.devices[0].product, traits=on.devices[0].traits)
                for each in on.devices
            ),
        )
        for on in hosts
    ]


some = pools(least=3).map(alike)


def test_amounts_that_have_no_table():
    """They cost no memory; what is of use is what it is beside amounts that have one."""
    weights = Mix([demand(compute=30, memory_mib=500, cpu_milli=1000)]).weights
    found = []
    for most in (2**15, 2**31 - 1):
        on = host("a", device("x", memory_total=most, memory_limit=most), cpu_total=most, cpu_free=most)
        view = PoolView([on])
        found.append(Hosts(view, Usefulness(view, weights), np.arange(1)).of_use())
    assert found == [100, 100]


def of_use(on, weights) -> float:
    """How much of what is free of a host's devices the demands could use there, on average."""
    return sum(share * _of_use_to(on, wanted) for wanted, share in weights if wanted.count)


def _of_use_to(on, wanted) -> int:
    # Where a claim says it has to be is its own affair: what is of use is so to others like it.
    anywhere = replace(wanted, host=None, devices=())
    if on.cpu_free < wanted.cpu_milli:
        return 0
    fitting = [each for each in on.devices if each.usable and eligible(each, on.name, anywhere)]
    if wanted.count > 1 and wanted.compute == 100:
        whole = [each for each in fitting if left(each, Qos.GUARANTEED)[0] == each.compute_total]
        return 100 * len(whole) if len(whole) >= wanted.count else 0
    found = 0
    for each in fitting:
        compute, _ = left(each, wanted.qos)
        _, memory = left(each, Qos.GUARANTEED)
        if compute >= wanted.compute and memory >= wanted.memory_mib:
            found += compute
    return found


def fragments_of(on, weights) -> float:
    """How much of what is free to each of the demands it could not use, on average."""
    free = {
        qos: sum(left(each, qos)[0] for each in on.devices if each.usable)
        for qos in (Qos.GUARANTEED, Qos.BEST_EFFORT)
    }
    found = 0.0 if weights else free[Qos.GUARANTEED]
    for wanted, share in weights:
        # Who wants several whole devices can't use what is lent, and who wants none can't use anything.
        several = wanted.count != 1 and wanted.compute in (0, 100)
        of_use = _of_use_to(on, wanted) if wanted.count else 0
        found += share * (free[Qos.GUARANTEED if several else wanted.qos] - of_use)
    return found


@COURSE
@given(some, mixes)
def test_what_is_of_use_is_so_by_the_tables_too(hosts, mix):
    view = PoolView(hosts)
    everything = np.arange(len(hosts))
    found = Hosts(view, Usefulness(view, mix.weights), everything).of_use()
    assert found == pytest.approx([of_use(on, mix.weights) for on in view.capacities()])
    fragments = sum(fragments_of(on, mix.weights) for on in hosts)
    found = FragmentationGradientDescent(mix).fragmentation(view)
    assert found == pytest.approx(fragments, abs=1e-6)
    assert found >= -1e-6


@COURSE
@given(some, demands(least=1).map(modest), mixes, st.booleans())
def test_one_more_vgpu_changes_the_measure_as_taking_it_does(hosts, wanted, mix, program):
    wanted = replace(wanted, count=1)
    view = PoolView(hosts)
    state = Hosts(view, Usefulness(view, mix.weights), np.arange(len(hosts)))
    before = state.of_use()
    lost = state.lost_with_one(wanted, program)
    for number, on in enumerate(view.capacities()):
        for slot, each in enumerate(on.devices):
            if program and on.cpu_free < wanted.cpu_milli:
                continue
            compute, memory = left(each, wanted.qos)
            if not each.usable or compute < wanted.compute or memory < wanted.memory_mib:
                continue
            after = copied(view)
            there = wanted.shares([each.device_id])
            after.take(wanted, Plan(host=on.name if program else None, shares=there))
            changed = list(after.capacities())[number]
            found = before[number] - lost[number, slot]
            assert found == pytest.approx(of_use(changed, mix.weights))


@COURSE
@given(some, demands(least=1).map(modest), mixes, st.data())
def test_several_vgpus_change_the_measure_as_taking_them_does(hosts, wanted, mix, data):
    view = PoolView(hosts)
    for number, on in enumerate(view.capacities()):
        fitting = [
            slot
            for slot, each in enumerate(on.devices)
            if each.usable
            and left(each, wanted.qos)[0] >= wanted.compute
            and left(each, wanted.qos)[1] >= wanted.memory_mib
        ]
        if not fitting:
            continue
        chosen = data.draw(st.sets(st.sampled_from(fitting), min_size=1))
        taken = np.zeros((1, view.slots), dtype=np.int64)
        taken[0, list(chosen)] = 1
        state = Hosts(view, Usefulness(view, mix.weights), np.array([number]))
        state.take(wanted, taken)
        after = copied(view)
        ids = tuple(on.devices[slot].device_id for slot in chosen)
        after.take(replace(wanted, count=len(ids)), Plan(host=None, shares=wanted.shares(ids)))
        (found,) = state.of_use()
        assert found == pytest.approx(of_use(list(after.capacities())[number], mix.weights))


def fragments(devices, *wanted, **changes) -> float:
    view = PoolView([host("host-a", *devices, **changes)])
    return FragmentationGradientDescent(Mix(wanted)).fragmentation(view)


def test_what_nobody_could_use_is_a_fragment():
    devices = [device("a", compute_free=40), device("b", compute_free=60)]
    assert fragments(devices, demand(compute=50)) == 40
    assert fragments(devices, demand(compute=50), demand(compute=30)) == 20
    assert fragments(devices, demand(compute=50), demand(compute=70)) == 70


def test_memory_and_processors_make_fragments_too():
    devices = [device("a", memory_free=100), device("b")]
    assert fragments(devices, demand(compute=50, memory_mib=500)) == 100
    assert fragments(devices, demand(cpu_milli=2000), cpu_free=1000) == 200


def test_what_is_lent_is_free_to_those_who_may_have_it():
    lent = device("a", compute_limit=120)
    slices = demand(compute=20, qos=Qos.BEST_EFFORT)
    assert fragments([lent], slices) == 0
    assert fragments([replace(lent, compute_granted=15)], slices) == 0
    assert fragments([replace(lent, compute_granted=110)], slices) == 10
    # To half of the mix all of the 90 left are of use, to the other half nothing of it is.
    assert fragments([replace(lent, compute_granted=30)], slices, demand(compute=95)) == 45


def test_several_whole_devices_need_as_many_on_one_host():
    devices = [device("a"), device("b"), device("c", compute_free=90)]
    assert fragments(devices, demand(count=2, compute=100)) == 90
    assert fragments(devices, demand(count=3, compute=100)) == 290


@pytest.mark.parametrize(
    "changes",
    [
        {"required_traits": ("CUSTOM_A",)},
        {"products": ("fast",)},
        {"sharing_mode": SharingMode.EXCLUSIVE},
    ],
)
def test_devices_of_another_kind_are_of_no_use(changes):
    assert fragments([device("a")], demand(**changes)) == 100
    assert fragments([device("a", traits={"CUSTOM_B"})], demand(forbidden_traits=("CUSTOM_B",))) == 100


def test_a_mix_of_many_sizes_makes_no_large_tables():
    random = Random(3)
    products = ("a", "b", "c", "d")
    sizes = {"memory_total": 80_000}
    view = PoolView(host(f"host-{each}", device(each, product=each, **sizes)) for each in products)
    mix = Mix(
        [
            demand(
                compute=random.randint(1, 100),
                memory_mib=random.randint(1, 80_000),
                cpu_milli=random.randint(1, CPU),
                products=random.choice(((), products[:2], products[2:])),
            )
            for _ in range(1000)
        ]
    )
    policy = FragmentationGradientDescent(mix)
    tracemalloc.start()
    try:
        assert 0 < policy.fragmentation(view) < 400
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 * 2**20
    begun = time.process_time()
    Usefulness(view, mix.weights)
    # A few ms where nobody else computes.
    assert time.process_time() - begun < 0.1


def test_who_wants_no_vgpu_and_devices_out_of_order_do_not_count():
    assert fragments([device("a", usable=False)], demand()) == 0
    assert fragments([device("a")], demand(tier=Tier.LOCAL)) == 0
    assert fragments([], demand()) == 0
