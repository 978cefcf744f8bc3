"""Usage that decays, and what follows from it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupool.allocator.fairshare import FairShare, Usage

HALF_LIFE = 1000.0
times = st.floats(0, 10_000)
charges = st.lists(
    st.tuples(st.integers(1, 1600), times, st.floats(0, 5000)).map(
        lambda drawn: (drawn[0], drawn[1], drawn[1] + drawn[2])
    ),
    max_size=6,
)


def charged(records, half_life=HALF_LIFE) -> FairShare:
    shares = FairShare(half_life)
    for rate, start, end in records:
        shares.charge("project", rate, start, end)
    return shares


def integral(records, now, steps=2000) -> float:
    """The same by adding up small steps."""
    total = 0.0
    for rate, start, end in records:
        step = (end - start) / steps
        middles = (start + (number + 0.5) * step for number in range(steps))
        total += sum(rate * step * 2 ** ((middle - now) / HALF_LIFE) for middle in middles)
    return total


@given(charges)
def test_usage_is_the_decayed_integral(records):
    now = max((end for *_, end in records), default=0.0)
    used = charged(records).used("project", now)
    assert used == pytest.approx(integral(records[:2], now) + charged(records[2:]).used("project", now))


@given(charges, st.randoms())
def test_the_order_of_charges_does_not_matter(records, random):
    now = max((end for *_, end in records), default=0.0)
    shuffled = random.sample(records, len(records))
    assert charged(shuffled).used("project", now) == pytest.approx(charged(records).used("project", now))


@given(st.integers(1, 1600), times, times, times)
def test_charging_in_pieces_is_charging_at_once(rate, first, second, third):
    start, middle, end = sorted((first, second, third))
    whole = charged([(rate, start, end)])
    pieces = charged([(rate, start, middle), (rate, middle, end)])
    assert pieces.used("project", end) == pytest.approx(whole.used("project", end), abs=1e-6)


def test_half_is_left_after_a_half_life():
    shares = charged([(100, 0.0, 60.0)])
    assert shares.used("project", 60 + HALF_LIFE) == pytest.approx(shares.used("project", 60) / 2)
    assert charged([(100, 0.0, 60.0)], 1e12).used("project", 60.0) == pytest.approx(6000)


def test_what_runs_for_ever_reaches_what_standing_counts_it_for():
    steady = charged([(200, 0.0, 100 * HALF_LIFE)]).used("project", 100 * HALF_LIFE)
    assert steady == pytest.approx(FairShare(HALF_LIFE).standing("project", 0.0, 200))
    assert steady == pytest.approx(200 * HALF_LIFE / math.log(2))


def test_a_clock_behind_the_last_charge_makes_no_usage():
    shares = charged([(100, 0.0, 60.0)])
    assert shares.used("project", 10.0) == shares.used("project", 60.0)
    assert charged([(100, 60.0, 60.0), (100, 60.0, 0.0)]).used("project", 60.0) == 0


def test_weights_divide_usage_and_make_parts():
    shares = FairShare(HALF_LIFE, {"heavy": 3.0})
    for project in ("heavy", "light"):
        shares.charge(project, 100, 0.0, 60.0)
    assert shares.standing("light", 60.0, 50) == pytest.approx(3 * shares.standing("heavy", 60.0, 50))
    assert shares.part("heavy", ["light"]) == 0.75
    assert shares.part("light", ["light", "heavy", "other"]) == pytest.approx(0.2)
    assert shares.part("alone", []) == 1


def test_usages_are_kept_and_restored():
    shares = charged([(100, 0.0, 60.0)])
    kept = shares.usages()
    other = FairShare(HALF_LIFE)
    other.charge("gone", 100, 0.0, 60.0)
    other.restore(kept)
    assert other.used("project", 500.0) == shares.used("project", 500.0)
    assert kept == {"project": Usage(shares.used("project", 60.0), 60.0)}
    assert other.used("gone", 60.0) == 0


@pytest.mark.parametrize(("half_life", "weights"), [(0, {}), (-1, {}), (1, {"a": 0}), (math.nan, {})])
def test_half_life_and_weights_are_positive(half_life, weights):
    with pytest.raises(ValueError, match="above 0"):
        FairShare(half_life, weights)
