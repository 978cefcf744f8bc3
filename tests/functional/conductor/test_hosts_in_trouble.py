"""A host that can't make vGPUs is not chosen, says why, comes back, and costs no claim."""

from dataclasses import replace
from datetime import datetime, timedelta

from gpupool.conductor.capacity import holds
from gpupool.model.host import Host
from gpupool.model.states import ClaimState, DeviceHealth, HostState

NOW = datetime(2030, 1, 2, 3, 4, 5)
FULL = "its state disk is full"


def refusing(lab, **kwargs):
    agent = lab.agent(**kwargs)
    agent.error, agent.host_fault = "[Errno 28] No space left on device", True
    return agent


def test_a_host_that_is_unable_is_not_chosen_says_why_and_comes_back(lab):
    agent = lab.agent()
    agent.unable_reason = FULL
    agent.send()
    claim = lab.create()
    lab.serve()
    waiting = lab.claim(claim)
    assert waiting.state == ClaimState.QUEUED
    assert waiting.state_reason.endswith("2 on hosts that take nothing new for now")
    assert f"host {agent.host} takes no new vGPUs: {FULL}" in waiting.state_detail
    assert lab.host(agent).unable_reason == FULL
    assert lab.host(agent).state == HostState.UP
    agent.unable_reason = ""
    lab.look(agent)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_what_is_on_an_unable_host_stays_and_can_be_released(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    agent.unable_reason = FULL
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.release(claim)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED


def test_a_claim_goes_to_the_host_that_can(lab):
    full, good = lab.agent(), lab.agent()
    full.unable_reason = FULL
    full.send()
    claims = [lab.create() for _ in range(8)]
    lab.serve_all()
    lab.look(full, good)
    assert {lab.claim(claim).state for claim in claims} == {ClaimState.BOUND}
    assert {vgpu.host_id for vgpu in lab.vgpus()} == {lab.host(good).id}


def test_what_a_host_says_is_shown_on_one_line(lab):
    agent = lab.agent()
    agent.unable_reason = "full\n\x1b[2J\u202e" + "x" * 5000
    agent.send()
    said = lab.host(agent).unable_reason
    assert said.isprintable()
    assert said.startswith("full\\n")
    assert len(said) <= 1000


def test_a_host_s_own_fault_never_fails_a_claim(lab):
    """At 68cd2d6 the third refusal, ten seconds after the first, failed it for good."""
    agent = refusing(lab)
    claim = lab.create()
    for refusals in range(1, 9):
        lab.serve()
        lab.look(agent)
        assert lab.claim(claim).state == ClaimState.QUEUED
        assert lab.claim(claim).attempts == 0
        assert lab.host(agent).refusals == refusals
        lab.clock.wait(holds.LONGEST.total_seconds())
        lab.look(agent)  # it goes on reporting
    assert "No space left" in lab.host(agent).held_reason
    agent.error = ""
    lab.clock.wait(301)
    for _ in range(3):
        lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_a_held_host_is_not_chosen_and_the_claim_says_why(lab):
    agent = refusing(lab)
    claim = lab.create()
    lab.serve()
    lab.look(agent)
    agent.error = ""
    for _ in range(3):
        lab.look(agent)
    waiting = lab.claim(claim)
    assert waiting.state == ClaimState.QUEUED
    assert f"host {agent.host} takes no new vGPUs: its last report refused vGPUs" in waiting.state_detail
    # Its text may name what other projects have, so operators alone read it.
    assert "No space left" not in waiting.state_reason
    lab.clock.wait(6)
    lab.look(agent)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND


def test_many_hosts_in_trouble_fail_no_claim(lab):
    agents = [refusing(lab) for _ in range(4)]
    claim = lab.create()
    for _ in range(5):
        lab.serve()
        lab.look(*agents)
    waiting = lab.claim(claim)
    assert (waiting.state, waiting.attempts) == (ClaimState.QUEUED, 0)
    assert waiting.refused_by == tuple(sorted(agent.host for agent in agents))
    assert ", and 3 more" in waiting.state_detail
    assert not any(agent.host in waiting.state_reason for agent in agents)


def test_one_host_that_refuses_the_claim_itself_again_and_again_does_not_fail_it(lab):
    agent = lab.agent()
    agent.error = "no such partition"
    claim = lab.create()
    for _ in range(5):
        lab.serve()
        lab.look(agent)
        assert lab.claim(claim).state == ClaimState.QUEUED
        lab.clock.wait(400)
        lab.look(agent)
    assert lab.claim(claim).attempts == 1


def test_a_host_that_never_makes_what_it_should_is_held(lab):
    agent = lab.agent()
    claim = lab.create()
    lab.serve()
    agent.generation = lab.host(agent).generation
    agent.send()
    assert lab.claim(claim).attempts == 0
    assert lab.host(agent).refusals == 1


def test_several_refusals_of_one_report_count_once(lab):
    agent = refusing(lab)
    for _ in range(3):
        lab.create()
    lab.serve_all()
    lab.look(agent)
    assert lab.host(agent).refusals == 1


def test_a_host_is_not_held_for_a_device_that_failed(lab):
    agent = refusing(lab)
    one, other = lab.devices(agent)
    claim = lab.create(devices=(one.id,))
    lab.serve()
    agent.set_health(one.key, DeviceHealth.FAILED)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.QUEUED
    assert lab.host(agent).held_until is None
    agent.error = ""
    bound = lab.bound(agent, devices=(other.id,))
    assert bound.state == ClaimState.BOUND


def test_why_a_device_is_not_healthy_is_kept_and_forgotten(lab):
    agent = lab.agent()
    healthy = dict(agent.devices)
    said = "a call of the vendor's library has not returned for 15 s\n\x1b[2J"
    agent.devices["ref-0"] = replace(healthy["ref-0"], health=DeviceHealth.FAILED, health_reason=said)
    del agent.devices["ref-1"]
    agent.send()
    one, gone = lab.devices(agent)
    assert (one.health, gone.health) == (DeviceHealth.FAILED, DeviceHealth.MISSING)
    assert one.health_reason.startswith("a call of the vendor's library has not returned for 15 s")
    assert one.health_reason.isprintable()
    assert gone.health_reason == "its host lists it no more"
    agent.devices = healthy
    agent.send()
    assert [each.health_reason for each in lab.devices(agent)] == ["", ""]


def test_toggling_does_not_end_a_hold(lab):
    agent = refusing(lab)
    claim = lab.create()
    lab.serve()
    lab.look(agent)
    before = lab.host(agent).held_until
    for reason in (FULL, "", FULL, ""):
        agent.unable_reason = reason
        lab.look(agent)
    assert lab.host(agent).held_until == before
    assert lab.claim(claim).state == ClaimState.QUEUED


def host(**fields):
    return Host(id="1", name="a", pool_id="p", state=HostState.UP, **fields)


def test_a_host_that_was_in_order_for_long_starts_again_with_a_short_hold():
    until = NOW + timedelta(seconds=300)
    before = host(refusals=9, held_until=until)
    assert holds.hold(before, "x", until + holds.LONGEST)["refusals"] == 1
    assert holds.hold(before, "x", until + holds.LONGEST / 2)["refusals"] == 10


def test_each_report_in_a_row_that_refuses_doubles_the_hold():
    seconds, now, refusing = [], NOW, host()
    for _ in range(8):
        changes = holds.hold(refusing, "x", now)
        refusing = replace(refusing, **changes)
        seconds.append((refusing.held_until - now).total_seconds())
        now = refusing.held_until
    assert seconds == [5, 10, 20, 40, 80, 160, 300, 300]
    assert (refusing.refusals, refusing.held_reason) == (8, "x")


def test_a_hold_is_bounded_however_often_a_host_refuses():
    changes = holds.hold(host(refusals=10**9, held_until=NOW), "x", NOW)
    assert changes["held_until"] == NOW + holds.LONGEST


def test_a_clock_set_back_does_not_hold_a_host_for_long():
    assert holds.is_held(NOW + holds.LONGEST, NOW)
    assert not holds.is_held(NOW + holds.LONGEST + timedelta(seconds=1), NOW)
    assert not holds.is_held(NOW, NOW)
