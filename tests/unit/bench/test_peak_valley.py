"""What the bench of services and batch jobs counts as done."""

import pytest

from bench import peak_valley
from gpupool.allocator.demand import Demand
from gpupool.allocator.plan import Plan
from gpupool.replay.job import Job, Outcome, Stay
from gpupool.replay.simulation import Course

DEMAND = Demand(count=2, compute=100, memory_mib=0)
PLAN = Plan(host="h", shares=DEMAND.shares(["a", "b"]))


def outcome(*stays: tuple[float, float], preempted: int) -> Outcome:
    """A batch job of two devices with a checkpoint every ten minutes."""
    job = Job(id="batch/1", project="p", demand=DEMAND, arrives=0, runs=9000, checkpoint=600)
    held = [Stay(begun=begun, ended=ended, plan=PLAN) for begun, ended in stays]
    return Outcome(job=job, stays=held, preempted=preempted)


@pytest.mark.parametrize(
    ("found", "done", "in_vain"),
    [
        (outcome((0, 1000), preempted=0), 1000, 0),
        (outcome((0, 1000), (2000, 2900), preempted=1), 600 + 900, 400),
        # It never came back: what it did since its last checkpoint is as lost.
        (outcome((0, 1000), (2000, 2900), preempted=2), 600 + 600, 400 + 300),
        (outcome(preempted=0), 0, 0),
    ],
)
def test_what_came_after_the_last_checkpoint_is_lost_with_the_place(
    found: Outcome, done: float, in_vain: float
) -> None:
    course = Course(outcomes=(found,), samples=(), passes=())
    work = peak_valley.batch_work(course, 86400)
    assert work == {
        "done": pytest.approx(2 * done / 3600),
        "in_vain": pytest.approx(2 * in_vain / 3600),
    }
