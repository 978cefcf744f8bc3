"""What becomes of bound claims that lose a device: it fails, is gone, or its host is silent."""

import pytest

from gpupool.db import claims
from gpupool.model.claim import ClaimHealth, OnDeviceLost
from gpupool.model.states import ClaimState, DeviceHealth, HostState

ENDING = pytest.mark.parametrize(
    ("asked", "becomes"),
    [(OnDeviceLost.REQUEUE, ClaimState.QUEUED), (OnDeviceLost.FAIL, ClaimState.FAILED)],
)


def pass_time(lab, seconds, *agents):
    """Let time pass, in which the conductor looks every five seconds and agents report."""
    for _ in range(int(seconds // 5)):
        lab.clock.wait(5)
        for agent in agents:
            agent.send()
        lab.conductor.watch()


def timeout(lab):
    return lab.conf.conductor.device_lost_timeout


def lose(lab, claim, agent, health=DeviceHealth.FAILED):
    """Fail the device of a claim's first vGPU; return its key."""
    vgpu = lab.vgpus(claim_id=claim.id)[0]
    key = next(device.key for device in lab.devices(agent) if device.id == vgpu.device_id)
    agent.set_health(key, health)
    agent.send()
    return key


@pytest.mark.parametrize("asked", [None, OnDeviceLost.WAIT])
def test_by_default_a_claim_waits_for_its_device(lab, asked):
    agent = lab.agent()
    claim = lab.bound(agent, on_device_lost=asked)
    key = lose(lab, claim, agent)
    pass_time(lab, 3 * timeout(lab), agent)
    found = lab.claim(claim)
    assert (found.state, found.health) == (ClaimState.BOUND, ClaimHealth.DEVICE_FAILED)
    agent.set_health(key, DeviceHealth.OK)
    agent.send()
    assert lab.claim(claim).health == ClaimHealth.OK


@ENDING
def test_a_gang_gives_back_all_when_one_of_its_devices_stays_failed(lab, asked, becomes):
    agent = lab.agent(devices=3)
    claim = lab.bound(agent, count=3, compute=100, on_device_lost=asked)
    lab.attach(claim)
    key = lose(lab, claim, agent)
    pass_time(lab, timeout(lab) - 5, agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    pass_time(lab, 10, agent)
    found = lab.claim(claim)
    assert (found.state, found.release_to) == (ClaimState.RELEASING, becomes)
    lab.settle(agent)
    found = lab.claim(claim)
    assert found.state == becomes
    assert not lab.vgpus()
    assert not lab.allocated()
    assert not agent.attachments
    if becomes == ClaimState.FAILED:
        assert found.state_reason == f"it lost a device: device {agent.host}/{key} is failed"
        assert found.ended_at is not None
    # It takes the device again when that works.
    agent.set_health(key, DeviceHealth.OK)
    lab.settle(agent)
    again = ClaimState.BOUND if becomes == ClaimState.QUEUED else becomes
    assert lab.claim(claim).state == again
    lab.check_books([agent])


@ENDING
def test_a_claim_of_a_host_that_is_silent_goes_elsewhere_or_fails(lab, asked, becomes):
    agent = lab.agent()
    claim = lab.bound(agent, on_device_lost=asked)
    lab.silence(agent)
    lab.conductor.watch()
    other = lab.agent()
    assert lab.host(agent).state == HostState.DOWN
    pass_time(lab, timeout(lab) + 5, other)
    assert lab.claim(claim).state == ClaimState.RELEASING
    lab.settle(other)
    found = lab.claim(claim)
    if becomes == ClaimState.QUEUED:
        assert found.state == ClaimState.BOUND
        (vgpu,) = lab.vgpus()
        assert vgpu.host_id == lab.host(other).id
    else:
        assert (found.state, lab.vgpus()) == (becomes, [])
    # What the host still has when it is back it gives up.
    lab.look(agent)
    assert not agent.vgpus
    lab.check_books([agent, other])


def test_a_device_that_flaps_costs_its_claims_nothing(lab):
    agent = lab.agent()
    claim = lab.bound(agent, on_device_lost=OnDeviceLost.FAIL)
    for _ in range(4):
        key = lose(lab, claim, agent)
        pass_time(lab, timeout(lab) - 5, agent)
        agent.set_health(key, DeviceHealth.OK)
        # It fails again before anybody looks.
        agent.send()
    assert lab.claim(claim).state == ClaimState.BOUND


def test_time_in_which_nobody_could_hear_the_host_does_not_count(lab):
    agent = lab.agent()
    claim = lab.bound(agent, on_device_lost=OnDeviceLost.FAIL)
    lose(lab, claim, agent)
    pass_time(lab, timeout(lab) - 5, agent)
    lab.clock.wait(3600)
    lab.conductor._lost.forget()  # As after an outage of the broker.
    pass_time(lab, timeout(lab) - 5, agent)
    assert lab.claim(claim).state == ClaimState.BOUND


def test_a_disabled_device_is_not_lost(lab):
    agent = lab.agent()
    claim = lab.bound(agent, on_device_lost=OnDeviceLost.FAIL)
    for device in lab.devices(agent):
        lab.client.set_device_enabled(lab.ctxt, device.id, False, "maintenance")
    pass_time(lab, 2 * timeout(lab), agent)
    found = lab.claim(claim)
    assert (found.state, found.health) == (ClaimState.BOUND, ClaimHealth.OK)


def test_a_claim_that_lost_a_device_tries_other_hosts_first(lab):
    agent = lab.agent(devices=2)
    claim = lab.bound(agent, on_device_lost=OnDeviceLost.REQUEUE)
    lose(lab, claim, agent)
    other = lab.agent(devices=1)
    pass_time(lab, timeout(lab) + 5, agent, other)
    lab.look(agent)
    lab.look(other)
    assert {vgpu.host_id for vgpu in lab.vgpus()} == {lab.host(other).id}
    assert lab.claim(claim).refused_by == ()


def test_what_it_had_is_charged_and_its_time_begins_anew(lab):
    agent = lab.agent()
    claim = lab.bound(agent, time_limit=3600, on_device_lost=OnDeviceLost.REQUEUE)
    key = lose(lab, claim, agent)
    pass_time(lab, timeout(lab) + 5, agent)
    agent.set_health(key, DeviceHealth.OK)
    lab.settle(agent)
    found = lab.claim(claim)
    assert found.state == ClaimState.BOUND
    assert (found.lease_end - found.bound_at).total_seconds() == 3600
    assert found.bound_at > claim.bound_at


def test_another_conductor_ends_what_the_first_did_not_come_to(lab):
    agent = lab.agent()
    claim = lab.bound(agent, on_device_lost=OnDeviceLost.REQUEUE)
    lose(lab, claim, agent)
    pass_time(lab, timeout(lab) - 5, agent)
    other = lab.another()
    for _ in range(2 + timeout(lab) // 5):
        lab.clock.wait(5)
        agent.send()
        other.conductor.watch()
    assert lab.claim(claim).state == ClaimState.RELEASING
    # Both at once: the second finds nothing to do.
    lab.conductor.watch()
    lab.settle(agent)
    lab.settle(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


@ENDING
def test_one_that_changed_since_it_was_judged_is_left_alone(lab, asked, becomes):
    agent = lab.agent()
    claim = lab.bound(agent, on_device_lost=asked)
    key = lose(lab, claim, agent)
    read = claims.list_

    def read_and_return(session, *args, **named):
        found = read(session, *args, **named)
        agent.set_health(key, DeviceHealth.OK)
        return found

    pass_time(lab, timeout(lab), agent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpupool.conductor.claims.lost_devices.claims.list_", read_and_return)
        patch.setattr("gpupool.conductor.claims.lost_devices.isolated", lambda _: _Reporting(agent))
        pass_time(lab, 5)
    assert lab.claim(claim).state == ClaimState.BOUND
    assert lab.claim(claim).health == ClaimHealth.OK
    assert becomes


class _Reporting:
    """The device's report comes in between."""

    def __init__(self, agent):
        self._agent = agent

    def __enter__(self):
        self._agent.send()

    def __exit__(self, *_):
        return False


def test_a_vgpu_that_its_host_lost_fails_a_claim_that_asked_for_it(lab):
    agent = lab.agent()
    claims_ = [lab.bound(agent, on_device_lost=each) for each in (OnDeviceLost.FAIL, OnDeviceLost.WAIT)]
    agent.error, agent.host_fault = "its ledger is damaged", True
    agent.send()
    agent.error = ""
    lab.look(agent)
    assert [lab.claim(each).state for each in claims_] == [ClaimState.FAILED, ClaimState.QUEUED]
