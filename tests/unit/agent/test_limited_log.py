"""Lines that programs cause: a few at once, then one now and then, and none is lost uncounted."""

import logging

import pytest

from gpupool.agent.limited_log import LimitedLog

LOG = logging.getLogger("test")


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def limited(clock, caplog):
    caplog.set_level(logging.INFO)
    return LimitedLog(burst=3, interval=10, clock=lambda: clock[0])


def say(limited, subject, count=1):
    for number in range(count):
        limited.say(LOG, logging.INFO, subject, "%s did %d", subject, number)


def test_a_burst_then_one_in_an_interval(limited, clock, caplog):
    say(limited, "a", 100)
    assert caplog.messages == ["a did 0", "a did 1", "a did 2"]
    clock[0] += 9.9
    say(limited, "a")
    clock[0] += 0.2
    say(limited, "a", 2)
    assert caplog.messages[3:] == ["a did 0 (98 lines before it were left out)"]


def test_subjects_have_their_own(limited, caplog):
    say(limited, "a", 10)
    say(limited, "b", 10)
    assert [message[0] for message in caplog.messages] == list("aaabbb")


def test_what_was_left_out_is_said_when_nothing_follows(limited, clock, caplog):
    say(limited, "a", 10)
    limited.flush(LOG)
    assert len(caplog.messages) == 3
    clock[0] += 10
    limited.flush(LOG)
    limited.flush(LOG)
    assert caplog.messages[3:] == ["7 lines about a were left out"]


def test_quiet_subjects_are_forgotten(limited, clock):
    for number in range(100):
        say(limited, str(number))
    clock[0] += 30
    limited.flush(LOG)
    assert len(limited) == 0


def test_levels_that_are_off_cost_nothing(limited, caplog):
    for _ in range(10):
        limited.say(LOG, logging.DEBUG, "a", "nothing")
    say(limited, "a", 3)
    assert len(caplog.messages) == 3


def test_a_clock_set_back_stops_nothing(limited, clock, caplog):
    say(limited, "a", 3)
    clock[0] -= 500
    say(limited, "a")
    clock[0] += 510
    say(limited, "a")
    assert len(caplog.messages) == 4
