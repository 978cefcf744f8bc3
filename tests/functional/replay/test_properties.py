"""Whatever comes to the simulated queue: nothing is over capacity, nothing half, nothing lost."""

from collections import Counter
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.allocator.demand import Demand
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.mix import Mix
from gpupool.allocator.policies import make
from gpupool.allocator.scheduling import QueueRules
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout, OnPreempt, Qos
from gpupool.model.pool import PolicyName
from gpupool.replay.job import Job, Outcome
from gpupool.replay.simulation import Course, Simulation

HOSTS, DEVICES, CPU, MEMORY, LIMIT = 3, 2, 4000, 1000, 120
DEMANDS = st.builds(
    Demand,
    count=st.integers(1, 4),
    compute=st.sampled_from([10, 25, 50, 81, 100]),
    memory_mib=st.sampled_from([0, 100, 500]),
    qos=st.sampled_from(Qos),
    cpu_milli=st.sampled_from([0, 1000, 3000]),
    layout=st.sampled_from(Layout),
    same_host=st.booleans(),
)
JOBS = st.builds(
    Job,
    id=st.uuids().map(str),
    project=st.sampled_from("abc"),
    demand=DEMANDS,
    arrives=st.integers(0, 50).map(float),
    runs=st.integers(0, 50).map(float),
    priority=st.sampled_from([10, 50, 90]),
    time_limit=st.none() | st.integers(1, 60).map(float),
    until=st.none() | st.integers(50, 100).map(float),
    preemptible=st.booleans(),
    on_preempt=st.sampled_from(OnPreempt),
    checkpoint=st.none() | st.just(5.0),
)
RULES = st.builds(
    QueueRules,
    backfill=st.booleans(),
    reservations=st.integers(1, 3),
    min_run_time=st.sampled_from([0.0, 10.0]),
    fair=st.booleans(),
)


def simulate(jobs: Iterable[Job], rules: QueueRules, remote: bool, policy: PolicyName) -> Course:
    device = {
        "compute_total": 100,
        "compute_limit": LIMIT,
        "memory_total": MEMORY,
        "memory_limit": MEMORY,
    }
    rooms = [
        HostCapacity(
            name=f"host-{host}",
            cpu_total=CPU,
            cpu_free=CPU,
            devices=tuple(
                DeviceCapacity(device_id=f"{host}/{slot}", **device) for slot in range(DEVICES)
            ),
        )
        for host in range(HOSTS)
    ]
    view, mix = PoolView(rooms, remote=remote), Mix()
    course = Simulation(view, make(policy, mix), mix, rules, FairShare(20.0)).run(jobs)
    assert list(view.capacities()) == rooms, "everything that was taken is given back"
    return course


def check_capacity(outcomes: Iterable[Outcome]) -> None:
    """At every moment at which something begins."""
    stays = [(outcome.job.demand, stay) for outcome in outcomes for stay in outcome.stays]
    for moment in {stay.begun for _, stay in stays}:
        granted: Counter[tuple[str, str]] = Counter()
        for demand, stay in stays:
            if stay.begun <= moment < stay.ended:
                for device_id in stay.plan.device_ids:
                    granted["compute", device_id] += demand.compute
                    granted["memory", device_id] += demand.memory_mib
                    if demand.qos == Qos.GUARANTEED:
                        granted["guaranteed", device_id] += demand.compute
                granted["cpu", stay.plan.host or ""] += demand.cpu_milli
        most = {"compute": LIMIT, "memory": MEMORY, "guaranteed": 100, "cpu": CPU}
        assert all(amount <= most[what] for (what, _), amount in granted.items())


def check_outcome(outcome: Outcome) -> None:
    job = outcome.job
    assert all(len(stay.plan.device_ids) == job.demand.count for stay in outcome.stays)
    assert all(stay.begun >= job.arrives and stay.ended >= stay.begun for stay in outcome.stays)
    assert not (outcome.refused and outcome.stays)
    if outcome.ended is None:
        ended = outcome.refused or job.until is not None or outcome.preempted
        assert ended, "it waits for ever though the pool is empty"
    elif job.until is None and not outcome.preempted:
        [stay] = outcome.stays
        assert stay.ended - stay.begun == job.runs
    if outcome.preempted:
        assert job.preemptible


@settings(deadline=None, max_examples=40)
@given(st.lists(JOBS, max_size=14), RULES, st.booleans(), st.sampled_from(PolicyName))
def test_whatever_comes(jobs: list[Job], rules: QueueRules, remote: bool, policy: PolicyName) -> None:
    course = simulate(jobs, rules, remote, policy)
    check_capacity(course.outcomes)
    assert len(course.outcomes) == len(jobs)
    for outcome in course.outcomes:
        check_outcome(outcome)
    again = simulate(reversed(jobs), rules, remote, policy)
    assert again.outcomes == course.outcomes, "the same jobs, the same decisions"
