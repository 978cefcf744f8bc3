"""A claim may stay bound for its time limit, and projects are charged for what they have."""

from datetime import timedelta

import pytest
from oslo_utils import timeutils

from gpupool.db import consumption
from gpupool.model import errors
from gpupool.model.claim import ClaimChange
from gpupool.model.states import ClaimState
from tests.functional.conductor.lab import Lab

LIMIT = 3600


def left(lab, claim):
    """Return seconds from when a claim was bound to when it ends."""
    found = lab.claim(claim)
    return (found.lease_end - found.bound_at).total_seconds()


def later(hours):
    return timeutils.utcnow() + timedelta(hours=hours)


def test_the_time_runs_from_when_the_claim_is_bound(lab):
    claim = lab.create(time_limit=LIMIT)
    lab.serve()
    assert lab.claim(claim).lease_end is None
    agent = lab.agent()
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    assert left(lab, claim) == LIMIT
    lab.clock.wait(LIMIT)
    lab.serve()
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.EXPIRED


@pytest.mark.parametrize(("lease", "limited"), [(0.5, False), (2, True)])
def test_the_sooner_of_lease_and_limit_ends_it(lab, lease, limited):
    agent = lab.agent()
    asked = later(lease)
    claim = lab.bound(agent, time_limit=LIMIT, lease_end=asked)
    assert (left(lab, claim) == LIMIT) == limited
    assert (lab.claim(claim).lease_end == asked) == (not limited)


@pytest.mark.parametrize("asked", [None, 5])
def test_queued_again_it_gets_its_time_anew_and_keeps_the_lease_it_asked_for(lab, asked):
    agent = lab.agent()
    lease_end = later(asked) if asked else None
    claim = lab.bound(agent, time_limit=LIMIT, lease_end=lease_end)
    lab.clock.wait(1000)
    agent.error = "lost"
    agent.send()
    agent.error = ""
    agent.look()
    lab.conductor.flush()
    lab.conductor.tick()
    queued = lab.claim(claim)
    assert (queued.bound_at, queued.lease_end) == (None, lease_end)
    # The host is asked again after a while only.
    lab.clock.wait(60)
    lab.look(agent)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    assert left(lab, claim) == LIMIT


def test_a_lease_that_is_asked_for_meanwhile_is_no_way_round_the_limit(lab):
    agent = lab.agent()
    claim = lab.bound(agent, time_limit=LIMIT)
    end = lab.claim(claim).lease_end
    with pytest.raises(errors.Conflict, match=f"allowed: to {end}, for the claim's time limit"):
        lab.client.update_claim(lab.ctxt, claim.id, ClaimChange(lease_end=later(5)))
    change = ClaimChange(remove_lease=True)
    assert lab.client.update_claim(lab.ctxt, claim.id, change).lease_end == end
    sooner = later(0.5)
    change = ClaimChange(lease_end=sooner)
    assert lab.client.update_claim(lab.ctxt, claim.id, change).lease_end == sooner


def used(lab, claim):
    with lab.database.reader() as session:
        found = consumption.of_pool(session, claim.pool_id).get(claim.project_id)
    return 0 if found is None else found.used


def test_what_was_had_is_charged_once(lab):
    agent = lab.agent()
    held = [lab.bound(agent, compute=10, count=2) for _ in range(2)]
    lab.clock.wait(1000)
    for claim in held:
        lab.release(claim)
    lab.look(agent)
    assert {lab.claim(claim).state for claim in held} == {ClaimState.RELEASED}
    # 2 x 2 x 10 % for a thousand seconds and what the test took.
    assert used(lab, held[0]) == pytest.approx(40_000, rel=0.2)
    charged = used(lab, held[0])
    lab.settle(agent)
    assert used(lab, held[0]) <= charged


def test_what_waits_is_not_charged(lab):
    claim = lab.create()
    lab.serve()
    lab.clock.wait(1000)
    lab.serve()
    lab.release(claim)
    lab.serve()
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert used(lab, claim) == 0


def test_what_runs_is_charged_by_a_conductor_that_takes_over(lab, placement):
    """From when the one before it had written that last, once."""
    agent = lab.agent()
    claim = lab.bound(agent, compute=100)
    lab.clock.wait(500)
    lab.serve()
    assert used(lab, claim) == pytest.approx(50_000, rel=0.2)
    other = Lab(lab.conf, lab.database, placement.client())
    for seconds in (1000, 20):
        lab.clock.wait(seconds)
        other.serve()
    other.close()
    assert used(lab, claim) == pytest.approx(152_000, rel=0.2)


def test_what_is_queued_again_is_charged_too(lab):
    agent = lab.agent()
    claim = lab.bound(agent, compute=100)
    lab.clock.wait(500)
    agent.error = "lost"
    agent.send()
    agent.error = ""
    agent.look()
    lab.conductor.flush()
    lab.conductor.tick()
    assert lab.claim(claim).bound_at is None
    assert used(lab, claim) == pytest.approx(50_000, rel=0.2)
