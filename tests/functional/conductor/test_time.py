"""What clocks that are set do to hosts, leases and time limits: nothing."""

from datetime import timedelta

import pytest

from gpupool.db import claims, consumption
from gpupool.db.api import Database
from gpupool.model.states import ClaimState, HostState
from tests.functional.conductor.lab import Lab, new_conf

HOUR = timedelta(hours=1)
YEAR = timedelta(days=365)
SETTLE = 60
STEPS = pytest.mark.parametrize("step", [HOUR, -HOUR, YEAR, -YEAR], ids=str)


@pytest.fixture
def lab(database, placement):
    """A conductor that has watched its clock for long enough to believe it."""
    conf = new_conf(clock_settle=SETTLE)
    made = Lab(conf, database, placement.client())
    pass_time(made, SETTLE + 5)
    yield made
    made.close()


def pass_time(lab, seconds, *agents):
    """Let time pass, in which the conductor looks every five seconds and agents report."""
    for _ in range(int(seconds // 5)):
        lab.clock.wait(5)
        for agent in agents:
            agent.send()
        lab.conductor.watch()


@STEPS
def test_a_silent_host_is_down_whatever_the_clock_is_set_to(lab, step):
    silent, speaking = lab.agent(), lab.agent()
    lab.clock.set(step)
    timeout = lab.conf.conductor.host_timeout
    pass_time(lab, timeout - 5, speaking)
    assert lab.host(silent).state == HostState.UP
    pass_time(lab, 10, speaking)
    assert lab.host(silent).state == HostState.DOWN
    pass_time(lab, 2 * timeout, speaking)
    assert lab.host(speaking).state == HostState.UP


@STEPS
def test_a_host_that_reports_stays_up_however_often_the_clock_is_set(lab, step):
    agent = lab.agent()
    for number in range(20):
        lab.clock.set(step * (number % 2))
        pass_time(lab, 10, agent)
        assert lab.host(agent).state == HostState.UP


def test_time_in_which_the_conductor_stood_still_is_not_silence(lab):
    agent = lab.agent()
    lab.conductor.watch()
    lab.clock.wait(3600)
    lab.conductor.watch()
    assert lab.host(agent).state == HostState.UP


@STEPS
def test_a_step_that_is_set_right_ends_no_lease(lab, step):
    agent = lab.agent()
    claim = lab.bound(agent, lease_end=lab.clock.now() + HOUR / 2)
    lab.clock.set(step)
    pass_time(lab, SETTLE - 10, agent)
    lab.clock.set(timedelta())
    pass_time(lab, 2 * SETTLE, agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.clock.wait(HOUR.total_seconds() / 2)
    lab.conductor.watch()
    assert lab.claim(claim).release_to == ClaimState.EXPIRED


def test_a_lease_ends_on_time_while_a_step_is_not_believed(lab):
    agent = lab.agent()
    claim = lab.bound(agent, lease_end=lab.clock.now() + timedelta(seconds=20))
    lab.clock.set(-HOUR)
    pass_time(lab, 25, agent)
    assert lab.claim(claim).release_to == ClaimState.EXPIRED


def test_a_step_that_lasts_ends_leases(lab):
    agent = lab.agent()
    claim = lab.bound(agent, lease_end=lab.clock.now() + HOUR / 2)
    lab.clock.set(HOUR)
    pass_time(lab, SETTLE + 10, agent)
    assert lab.claim(claim).release_to == ClaimState.EXPIRED


def test_a_conductor_that_just_started_ends_no_lease_at_once(lab, placement, tmp_path):
    agent = lab.agent()
    claim = lab.bound(agent, lease_end=lab.clock.now() + HOUR)
    other = Lab(lab.conf, Database.from_url(f"sqlite:///{tmp_path}/gpupool.sqlite"), placement.client())
    other.clock.set(2 * HOUR)
    other.conductor.watch()
    pass_time(other, SETTLE - 10)
    assert lab.claim(claim).state == ClaimState.BOUND
    other.close()


@STEPS
def test_a_time_limit_is_a_duration(lab, step):
    """Its clock is set for good, and followed, long before the limit."""
    agent = lab.agent()
    claim = lab.bound(agent, time_limit=600)
    lab.conductor.watch()
    lab.clock.set(step)
    # Not close to it: the time that the test takes passes, too.
    pass_time(lab, 500, agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    pass_time(lab, 105, agent)
    ending = lab.claim(claim)
    assert ending.release_to == ClaimState.EXPIRED
    assert ending.state_reason == "it was bound for its time limit of 10 min"


@STEPS
def test_what_a_project_had_is_charged_by_what_passed(lab, step):
    agent = lab.agent()
    claim = lab.bound(agent, compute=100)
    lab.conductor.watch()
    lab.clock.set(step)
    pass_time(lab, 200, agent)
    lab.release(claim)
    lab.look(agent)
    with lab.database.reader() as session:
        found = consumption.of_pool(session, claim.pool_id)[claim.project_id]
    assert found.used == pytest.approx(20_000, rel=0.2)
    assert abs(found.at - lab.clock.wall()) < timedelta(seconds=60)


def test_a_claim_just_bound_makes_no_room_because_the_clock_was_set(lab):
    """``min_run_time`` is a duration too, also for the conductor that takes over the queue."""
    agent = lab.agent(devices=1)
    victim = lab.bound(agent, compute=100, preemptible=True)
    lab.conductor.watch()
    lab.clock.set(YEAR)
    pass_time(lab, SETTLE + 10, agent)
    urgent = lab.create(compute=100, priority=100)
    lab.serve()
    assert lab.claim(victim).state == ClaimState.BOUND
    pass_time(lab, lab.conf.queue.min_run_time, agent)
    lab.serve()
    assert lab.claim(victim).state == ClaimState.RELEASING
    assert lab.claim(urgent).state == ClaimState.QUEUED


def test_conductors_whose_own_clocks_differ_agree(lab, placement, tmp_path):
    """Each follows the database's clock: one that is years ahead by its own ends nothing."""
    agent = lab.agent()
    claim = lab.bound(agent, lease_end=lab.clock.now() + HOUR, time_limit=1800)
    other = Lab(lab.conf, Database.from_url(f"sqlite:///{tmp_path}/gpupool.sqlite"), placement.client())
    shows = lab.clock.wall
    other.clock.waited = YEAR.total_seconds()
    other.clock.wall = shows
    for _ in range(2 * SETTLE // 5):
        lab.clock.wait(5)
        other.clock.wait(5)
        agent.send()
        lab.conductor.watch()
        other.conductor.watch()
    assert lab.claim(claim).state == ClaimState.BOUND
    assert lab.host(agent).state == HostState.UP
    with lab.database.reader() as session:
        claim = claims.get(session, claim.id)
    assert abs(other.clock.now() - lab.clock.now()) < timedelta(seconds=1)
    other.close()


@STEPS
def test_what_the_clock_showed_when_a_conductor_started_ends_no_time_limit(
    lab, step, placement, tmp_path
):
    """The clock is set right within the minute for which the new conductor watches it."""
    agent = lab.agent()
    claim = lab.bound(agent, time_limit=1800)
    other = Lab(lab.conf, Database.from_url(f"sqlite:///{tmp_path}/gpupool.sqlite"), placement.client())
    other.close()
    other.clock.waited = lab.clock.waited
    other.clock.set(step)
    pass_time(other, SETTLE - 10)
    other.clock.set(timedelta())
    pass_time(other, 2 * SETTLE)
    assert lab.claim(claim).state == ClaimState.BOUND
    pass_time(other, 1800 - 5 * SETTLE)
    assert lab.claim(claim).state == ClaimState.BOUND
    pass_time(other, 3 * SETTLE)
    assert lab.claim(claim).release_to == ClaimState.EXPIRED
