"""Placement answers 409, 500 or not at all, or its answer is lost; claims bind and end."""

import pytest

from gpupool.model.states import ClaimState
from tests.functional.conductor.lab import Lab


@pytest.fixture
def hasty(lab, placement):
    """Return the lab with a Placement client that waits no longer than a second."""
    lab.close()
    lab = Lab(lab.conf, lab.database, placement.client(timeout=1))
    yield lab
    lab.close()


FAULTS = ["500 Internal Server Error", "503 Service Unavailable"]


@pytest.mark.parametrize("status", FAULTS)
def test_a_claim_stays_queued_while_placement_fails(lab, placement, status):
    agent = lab.agent()
    claim = lab.create(count=2)
    placement.go(status)
    lab.serve()
    waiting = lab.claim(claim)
    assert waiting.state == ClaimState.QUEUED
    assert f"Placement answered {status[:3]}" in waiting.state_detail
    assert "devices can't be granted now" in waiting.state_reason
    assert not lab.vgpus()
    placement.come_back()
    lab.serve()
    lab.look(agent)
    bound = lab.claim(claim)
    assert (bound.state, bound.state_reason) == (ClaimState.BOUND, "")
    lab.check_books([agent])


@pytest.mark.parametrize("status", FAULTS)
def test_a_claim_stays_releasing_while_placement_fails(lab, placement, status):
    agent = lab.agent()
    claim = lab.bound(agent, count=2)
    lab.release(claim)
    placement.go(status)
    lab.look(agent)
    waiting = lab.claim(claim)
    assert waiting.state == ClaimState.RELEASING
    assert waiting.state_reason == "its devices are given back when Placement answers again"
    assert f"Placement answered {status[:3]}" in waiting.state_detail
    assert len(lab.vgpus()) == 2
    lab.look(agent)
    assert lab.claim(claim) == waiting  # No news, nothing written.
    placement.come_back()
    lab.look(agent)
    released = lab.claim(claim)
    assert (released.state, released.state_reason) == (ClaimState.RELEASED, "")
    lab.check_books([agent])


def test_why_a_claim_is_released_is_not_forgotten(lab, placement):
    agent = lab.agent()
    claim = lab.bound(agent)
    agent.error = "device lost"
    agent.send()
    agent.error = ""
    placement.go(FAULTS[0])
    lab.look(agent)
    refused = "its host refused a vGPU of it: device lost"
    assert lab.claim(claim).state_reason.startswith(f"{refused}; its devices are given back")
    placement.come_back()
    (vgpu,) = lab.vgpus()
    agent.look()
    lab.made.outbox.take()
    lab.made.releasing.drop([vgpu])
    queued = lab.claim(claim)
    assert (queued.state, queued.state_reason) == (
        ClaimState.QUEUED,
        f"it waits again because {refused}",
    )
    assert queued.state_detail == f"it waits again because host {agent.host}: device lost"


def test_reports_are_answered_and_nothing_is_lost_while_placement_is_away(lab, placement):
    placement.go(FAULTS[0])
    agent = lab.agent()
    assert len(lab.devices(agent)) == 2
    claim = lab.create()
    lab.serve()
    assert lab.claim(claim).state == ClaimState.QUEUED
    placement.come_back()
    lab.look(agent)
    lab.look(agent)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_an_answer_that_is_lost_leaves_nothing_behind(lab, placement):
    """Placement wrote the allocations, and nobody heard."""
    agent = lab.agent()
    claim = lab.create(count=2)
    placement.go(FAULTS[0])
    placement.after = True
    lab.serve()
    assert lab.claim(claim).state == ClaimState.QUEUED
    placement.come_back()
    lab.reconcile()
    assert not lab.allocated()
    lab.settle(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_a_conflict_is_planned_around(lab, placement):
    """Placement answers 409: no room after all, whatever this conductor thinks."""
    agent = lab.agent()
    claim = lab.create()
    placement.go("409 Conflict")
    lab.serve()
    waiting = lab.claim(claim)
    assert waiting.state == ClaimState.QUEUED
    assert "Placement answered 409" in waiting.state_detail
    assert not lab.vgpus()
    placement.come_back()
    lab.settle(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_nothing_is_lost_while_placement_does_not_answer_at_all(hasty, placement):
    lab = hasty
    agent = lab.agent()
    bound = lab.bound(agent)
    claim = lab.create()
    with placement.hanging():
        lab.release(bound)
        agent.look()
        lab.serve()
        assert lab.claim(bound).state == ClaimState.RELEASING
        # Not where: members are not told of addresses.
        assert lab.claim(bound).state_detail.endswith("answers again: Placement can't be reached")
        assert lab.claim(claim).state == ClaimState.QUEUED
        assert lab.claim(claim).state_detail == "Placement can't be reached"
    lab.settle(agent)
    assert lab.claim(bound).state == ClaimState.RELEASED
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_what_another_conductor_gave_back_is_not_asked_for_again(lab, placement):
    """Two conductors heard that the vGPUs have left, each in a report of its own."""
    agent = lab.agent()
    claim = lab.bound(agent, count=2)
    other = lab.bound(agent)
    gone = lab.vgpus(claim_id=claim.id)
    lab.release(claim)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED
    placement.requests.clear()
    lab.made.releasing.drop(gone)
    assert placement.requests == []
    # Nor is what stays given back, whoever says that it has gone.
    lab.made.releasing.drop(lab.vgpus(claim_id=other.id))
    assert placement.requests == []
    lab.check_books([agent])
