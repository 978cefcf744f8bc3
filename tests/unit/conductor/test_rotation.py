"""Everybody's turn comes, and soon for those that are in a hurry."""

import sys
import threading

from hypothesis import given
from hypothesis import strategies as st

from gpupool.conductor.rotation import Rotation

names = st.sets(st.text("abcdef", min_size=1, max_size=2), min_size=1, max_size=20)


@given(names, st.integers(1, 5))
def test_all_have_a_turn_before_one_has_a_second(chosen_from, most):
    turns = Rotation(most)
    rounds = -(-len(chosen_from) // most)
    seen = [name for _ in range(rounds) for name in turns.choose(chosen_from)]
    assert set(seen) == chosen_from
    assert set(seen[: len(chosen_from)]) == chosen_from
    assert len(seen) == rounds * min(most, len(chosen_from))


@given(names)
def test_those_in_a_hurry_are_next(known):
    turns = Rotation(1)
    for _ in known:
        turns.choose(known)
    hurried = max(known)
    turns.hurry([hurried])
    assert turns.choose(known) == [hurried]


@given(names, names)
def test_newcomers_are_next(early, late):
    turns = Rotation(len(early))
    turns.choose(early)
    new = sorted(late - early)
    assert set(new[: len(early)]) <= set(turns.choose(early | late))


def test_those_that_are_gone_are_forgotten():
    turns = Rotation(1)
    assert turns.choose({"a", "b"}) == ["a"]
    assert turns.choose({"b"}) == ["b"]
    assert turns.choose({"a", "b"}) == ["a"]
    assert turns.choose(set()) == []


def test_one_may_hurry_while_another_chooses():
    turns, known = Rotation(5000), {str(number) for number in range(5000)}
    over = threading.Event()

    def hurry():
        while not over.is_set():
            turns.hurry(sorted(known)[:50])

    thread = threading.Thread(target=hurry)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(20):
            turns.choose(known)
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)
