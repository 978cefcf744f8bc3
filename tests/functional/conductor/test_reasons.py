"""What a claim that waits is told: what it wants, what there is, and when, of others only that."""

from datetime import timedelta

from oslo_context.context import RequestContext

from gpupool.model.claim import ClaimRequest, OnPreempt
from gpupool.model.pool import PoolChange
from gpupool.model.reason import moment
from gpupool.model.states import ClaimState

OTHER = RequestContext(project_id="project-2", user_id="user-2")


def of_other(lab, claim_id, **wishes):
    """A new claim of another project."""
    return lab.client.create_claim(OTHER, claim_id, ClaimRequest(memory_mib=512, **wishes))


def bound_for_other(lab, agent, **wishes):
    claim = of_other(lab, "8f7cbc24-3fd5-4e46-a442-9a3b4a8e1a51", **wishes)
    lab.serve()
    lab.look(agent)
    return lab.claim(claim)


def test_an_own_claim_is_named_with_the_end_of_its_lease(lab):
    agent = lab.agent(devices=1)
    end = (lab.clock.now() + timedelta(hours=2)).replace(second=0, microsecond=0)
    lab.bound(agent, compute=80, name="morning run", lease_end=end)
    waiting = lab.create(compute=50)
    lab.serve()
    assert lab.claim(waiting).state_reason == (
        "50 % of one device wanted; the largest free share has 20 %; "
        f"room comes free at {end:%Y-%m-%d %H:%M} UTC, when the lease of claim morning run ends"
    )


def test_of_others_claims_only_the_time_is_told(lab):
    agent = lab.agent(devices=1)
    end = (lab.clock.now() + timedelta(hours=2)).replace(second=0, microsecond=0)
    holder = bound_for_other(lab, agent, compute=100, name="secret", lease_end=end)
    assert holder.state == ClaimState.BOUND
    waiting = lab.create(compute=100)
    lab.serve()
    told = lab.claim(waiting)
    assert told.state_reason == (
        "a whole device wanted; the one with most free has 0 %; "
        f"room comes free at {end:%Y-%m-%d %H:%M} UTC"
    )
    assert f"claim {holder.id} of project project-2 ends" in told.state_detail
    (entry,) = lab.client.show_queue(lab.ctxt, waiting.pool_id)
    assert (entry.reason, entry.detail) == (told.state_reason, told.state_detail)


def test_a_time_limit_ends_at_the_moment_that_its_claim_shows(lab):
    agent = lab.agent(devices=1)
    holder = lab.bound(agent, compute=100, time_limit=7200)
    waiting = lab.create(compute=100)
    lab.serve()
    said = lab.claim(waiting).state_reason
    assert said.endswith(f", when the time limit of claim {holder.id} ends")
    # The same at every look, though it is reckoned by clocks that run.
    lab.clock.wait(10)
    lab.serve()
    assert lab.claim(waiting).state_reason == said


def test_a_claim_that_others_make_room_for_is_told_so_and_they_for_whom(lab):
    lab.conf.set_override("min_run_time", 0, group="queue")
    agent = lab.agent(devices=1)
    wishes = {"compute": 100, "priority": 10, "preemptible": True, "on_preempt": OnPreempt.RELEASE}
    victim = bound_for_other(lab, agent, **wishes)
    urgent = lab.create(compute=100, priority=90, name="secret")
    lab.serve()
    assert lab.claim(urgent).state_reason.endswith("room is being made for it now")
    lab.look(agent)
    gone = lab.claim(victim)
    assert (gone.state, gone.state_reason) == ("released", "it made room for a claim of higher priority")
    assert gone.state_detail == f"for claim {urgent.id} of project {urgent.project_id}"


def test_a_reason_costs_nothing_for_claims_that_are_not_told(lab, monkeypatch):
    """There may be thousands: they are told once, and then only the first ones when there is news."""
    agent = lab.agent(devices=1)
    lab.bound(agent, compute=100)
    waiting = [lab.create(compute=share) for share in (99, 98, 97)]
    lab.serve()
    assert all(lab.claim(claim).state_reason for claim in waiting)
    queue = lab.made.queue._pools[waiting[0].pool_id]
    asked = []
    found = queue.scheduler.reasons

    def counting(view):
        reasons = found(view)
        of = reasons.of
        monkeypatch.setattr(reasons, "of", lambda claim_id: asked.append(claim_id) or of(claim_id))
        return reasons

    monkeypatch.setattr(queue.scheduler, "reasons", counting)
    lab.serve()
    assert asked == []
    lab.clock.wait(10)
    lab.serve()
    assert sorted(asked) == sorted(claim.id for claim in waiting)


def test_preemptible_claims_that_ran_too_short_come_free_when_they_did_not(lab):
    agent = lab.agent(devices=1)
    least = timedelta(seconds=lab.conf.queue.min_run_time)
    young = bound_for_other(lab, agent, compute=100, priority=10, preemptible=True)
    urgent = lab.create(compute=100, priority=90)
    lab.serve()
    said, when = lab.claim(urgent).state_reason, moment(young.bound_at + least)
    assert said.endswith(f"room comes free at {when}, when preemptible claims have run long enough")
    assert young.id not in said
    lab.clock.wait(10)
    lab.serve()
    assert lab.claim(urgent).state_reason == said
    lab.clock.wait(least.total_seconds())
    agent.send()
    lab.serve()
    assert lab.claim(urgent).state_reason.endswith("room is being made for it now")


def test_claims_that_run_for_good_before_others_take_their_place_have_no_end(lab):
    """A number of seconds that no calendar reaches is taken, too."""
    lab.conf.set_override("min_run_time", 10**15, group="queue")
    agent = lab.agent(devices=1)
    bound_for_other(lab, agent, compute=100, priority=10, preemptible=True)
    urgent = lab.create(compute=100, priority=90)
    lab.serve()
    assert lab.claim(urgent).state_reason


def test_a_claim_with_a_name_like_a_reason_does_not_make_reasons_grow(lab):
    agent = lab.agent(devices=1)
    end = (lab.clock.now() + timedelta(hours=2)).replace(second=0, microsecond=0)
    name = "it waits again because it waits again because it"
    lab.bound(agent, compute=100, name=name, lease_end=end)
    waiting = lab.create(compute=100)
    said = set()
    for _ in range(4):
        lab.serve()
        said.add(lab.claim(waiting).state_reason)
        lab.clock.wait(10)
        agent.send()
    assert len(said) <= 2
    assert max(map(len, said)) < 400


def test_claims_without_an_end_are_told_of_as_such(lab):
    agent = lab.agent(devices=1)
    lab.bound(agent, compute=100)
    waiting = lab.create(compute=100)
    lab.serve()
    said = lab.claim(waiting).state_reason
    assert said.endswith("; the claims that hold what it needs have no end time")


def test_a_claim_that_was_preempted_says_so_until_it_is_bound_again(lab):
    lab.conf.set_override("min_run_time", 0, group="queue")
    agent = lab.agent(devices=1)
    victim = bound_for_other(lab, agent, compute=100, priority=10, preemptible=True)
    urgent = lab.create(compute=100, priority=90)
    lab.serve()
    for _ in range(3):
        lab.look(agent)
    assert lab.claim(urgent).state == ClaimState.BOUND
    said = "; it waits again because it made room for a claim of higher priority"
    for _ in range(2):
        waiting = lab.claim(victim)
        assert waiting.state == ClaimState.QUEUED
        assert waiting.state_reason.startswith("a whole device wanted; the one with most free has 0 %")
        assert waiting.state_reason.endswith(said)
        assert waiting.state_reason.count("again") == 1
        lab.clock.wait(10)
        agent.send()
        lab.serve()
    lab.release(urgent)
    for _ in range(3):
        lab.look(agent)
    bound = lab.claim(victim)
    assert (bound.state, bound.state_reason, bound.state_detail) == ("bound", "", "")


def test_the_pool_s_own_run_time_counts_for_when_preemptible_claims_come_free(lab):
    agent = lab.agent(devices=1)
    young = bound_for_other(lab, agent, compute=100, priority=10, preemptible=True)
    lab.client.update_pool(lab.ctxt, young.pool_id, PoolChange(min_run_time=7200))
    urgent = lab.create(compute=100, priority=90)
    lab.serve()
    when = moment(young.bound_at + timedelta(hours=2))
    assert f"room comes free at {when}, when preemptible claims" in lab.claim(urgent).state_reason
