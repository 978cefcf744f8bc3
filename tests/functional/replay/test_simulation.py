"""The simulated pool and queue: places, times, preemption."""

from typing import Any

import pytest

from gpupool.allocator.demand import Demand
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.mix import Mix
from gpupool.allocator.policies import make
from gpupool.allocator.scheduling import QueueRules
from gpupool.allocator.view import PoolView
from gpupool.model.claim import OnPreempt, Qos
from gpupool.model.pool import PolicyName
from gpupool.replay import philly, queueing
from gpupool.replay.job import Job, Outcome
from gpupool.replay.simulation import Course, Simulation


def job(
    name: str, arrives: float, runs: float, count: int = 1, compute: int = 100, **fields: Any
) -> Job:
    demand = Demand(count=count, compute=compute, memory_mib=0, qos=fields.pop("qos", Qos.GUARANTEED))
    return Job(id=name, project="p", demand=demand, arrives=arrives, runs=runs, **fields)


def simulate(devices: int, *jobs: Job, **rules: Any) -> tuple[dict[str, Outcome], Course]:
    view = PoolView(philly.capacities(devices))
    before = list(view.capacities())
    mix = Mix()
    given = QueueRules(**{"min_run_time": 0.0, **rules})
    course = Simulation(view, make(PolicyName.FGD, mix), mix, given, FairShare(3600)).run(jobs)
    assert list(view.capacities()) == before, "everything that was taken is given back"
    return {outcome.job.id: outcome for outcome in course.outcomes}, course


def times(outcome: Outcome) -> list[tuple[float, float]]:
    return [(stay.begun, stay.ended) for stay in outcome.stays]


def test_one_after_the_other() -> None:
    found, course = simulate(1, job("a", 0, 10), job("b", 1, 10), job("c", 2, 10))
    assert [times(found[name]) for name in "abc"] == [[(0, 10)], [(10, 20)], [(20, 30)]]
    assert [found[name].waiting for name in "abc"] == [0, 9, 18]
    assert [found[name].completion for name in "abc"] == [10, 19, 28]
    assert [(each.at, each.allocated, each.waiting) for each in course.samples] == [
        (0, 100, 0),
        (1, 100, 1),
        (2, 100, 2),
        (10, 100, 1),
        (20, 100, 0),
        (30, 0, 0),
    ]


def test_back_fill_does_not_delay_the_head() -> None:
    """The short one fits before the gang's turn, the long one does not."""
    jobs = (
        job("a", 0, 10, time_limit=10),
        job("gang", 1, 5, count=2, time_limit=5),
        job("long", 2, 50, time_limit=50),
        job("short", 3, 5, time_limit=5),
    )
    found, _ = simulate(2, *jobs)
    assert {name: times(each)[0][0] for name, each in found.items()} == {
        "a": 0,
        "gang": 10,
        "short": 3,
        "long": 15,
    }
    found, _ = simulate(2, *jobs, backfill=False, fair=False)
    assert {name: times(each)[0][0] for name, each in found.items()} == {
        "a": 0,
        "gang": 10,
        "long": 15,
        "short": 15,
    }


def test_preempted_ones_go_on_from_their_checkpoint() -> None:
    low = {"preemptible": True, "priority": 10}
    first = job("first", 0, 100, checkpoint=10.0, **low)
    found, _ = simulate(1, first, job("more", 35, 5, priority=90))
    assert times(found["more"]) == [(35, 40)]
    assert times(found["first"]) == [(0, 35), (40, 110)]
    assert (found["first"].preempted, found["first"].waiting) == (1, 5)
    found, _ = simulate(1, job("first", 0, 100, **low), job("more", 35, 5, priority=90))
    assert times(found["first"]) == [(0, 35), (40, 140)], "without one, anew"
    released = job("first", 0, 100, on_preempt=OnPreempt.RELEASE, **low)
    found, _ = simulate(1, released, job("more", 35, 5, priority=90))
    assert times(found["first"]) == [(0, 35)]
    assert found["first"].completion is None


def test_one_that_is_wanted_for_some_time_only() -> None:
    found, _ = simulate(
        1, job("a", 0, 10), job("gives up", 1, 10, until=5.0), job("late", 2, 30, until=25.0)
    )
    assert times(found["gives up"]) == []
    assert found["gives up"].waiting is found["gives up"].completion is None
    assert times(found["late"]) == [(10, 25)]


def test_what_the_pool_can_never_hold_is_refused() -> None:
    found, _ = simulate(2, job("large", 0, 10, count=3), job("small", 1, 10))
    assert "3 devices on one host wanted" in found["large"].refused
    assert times(found["small"]) == [(1, 11)]


def test_no_jobs_and_jobs_without_length() -> None:
    assert simulate(1)[1].outcomes == ()
    found, _ = simulate(1, job("a", 0, 0), job("b", 0, 0))
    assert [times(found[name]) for name in "ab"] == [[(0, 0)], [(0, 0)]]


def test_means_over_time() -> None:
    steps = [(0.0, 10.0), (2.0, 40.0), (9.0, 100.0)]
    assert queueing.over_time(steps, 4.0) == pytest.approx(25)
    assert queueing.over_time(steps, 0.0) is None
    assert queueing.over_time([], 4.0) is None
