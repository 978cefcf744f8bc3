"""Unified limits that are wanted at once: a thread reads them, and nobody waits for Keystone."""

import threading

from gpupool import conf
from gpupool.conductor.claims import limits
from gpupool.conductor.claims.limits_keystone import UnifiedLimits
from gpupool.model import errors
from gpupool.model.quota import LimitSource, Resource

LIMITS = dict.fromkeys(Resource, 7)
WAIT = 60


class Slow(UnifiedLimits):
    """SIMULATION of a Keystone that answers when it is told to."""

    def __init__(self, cache_time: int = 60) -> None:
        settings = conf.new(files=[])
        settings.set_override("cache_time", cache_time, "quota")
        super().__init__(settings)
        self.may_answer, self.asked, self.away = threading.Event(), 0, False

    def _ask(self, project_id: str) -> dict[Resource, int]:
        self.asked += 1
        assert self.may_answer.wait(WAIT)
        if self.away:
            raise errors.Unavailable("away")
        return LIMITS


def finish(limits: Slow) -> None:
    """Wait for the thread that reads."""
    limits.may_answer.set()
    for thread in threading.enumerate():
        if thread.name == "limits":
            thread.join(WAIT)


def test_nobody_waits_and_one_thread_reads() -> None:
    limits = Slow()
    assert [limits.known(project) for project in ("a", "a", "b")] == [None] * 3
    finish(limits)
    assert limits.asked == 1
    assert limits.known("a") == LIMITS
    assert limits.known("b") is None
    finish(limits)
    assert limits.known("b") == LIMITS


def test_a_keystone_that_is_away_is_asked_again() -> None:
    limits = Slow()
    limits.away = True
    assert limits.known("a") is None
    finish(limits)
    limits.away = False
    assert limits.known("a") is None
    finish(limits)
    assert limits.known("a") == LIMITS


def test_limits_that_are_not_kept_are_known_for_a_moment() -> None:
    """Else an elastic claim would never grow; whoever waits for limits asks Keystone each time."""
    limits = Slow(cache_time=0)
    assert limits.known("a") is None
    finish(limits)
    assert limits.known("a") == LIMITS
    assert limits.of("a") == limits.of("a") == LIMITS
    assert limits.asked == 3


def test_the_option_chooses_unified_limits() -> None:
    settings = conf.new(files=[])
    settings.set_override("driver", "unified", "quota")
    assert limits.from_conf(settings).source is LimitSource.KEYSTONE
