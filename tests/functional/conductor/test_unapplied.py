"""A host that reports, and never applies what it should have."""

import pytest

from gpupool.model.states import ClaimState
from tests.functional.conductor.lab import Lab, new_conf

TIMEOUT = 60


@pytest.fixture
def lab(database, placement):
    lab = Lab(new_conf(apply_timeout=TIMEOUT), database, placement.client())
    yield lab
    lab.close()


def pass_time(lab, seconds, *agents):
    """Let time pass, in which the conductor works every five seconds and agents report."""
    for _ in range(int(seconds // 5)):
        lab.clock.wait(5)
        for agent in agents:
            agent.send()
        lab.serve()


def test_what_a_host_never_makes_another_one_makes(lab):
    idle = lab.agent()
    claim = lab.create(count=2)
    lab.serve()
    pass_time(lab, TIMEOUT - 5, idle)
    assert lab.claim(claim).state == ClaimState.BINDING
    assert lab.host(idle).unapplied_reason == ""
    other = lab.agent()
    pass_time(lab, 20, idle, other)
    lab.look(other)
    host, found = lab.host(idle), lab.claim(claim)
    assert host.unapplied_reason.startswith(f"it reports, and for {TIMEOUT} s has not made")
    assert (found.state, found.attempts) == (ClaimState.BOUND, 0)
    assert {vgpu.host_id for vgpu in lab.vgpus()} == {lab.host(other).id}
    lab.check_books([other])
    # It is back by itself, and is given new vGPUs again.
    lab.look(idle)
    lab.serve()
    assert lab.host(idle).unapplied_reason == ""
    again = lab.create(host=idle.host)
    lab.serve()
    lab.look(idle)
    assert lab.claim(again).state == ClaimState.BOUND
    lab.check_books([idle, other])


def test_a_host_that_does_not_apply_takes_nothing_new(lab):
    idle = lab.agent()
    lab.create()
    lab.serve()
    pass_time(lab, 2 * TIMEOUT, idle)
    claim = lab.create()
    pass_time(lab, TIMEOUT, idle)
    waiting = lab.claim(claim)
    assert waiting.state == ClaimState.QUEUED
    assert f"for {TIMEOUT} s has not made or removed vGPUs" in waiting.state_detail
    assert not lab.vgpus()
    assert not lab.allocated()


def test_what_a_host_does_not_remove_stays_accounted_for(lab):
    idle = lab.agent()
    claim = lab.bound(idle)
    lab.release(claim)
    pass_time(lab, TIMEOUT + 10, idle)
    found = lab.claim(claim)
    assert found.state == ClaimState.RELEASING
    assert found.state_reason.endswith(f"do not apply what they should: {idle.host}")
    assert lab.host(idle).unapplied_reason
    lab.check_books([idle])
    late = lab.claim(claim)
    lab.look(idle)
    lab.serve()
    assert late.state_reason
    assert (lab.claim(claim).state, lab.claim(claim).state_reason) == (ClaimState.RELEASED, "")
    assert lab.host(idle).unapplied_reason == ""
    lab.check_books([idle])


def test_what_is_released_on_such_a_host_says_so_at_once(lab):
    idle = lab.agent()
    first, second = lab.bound(idle), lab.bound(idle)
    lab.release(first)
    pass_time(lab, TIMEOUT + 10, idle)
    assert lab.release(second).state_reason.endswith(f"do not apply what they should: {idle.host}")


def test_a_host_that_says_it_applied_what_it_still_lists_did_not(lab):
    liar = lab.agent()
    claim = lab.bound(liar)
    lab.release(claim)
    kept = dict(liar.vgpus)
    for _ in range(2):
        liar.apply(liar.send())
        liar.vgpus = dict(kept)
    pass_time(lab, TIMEOUT + 10, liar)
    assert lab.host(liar).unapplied_reason
    assert lab.claim(claim).state == ClaimState.RELEASING
    lab.check_books([liar])


def test_a_host_that_applies_in_time_is_never_late(lab):
    agent = lab.agent()
    for _ in range(4):
        claim = lab.bound(agent)
        lab.release(claim)
        pass_time(lab, TIMEOUT - 10, agent)
        lab.look(agent)
        assert lab.claim(claim).state == ClaimState.RELEASED
    assert lab.host(agent).unapplied_reason == ""


def test_what_placement_does_not_take_back_is_no_hosts_fault(lab, placement):
    agent = lab.agent()
    claim = lab.bound(agent)
    lab.release(claim)
    placement.go("503 Service Unavailable")
    agent.look()
    pass_time(lab, 2 * TIMEOUT, agent)
    assert lab.claim(claim).state == ClaimState.RELEASING
    assert lab.host(agent).unapplied_reason == ""


def test_a_released_claim_that_no_host_made_ends(lab):
    idle = lab.agent()
    claim = lab.create()
    lab.serve()
    lab.release(claim)
    pass_time(lab, TIMEOUT + 20, idle)
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert not lab.allocated()


def test_with_0_hosts_have_all_the_time_there_is(database, placement):
    lab = Lab(new_conf(apply_timeout=0), database, placement.client())
    idle = lab.agent()
    claim = lab.create()
    lab.serve()
    pass_time(lab, 400, idle)
    assert lab.claim(claim).state == ClaimState.BINDING
    lab.close()
