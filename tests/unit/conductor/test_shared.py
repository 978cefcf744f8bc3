"""However many ask at once, one thread computes, and nobody gets an answer from before they asked."""

import threading

import pytest

from gpupool.conductor import shared as module
from gpupool.conductor.shared import Shared


class Clock:
    """Tells a later time at every look; ``all_came`` is set at the twelfth."""

    def __init__(self):
        self._lock = threading.Lock()
        self._now = 0
        self.all_came = threading.Event()

    def monotonic(self):
        with self._lock:
            self._now += 1
            if self._now == 12:
                self.all_came.set()
            return self._now


def test_those_who_come_while_one_computes_share_the_next(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    shared, computed, begun, answers = Shared(), [], threading.Event(), []

    def compute():
        computed.append(None)
        if len(computed) == 1:
            begun.set()
            # The first looked at the clock twice, when it came and when it began; ten more come.
            clock.all_came.wait()
        return len(computed)

    def ask():
        answers.append(shared.get("pool", compute))

    first = threading.Thread(target=ask)
    first.start()
    begun.wait()
    others = [threading.Thread(target=ask) for _ in range(10)]
    for each in others:
        each.start()
    for each in (first, *others):
        each.join()
    assert sorted(answers) == [1, *[2] * 10]
    assert len(computed) == 2


def test_an_answer_is_never_older_than_the_question():
    shared, state = Shared(), [0]
    for number in range(100):
        state[0] = number
        assert shared.get("pool", lambda: state[0]) == number


def test_an_error_is_not_kept_and_keys_are_apart():
    shared = Shared()

    def fail():
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        shared.get("a", fail)
    assert shared.get("a", lambda: 1) == 1
    assert shared.get("b", lambda: 2) == 2
    shared.forget("a")
    assert shared.get("a", lambda: 3) == 3
