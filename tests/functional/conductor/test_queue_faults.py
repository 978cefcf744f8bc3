"""The queue when something fails between deciding and doing: nothing is forgotten, nobody is misled."""

from dataclasses import replace

import pytest

from gpupool.allocator import passes
from gpupool.conductor.claims import preemption
from gpupool.conductor.scheduling import batches
from gpupool.conductor.transaction import Transactions
from gpupool.model import errors
from gpupool.model.claim import Tier
from gpupool.model.states import ClaimState


def states(lab, *claims):
    return [lab.claim(claim).state for claim in claims]


def small_batches(monkeypatch):
    """Make two claims a batch."""
    monkeypatch.setattr(batches, "_LEAST", 2)
    monkeypatch.setattr(batches, "_MOST", 2)


def on_each(lab, agents):
    """Return two claims for each host: a batch holds all of a host."""
    return [
        lab.create(compute=5, memory_mib=16, tier=Tier.LOCAL, host=agent.host)
        for agent in agents
        for _ in range(2)
    ]


@pytest.fixture
def unreachable(lab):
    """Returns a function after which the database can't be reached at a given commit, once."""
    commit = Transactions.commit

    def fail(patch, work):
        failed = []

        def once(transactions, called, *args, **kwargs):
            if called is work and not failed:
                failed.append(work)
                raise errors.Unavailable("the database can't be reached")
            return commit(transactions, called, *args, **kwargs)

        patch.setattr(Transactions, "commit", once)
        return failed

    return fail


def test_a_pass_that_ends_while_it_makes_room_is_done_again(lab, unreachable, monkeypatch):
    lab.conf.set_override("min_run_time", 0, group="queue")
    agent = lab.agent()
    first, second = lab.devices(agent)
    victim = lab.bound(agent, compute=80, priority=10, preemptible=True, devices=(first.id,))
    urgent = lab.create(compute=80, priority=90, devices=(first.id,))
    other = lab.create(compute=30, devices=(second.id,))
    failed = unreachable(monkeypatch, preemption.preempt)
    lab.serve()
    assert failed
    assert states(lab, victim, urgent, other) == [ClaimState.BOUND, ClaimState.QUEUED, ClaimState.QUEUED]
    lab.settle(agent)
    assert states(lab, urgent, other) == [ClaimState.BOUND, ClaimState.BOUND]
    assert lab.claim(victim).state == ClaimState.QUEUED


def test_a_pass_that_ends_between_two_batches_is_done_again(lab, unreachable, monkeypatch):
    small_batches(monkeypatch)
    agents = [lab.agent() for _ in range(4)]
    claims = on_each(lab, agents)
    reserve, answers = lab.made.binding.reserve, ["unavailable", "lost"]

    def fail(choices):
        if not answers:
            return reserve(choices)
        if answers.pop() == "unavailable":
            raise errors.Unavailable("the database can't be reached")
        # Something of it changed, but not its generation: it is not told by that that it waits again.
        lost = {choices[0].claim_id: errors.Conflict("not to be had any more")}
        return replace(reserve(choices[1:]), lost=lost)

    monkeypatch.setattr(lab.made.binding, "reserve", fail)
    lab.serve()
    lab.settle(*agents)
    assert states(lab, *claims) == [ClaimState.BOUND] * 8


def test_without_placement_the_first_batches_are_tried_and_the_others_wait(lab, placement, monkeypatch):
    small_batches(monkeypatch)
    claims = on_each(lab, [lab.agent() for _ in range(4)])
    before = [lab.claim(claim).generation for claim in claims]
    placement.go("503 Service Unavailable")
    lab.serve()
    after = [lab.claim(claim).generation for claim in claims]
    # Three batches of two are begun at once.
    assert sum(now > then for now, then in zip(after, before, strict=True)) == 6


def test_a_refusal_is_told_to_the_claim_that_was_refused_and_not_asked_for_at_once(lab):
    agent = lab.agent()
    reserved, full = lab.devices(agent)
    lab.bound(agent, compute=100, devices=(full.id,))
    lab.reserve(reserved.id)
    refused = lab.create(compute=30, devices=(reserved.id,))
    other = lab.create(compute=50, devices=(full.id,))
    lab.serve()
    assert "Placement refused" in lab.claim(refused).state_detail
    assert "Placement" not in lab.claim(refused).state_reason
    assert "Placement refused" not in lab.claim(other).state_detail
    before = lab.claim(refused).generation
    lab.serve()
    assert lab.claim(refused).generation == before


def test_nobody_makes_room_for_a_claim_that_waits_no_more(lab):
    agent = lab.agent(devices=1)
    victim = lab.bound(agent, compute=80, priority=10, preemptible=True)
    urgent = lab.create(compute=80, priority=90)
    lab.release(urgent)
    lab.made.transactions.commit(preemption.preempt, victim, urgent)
    assert lab.claim(victim).state == ClaimState.BOUND


def test_what_has_ended_is_not_kept_for_the_mix(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    known = lab.made.queue._pools[claim.pool_id]
    assert claim.id in known._mixed
    lab.release(claim)
    lab.settle(agent)
    # A pass looks only when it has something to do.
    lab.create()
    lab.serve()
    assert claim.id not in known._mixed


def test_a_pass_that_fails_leaves_nothing_taken(lab, monkeypatch):
    agent = lab.agent(devices=1)
    claims = [lab.create(compute=50, memory_mib=16) for _ in range(2)]
    start, started = passes.Pass._start, []

    def fail_second(self, claim, planned):
        started.append(claim.claim_id)
        if len(started) == 2:
            raise ValueError("a mistake")
        start(self, claim, planned)

    monkeypatch.setattr(passes.Pass, "_start", fail_second)
    lab.serve()
    assert states(lab, *claims) == [ClaimState.QUEUED] * 2
    lab.settle(agent)
    assert states(lab, *claims) == [ClaimState.BOUND] * 2
