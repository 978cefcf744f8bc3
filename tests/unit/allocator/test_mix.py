"""The mix of demands that a policy goes by."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.mix import COVERED, KINDS, MOVED, SIZES, Mix
from gpupool.model.claim import Layout
from tests.unit.allocator.rooms import demand

kinds = st.integers(1, 12).map(lambda compute: demand(compute=compute))


def moved(before, after) -> Fraction:
    """How much of one list of demands is other ones than in the other list."""

    def share(each, among):
        return Fraction(among.count(each), len(among))

    return 1 - sum(min(share(each, before), share(each, after)) for each in {*before})


@given(st.lists(kinds, max_size=60))
def test_a_mix_is_that_of_its_last_demands(demands):
    recent = demands[-20:]
    weights = dict(Mix(demands, window=20).weights)
    assert sum(weights.values()) == pytest.approx(1.0 if recent else 0.0)
    counts = {each: recent.count(each) for each in weights}
    covered = sum(counts.values())
    assert weights == pytest.approx({each: count / covered for each, count in counts.items()})
    assert covered >= COVERED * len(recent)
    left_out = [recent.count(each) for each in set(recent) - set(weights)]
    assert max(left_out, default=0) <= min(counts.values(), default=0)


@given(st.lists(kinds, max_size=60), st.lists(kinds, min_size=1, max_size=60))
def test_it_is_weighed_anew_when_enough_of_it_is_another(before, after):
    # A twentieth of this window is one demand: it is looked at with each.
    window = 20
    mix, weighed = Mix(before, window=window), before[-window:]
    for number, each in enumerate(after, start=1):
        known = mix.weights
        mix.add(each)
        recent = [*before, *after[:number]][-window:]
        if not weighed or moved(weighed, recent) > MOVED:
            weighed = recent
        else:
            assert mix.weights is known
        assert mix.weights == Mix(weighed).weights


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=200, max_size=400))
def test_whatever_comes_it_is_not_weighed_too_often(sizes):
    demands = [demand(memory_mib=size) for size in sizes]
    window = 100
    mix = Mix(demands[:window], window=window)
    last = 0
    for number, each in enumerate(demands[window:], start=1):
        known = mix.weights
        mix.add(each)
        if mix.weights is not known:
            assert number - last >= MOVED * window
            last = number


@given(st.lists(kinds, min_size=1, max_size=40), st.randoms())
def test_equally_common_demands_are_in_one_order(demands, random):
    shuffled = random.sample(demands, len(demands))
    assert Mix(demands).weights == Mix(shuffled).weights


def test_weights_are_the_same_object_until_they_are_made_anew():
    mix = Mix([demand(compute=10)] * 1000)
    before = mix.weights
    for _ in range(149):
        mix.add(demand(compute=20))
        assert mix.weights is before
    mix.add(demand(compute=20))
    assert dict(mix.weights) == pytest.approx({demand(compute=10): 0.85, demand(compute=20): 0.15})


def test_the_first_demands_count_at_once():
    mix = Mix()
    assert mix.weights == ()
    mix.add(demand(compute=10))
    assert mix.weights == ((demand(compute=10), 1.0),)


def test_no_more_kinds_than_make_a_difference():
    mix = Mix([demand(compute=1 + number % 100, memory_mib=number) for number in range(1000)])
    assert len(mix.weights) == KINDS
    assert sum(share for _, share in mix.weights) == pytest.approx(1.0)


def test_what_the_measure_does_not_see_makes_no_kinds():
    wishes = [
        demand(host_memory_mib=100),
        demand(host="host-a"),
        demand(devices=("a",)),
        demand(layout=Layout.PACK, same_host=True),
    ]
    nothing = demand(count=0, compute=0, memory_mib=0)
    # More amounts than are told apart, but none that a device has to be near.
    without = [replace(nothing, cpu_milli=cores) for cores in range(1, 4 * SIZES + 1)]
    sizes = [demand(cpu_milli=1000 * cores) for cores in range(1, SIZES)]
    found = dict(Mix([*[demand(), *wishes, *sizes] * 16, *without]).weights)
    assert sum(found.values()) == pytest.approx(1)
    assert found.keys() == {demand(), *sizes, nothing}
    assert found[demand()] == pytest.approx(5 * found[sizes[0]])


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=300), st.integers(1, 1000))
def test_of_many_sizes_the_rarer_are_rounded_up(amounts, common):
    demands = [demand(memory_mib=amount, cpu_milli=2 * amount) for amount in [*amounts, *[common] * 60]]
    found = Mix(demands).weights
    memory = Counter[int]()
    for kind, share in found:
        assert kind.cpu_milli == 2 * kind.memory_mib
        memory[kind.memory_mib] += share
    assert len(memory) <= SIZES
    assert common in memory
    for size in memory:
        # No demand counts as less than it is; what is left out is less than the rest.
        no_more = sum(each.memory_mib <= size for each in demands)
        counted = sum(share for each, share in memory.items() if each <= size)
        assert counted * COVERED * len(demands) <= no_more + 1e-6
