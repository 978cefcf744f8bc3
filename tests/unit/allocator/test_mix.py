"""The mix of demands that a policy goes by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupool.allocator.mix import COVERED, KINDS, Mix
from tests.unit.allocator.rooms import demand

kinds = st.integers(1, 12).map(lambda compute: demand(compute=compute))


@given(st.lists(kinds, max_size=60), st.lists(kinds, max_size=60))
def test_a_mix_is_that_of_its_last_demands(before, after):
    window = 20
    mix = Mix(before, window=window)
    for each in after:
        mix.add(each)
    recent = [*before, *after][-window:]
    # A twentieth of this window is one demand: it is weighed with each.
    weights = dict(mix.weights)
    assert sum(weights.values()) == pytest.approx(1.0 if recent else 0.0)
    counts = {each: recent.count(each) for each in weights}
    covered = sum(counts.values())
    assert weights == pytest.approx({each: count / covered for each, count in counts.items()})
    assert covered >= COVERED * len(recent)
    left_out = [recent.count(each) for each in set(recent) - set(weights)]
    assert max(left_out, default=0) <= min(counts.values(), default=0)


@given(st.lists(kinds, min_size=1, max_size=40), st.randoms())
def test_equally_common_demands_are_in_one_order(demands, random):
    shuffled = random.sample(demands, len(demands))
    assert Mix(demands).weights == Mix(shuffled).weights


def test_weights_are_the_same_object_until_they_are_made_anew():
    mix = Mix([demand(compute=10)] * 1000)
    before = mix.weights
    for _ in range(49):
        mix.add(demand(compute=20))
        assert mix.weights is before
    mix.add(demand(compute=20))
    assert mix.weights is not before
    assert dict(mix.weights)[demand(compute=10)] == 1.0
    for _ in range(50):
        mix.add(demand(compute=20))
    assert dict(mix.weights)[demand(compute=20)] == pytest.approx(0.1)


def test_the_first_demands_count_at_once():
    mix = Mix()
    assert mix.weights == ()
    mix.add(demand(compute=10))
    assert mix.weights == ((demand(compute=10), 1.0),)


def test_no_more_kinds_than_make_a_difference():
    mix = Mix([demand(compute=1 + number % 100, memory_mib=number) for number in range(1000)])
    assert len(mix.weights) == KINDS
    assert sum(share for _, share in mix.weights) == pytest.approx(1.0)
