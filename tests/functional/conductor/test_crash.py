"""kill -9 of a conductor, for real, between what it writes to Placement and to the database."""

import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from oslo_utils import timeutils

from gpupool.db import claims
from gpupool.model.states import ClaimState


def die(lab, placement, method, when, *gone):
    """Run a conductor until it is killed at ``method``; ``gone`` are vGPUs that left their host."""
    command = [sys.executable, "-m", "tests.functional.conductor.crash_driver"]
    with lab.database.reader() as session:
        url = session.get_bind().url.render_as_string()
    done = subprocess.run([*command, url, placement.url, method, when, *gone], check=False, timeout=100)
    assert done.returncode == -signal.SIGKILL


def make_old(lab, claim):
    """Make ``claim`` look untouched for long."""
    with lab.database.writer() as session:
        claims.update(session, claim.id, updated_at=timeutils.utcnow() - timedelta(hours=1))


@pytest.mark.parametrize("count", [1, 2])
def test_killed_after_placement_agreed_the_claim_is_completed(lab, placement, count):
    agent = lab.agent()
    claim = lab.create(count=count)
    die(lab, placement, "set_allocations", "after")
    assert lab.claim(claim).state == ClaimState.ALLOCATING
    assert len(lab.allocated()) == count
    lab.reconcile()
    assert lab.claim(claim).state == ClaimState.ALLOCATING  # Perhaps somebody is still at it.
    make_old(lab, claim)
    lab.reconcile()
    assert lab.claim(claim).state == ClaimState.BINDING
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_killed_before_placement_heard_the_claim_is_undone_and_bound(lab, placement):
    agent = lab.agent()
    claim = lab.create(count=2)
    die(lab, placement, "set_allocations", "before")
    assert lab.claim(claim).state == ClaimState.ALLOCATING
    assert not lab.allocated()
    assert len(lab.vgpus()) == 2
    make_old(lab, claim)
    lab.reconcile()
    undone = lab.claim(claim)
    assert undone.state == ClaimState.QUEUED
    assert undone.state_reason.startswith("the service was interrupted while it granted devices")
    assert undone.state_detail == "a conductor stopped while it allocated"
    assert not lab.vgpus()
    lab.settle(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_killed_while_allocating_a_claim_can_be_released(lab, placement):
    agent = lab.agent()
    claim = lab.create(count=2)
    die(lab, placement, "set_allocations", "after")
    lab.release(claim)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert not lab.allocated()
    lab.check_books([agent])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("count", "method"), [(1, "delete_allocation"), (2, "set_allocations")])
def test_killed_while_giving_back_the_release_goes_on(lab, placement, count, method, when):
    agent = lab.agent()
    claim = lab.bound(agent, count=count)
    lab.release(claim)
    agent.look()
    die(lab, placement, method, when, *[vgpu.id for vgpu in lab.vgpus()])
    assert lab.claim(claim).state == ClaimState.RELEASING
    assert len(lab.vgpus()) == count
    assert len(lab.allocated()) == (count if when == "before" else 0)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert not lab.allocated()
    lab.check_books([agent])


def test_half_of_what_a_dead_conductor_allocated_is_not_enough(lab, placement):
    agent = lab.agent()
    claim = lab.create(count=2)
    die(lab, placement, "set_allocations", "after")
    lab.made.allocations.deallocate(lab.vgpus()[0].id)
    make_old(lab, claim)
    lab.settle(agent)
    lab.settle(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_a_batch_every_claim_of_it_is_completed_or_undone(lab, placement, when):
    agent = lab.agent()
    batch = [lab.create(compute=10, memory_mib=64) for _ in range(5)]
    die(lab, placement, "set_allocations", when)
    assert {lab.claim(claim).state for claim in batch} == {ClaimState.ALLOCATING}
    # All of the batch are in Placement or none: it was one request.
    assert len(lab.allocated()) == (5 if when == "after" else 0)
    for claim in batch:
        make_old(lab, claim)
    lab.settle(agent)
    assert {lab.claim(claim).state for claim in batch} == {ClaimState.BOUND}
    assert len(lab.allocated()) == 5
    lab.check_books([agent])


def move_of(lab, agent):
    """Return a bound claim's vGPU, and another device of its host."""
    lab.bound(agent)
    (vgpu,) = lab.vgpus()
    return vgpu, next(each.id for each in lab.devices(agent) if each.id != vgpu.device_id)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_before_a_move_has_switched_the_vgpu_stays_where_it_is(lab, placement, when):
    agent = lab.agent()
    vgpu, target = move_of(lab, agent)
    die(lab, placement, "set_allocations", when, "move", vgpu.id, target)
    (move,) = lab.moves()
    assert len(lab.allocated()) == (2 if when == "after" else 1)
    lab.reconcile()
    assert lab.moves() == [move]  # Perhaps somebody is still at it.
    lab.made.peers.look({lab.made.id: 1})
    lab.reconcile()
    assert (lab.moves(), lab.vgpus()) == ([], [vgpu])
    lab.settle(agent)
    lab.check_books([agent])


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_the_source_is_given_back_the_move_ends(lab, placement, when):
    agent = lab.agent()
    vgpu, target = move_of(lab, agent)
    lab.made.moving.move(vgpu.id, target)
    agent.look()
    die(lab, placement, "delete_allocation", when)
    assert len(lab.moves()) == 1
    lab.serve()
    (moved,) = lab.vgpus()
    assert (lab.moves(), moved.id, moved.device_id) == ([], vgpu.id, target)
    lab.check_books([agent])


@pytest.mark.parametrize(("when", "left"), [("before", 2), ("after", 1)])
def test_killed_while_vgpu_and_move_are_given_back_the_release_goes_on(lab, placement, when, left):
    agent = lab.agent()
    vgpu, target = move_of(lab, agent)
    lab.made.moving.move(vgpu.id, target)
    lab.client.release_claim(lab.ctxt, vgpu.claim_id)
    agent.look()
    die(lab, placement, "delete_allocation", when, vgpu.id)
    assert len(lab.allocated()) == left
    lab.look(agent)
    assert (lab.moves(), lab.vgpus(), lab.allocated()) == ([], [], {})
