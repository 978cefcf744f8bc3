"""Usage that decays, and what follows from it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupool.allocator.fairshare import FairShare, Usage

HALF_LIFE = 1000.0
RATES = st.dictionaries(st.sampled_from("abc"), st.integers(1, 1600), max_size=3)


def charged(rate, lasted, half_life=HALF_LIFE) -> FairShare:
    shares = FairShare(half_life)
    shares.charge({"project": rate}, 0.0, lasted)
    return shares


@given(st.integers(1, 1600), st.floats(1, 5000), st.floats(0, 5000))
def test_usage_is_the_decayed_integral(rate, lasted, later):
    step, now = lasted / 2000, lasted + later
    middles = ((number + 0.5) * step for number in range(2000))
    added = sum(rate * step * 2 ** ((middle - now) / HALF_LIFE) for middle in middles)
    assert charged(rate, lasted).used("project", now) == pytest.approx(added)


@given(RATES, st.sets(st.sampled_from("abcd")), st.lists(st.floats(0, 3000), min_size=3, max_size=3))
def test_charging_in_pieces_is_charging_at_once(rates, waiting, moments):
    """As long as nobody catches up with another one in between, and that is so when all are level."""
    waiting |= rates.keys()
    start, middle, end = sorted(moments)
    whole, pieces = FairShare(HALF_LIFE), FairShare(HALF_LIFE)
    whole.charge(rates, start, end, waiting)
    for one, two in ((start, middle), (middle, end)):
        pieces.charge(rates, one, two, waiting)
    for each in waiting:
        assert pieces.used(each, end) == pytest.approx(whole.used(each, end), abs=1e-3)
        assert pieces.owed(each, end) == pytest.approx(whole.owed(each, end), abs=1e-3)


@given(RATES, st.sets(st.sampled_from("abcd")), st.floats(1, 3000))
def test_what_is_owed_to_some_others_owe(rates, waiting, lasted):
    shares = FairShare(HALF_LIFE, {"a": 3.0})
    shares.charge({"b": 700}, 0.0, 100.0)
    shares.charge(rates, 100.0, 100.0 + lasted, waiting)
    owed = {each: shares.owed(each, 100.0 + lasted) for each in "abcd"}
    assert sum(owed.values()) == pytest.approx(0, abs=1e-3)
    # A project that does not wait has all it wants.
    assert all(owed[each] <= 1e-6 for each in "abcd" if each not in waiting)
    if not waiting:
        assert max(map(abs, owed.values())) < 1e-6


def test_those_who_wait_are_due_their_parts_whoever_had_what():
    shares = FairShare(HALF_LIFE, {"a": 1.0, "b": 3.0})
    shares.charge({"a": 800}, 0.0, 10.0, {"a", "b"})
    assert shares.used("b", 10.0) == pytest.approx(3 * shares.used("a", 10.0))
    assert shares.owed("b", 10.0) == pytest.approx(6000)
    assert shares.owed("a", 10.0) == pytest.approx(-6000)


def test_what_is_owed_is_forgotten_only_by_those_who_do_not_wait():
    shares = FairShare(HALF_LIFE)
    shares.charge({"a": 800}, 0.0, 10.0, {"a", "b"})
    shares.charge({"a": 100, "b": 100}, 10.0, 10 + HALF_LIFE, {"a", "b"})
    assert shares.owed("b", 10 + HALF_LIFE) == pytest.approx(4000)
    shares.charge({"a": 100, "b": 100}, 10 + HALF_LIFE, 10 + 2 * HALF_LIFE)
    assert shares.owed("b", 10 + 2 * HALF_LIFE) == pytest.approx(2000)
    assert shares.owed("b", 10 + 3 * HALF_LIFE) == pytest.approx(1000)


def test_what_is_owed_is_bounded():
    """A claim that waits for ever collects no more than its project's part for two half-lives."""
    shares = FairShare(HALF_LIFE, {"a": 3.0})
    for number in range(100):
        shares.charge({"a": 800}, number * HALF_LIFE, (number + 1) * HALF_LIFE, {"a", "b"}, 800)
    assert shares.owed("b", 100 * HALF_LIFE) == pytest.approx(2 * 800 * HALF_LIFE / 4)
    assert shares.owed("a", 100 * HALF_LIFE) == pytest.approx(-2 * 800 * HALF_LIFE)


def test_who_comes_back_catches_up_and_no_more():
    """What a project did not use is no more to its credit than what others used within memory."""
    shares = FairShare(HALF_LIFE)
    shares.charge({"a": 800}, 0.0, 50 * HALF_LIFE)
    now, gone = 50 * HALF_LIFE, 0.0
    while shares.used("b", now) < shares.used("a", now) - 1:
        shares.charge({"b": 800}, now, now + 10, {"a", "b"})
        now, gone = now + 10, gone + 10
    # 2^-t = 1 - 2^-t: half of it is forgotten when the other has as much.
    assert gone == pytest.approx(HALF_LIFE, abs=10)


def test_half_is_left_after_a_half_life():
    shares = charged(100, 60.0)
    assert shares.used("project", 60 + HALF_LIFE) == pytest.approx(shares.used("project", 60) / 2)
    assert charged(100, 60.0, 1e12).used("project", 60.0) == pytest.approx(6000)


def test_what_runs_counts_in_advance():
    shares = charged(100, 60.0)
    idle, busy = (shares.standing("project", 60.0, rate) for rate in (0, 200))
    assert idle == pytest.approx(shares.used("project", 60.0))
    assert busy == pytest.approx(idle + 200 * HALF_LIFE / 20)


def test_a_clock_behind_the_last_charge_makes_no_usage():
    shares = charged(100, 60.0)
    assert shares.used("project", 10.0) == shares.used("project", 60.0)
    assert charged(100, 0.0).used("project", 60.0) == charged(100, -60.0).used("project", 60.0) == 0


def test_weights_divide_usage_and_make_parts():
    shares = FairShare(HALF_LIFE, {"heavy": 3.0})
    shares.charge({"heavy": 100, "light": 100}, 0.0, 60.0)
    assert shares.standing("light", 60.0, 50) == pytest.approx(3 * shares.standing("heavy", 60.0, 50))
    assert shares.part("heavy", ["light"]) == 0.75
    assert shares.part("light", ["light", "heavy", "other"]) == pytest.approx(0.2)
    assert shares.part("alone", []) == 1


def test_the_project_with_the_lowest_level_for_its_weight_rises_first():
    shares = FairShare(1e12, {"a": 3.0})
    shares.charge({"a": 300}, 0.0, 1.0)
    # "a" is at 300 / 3; of 200 "b" has 100 until it is there too, and a quarter of the rest.
    shares.charge({"b": 200}, 1.0, 2.0, {"a", "b"})
    assert shares.used("b", 2.0) == pytest.approx(125)
    assert shares.used("a", 2.0) == pytest.approx(375)


def test_who_is_owed_is_next_and_how_far_behind_it_is():
    shares = FairShare(HALF_LIFE)
    shares.charge({"a": 800}, 0.0, 10.0, {"a", "b"})
    assert shares.used("a", 10.0) == pytest.approx(shares.used("b", 10.0))
    ahead = shares.standing("a", 10.0, 0) - shares.standing("b", 10.0, 0)
    assert ahead == pytest.approx(8000)
    assert shares.behind("b", 10.0, 800) == pytest.approx(4000 / (800 * HALF_LIFE))
    assert shares.behind("a", 10.0, 800) == pytest.approx(-4000 / (800 * HALF_LIFE))
    assert shares.behind("b", 10.0 + HALF_LIFE, 800) == pytest.approx(2000 / (800 * HALF_LIFE))
    # A pool without devices divides by no zero.
    assert shares.behind("b", 10.0, 0) == pytest.approx(4000)


def test_usages_are_kept_and_restored():
    shares = charged(100, 60.0)
    kept = shares.usages()
    other = FairShare(HALF_LIFE)
    other.charge({"gone": 100}, 0.0, 60.0)
    other.restore(kept)
    assert other.used("project", 500.0) == shares.used("project", 500.0)
    assert kept == {"project": Usage(shares.used("project", 60.0), 60.0)}
    assert other.used("gone", 60.0) == 0


@pytest.mark.parametrize(("half_life", "weights"), [(0, {}), (-1, {}), (1, {"a": 0}), (math.nan, {})])
def test_half_life_and_weights_are_positive(half_life, weights):
    with pytest.raises(ValueError, match=r"^half-life and weights have to be above 0$"):
        FairShare(half_life, weights)


def test_half_life_may_be_less_than_a_second():
    assert charged(100, 0.5, 0.5).used("project", 1.0) > 0
