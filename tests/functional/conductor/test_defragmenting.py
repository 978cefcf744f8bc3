"""vGPUs change their device, whatever happens meanwhile, and only where nobody would notice."""

import time
import uuid

import pytest

from gpupool.conductor.scheduling import defragmenting
from gpupool.db import vgpus
from gpupool.db.vgpus import BESIDE
from gpupool.model import errors
from gpupool.model.attachment import AttachmentKind, AttachmentRequest
from gpupool.model.pool import PolicyName, PoolChange
from gpupool.model.states import ClaimState, VgpuState


@pytest.fixture
def scattered(lab):
    """Return a host whose two devices are half granted, the claims, and one that needs a whole one."""
    agent = lab.agent()
    change = PoolChange(policy=PolicyName.SPREAD)
    lab.client.update_pool(lab.ctxt, lab.host(agent).pool_id, change)
    halves = [lab.bound(agent, compute=50) for _ in range(2)]
    assert len({vgpu.device_id for vgpu in lab.vgpus()}) == 2
    whole = lab.create(compute=100)
    lab.serve()
    assert lab.claim(whole).state == ClaimState.QUEUED
    return agent, halves, whole


def run(lab, agent, dry_run=False, limit=None):
    return lab.client.defragment(lab.ctxt, lab.host(agent).pool_id, dry_run, limit)


def prepare(lab, move):
    """Prepare a move, as one that goes on until ``die``; return order and row."""
    lab.parts.moving.append(move.claim_id)
    return lab.parts.commit(defragmenting._prepare, move, lab.parts.inventory, lab.parts.id)


def die(lab):
    """Abandon the moves that were prepared."""
    lab.parts.moving.clear()


def test_a_dry_run_tells_and_changes_nothing(lab, scattered):
    agent, *_ = scattered
    before = lab.vgpus(), lab.allocated()
    (move,) = run(lab, agent, dry_run=True)
    assert not move.applied
    assert move.gain > 0
    assert move.cost_mib == 512
    (vgpu,) = lab.vgpus(id=move.vgpu_id)
    assert (vgpu.claim_id, vgpu.device_id) == (move.claim_id, move.from_device)
    assert (lab.vgpus(), lab.allocated()) == before
    assert run(lab, agent, dry_run=True, limit=0) == []


def test_a_move_makes_room_for_who_waits(lab, scattered):
    agent, halves, whole = scattered
    (move,) = run(lab, agent)
    assert (move.applied, move.reason) == (True, "")
    lab.look(agent)
    lab.look(agent)
    moved = lab.claim(next(claim for claim in halves if claim.id == move.claim_id))
    assert moved.state == ClaimState.BOUND
    (vgpu,) = lab.vgpus(claim_id=moved.id)
    assert (vgpu.index, vgpu.device_id, vgpu.state) == (0, move.to_device, VgpuState.ACTIVE)
    assert lab.claim(whole).state == ClaimState.BOUND
    lab.check_books([agent])
    assert run(lab, agent) == []


def test_claims_that_are_attached_stay(lab, scattered):
    agent, halves, _ = scattered
    for claim in halves:
        request = AttachmentRequest(claim_id=claim.id, kind=AttachmentKind.PROCESS)
        lab.client.create_attachment(lab.ctxt, str(uuid.uuid4()), request)
    before = lab.vgpus()
    (move,) = run(lab, agent)
    assert (move.applied, move.reason) == (False, "needs a live move: the claim has attachments")
    assert lab.vgpus() == before
    lab.settle(agent)
    lab.check_books([agent])


@pytest.mark.parametrize("allocated", [False, True])
def test_what_a_dead_conductor_prepared_is_undone(lab, scattered, allocated):
    agent, *_ = scattered
    (move,) = run(lab, agent, dry_run=True)
    order, beside = prepare(lab, move)
    if allocated:
        lab.parts.allocations.allocate(order.grants, order.project_id, order.user_id)
    lab.look(agent)
    assert beside.id not in agent.vgpus
    lab.reconcile()
    assert beside.id in {vgpu.id for vgpu in lab.vgpus()}  # Perhaps somebody is still at it.
    die(lab)
    lab.settle(agent)
    assert beside.id not in {vgpu.id for vgpu in lab.vgpus()}
    lab.check_books([agent])


def test_a_claim_whose_move_was_only_prepared_keeps_what_it_has(lab, scattered):
    """The target's room went to somebody else, and nobody is there to undo the move yet."""
    agent, halves, _ = scattered
    (move,) = run(lab, agent, dry_run=True)
    prepare(lab, move)
    lab.instance_on(move.to_device, 50)
    lab.reconcile()
    assert {lab.claim(claim).state for claim in halves} == {ClaimState.BOUND}
    die(lab)
    lab.settle(agent)
    assert all(vgpu.index < BESIDE for vgpu in lab.vgpus())
    assert {lab.claim(claim).state for claim in halves} == {ClaimState.BOUND}


@pytest.mark.parametrize("meanwhile", ["released", "attached"])
def test_what_happens_to_the_claim_meanwhile_goes_first(lab, scattered, monkeypatch, meanwhile):
    agent, *_ = scattered
    allocate = lab.parts.allocations.allocate

    def slow(grants, project_id, user_id):
        monkeypatch.undo()
        allocate(grants, project_id, user_id)
        claim_id = lab.vgpus(id=grants[0].vgpu_id)[0].claim_id
        if meanwhile == "released":
            lab.client.release_claim(lab.ctxt, claim_id)
        else:
            request = AttachmentRequest(claim_id=claim_id, kind=AttachmentKind.PROCESS)
            lab.client.create_attachment(lab.ctxt, str(uuid.uuid4()), request)

    monkeypatch.setattr(lab.parts.allocations, "allocate", slow)
    (move,) = run(lab, agent)
    assert (move.applied, move.reason) == (False, f"claim {move.claim_id} changed meanwhile")
    lab.settle(agent)
    lab.check_books([agent])
    assert all(vgpu.index < 2 for vgpu in lab.vgpus())


def test_a_claim_whose_last_row_was_beside_ends_with_it(lab, scattered):
    """It was released in the moment in which its move was prepared."""
    agent, *_ = scattered
    (move,) = run(lab, agent, dry_run=True)
    _, beside = prepare(lab, move)
    claim = lab.client.release_claim(lab.ctxt, move.claim_id)
    with lab.database.writer() as session:
        vgpus.update(session, beside.id, state=VgpuState.PLANNED, generation=0)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASING
    defragmenting.drop(lab.parts, beside)
    assert lab.claim(claim).state == ClaimState.RELEASED


def test_a_move_that_can_not_be_given_back_now_says_why_it_was_not_made(lab, scattered, monkeypatch):
    agent, *_ = scattered

    def away(*_):
        raise errors.Unavailable("away")

    monkeypatch.setattr(lab.parts.allocations, "allocate", away)
    monkeypatch.setattr(lab.parts.allocations, "deallocate", away)
    hurried = []
    monkeypatch.setattr(lab.parts.audit, "hurry", hurried.extend)
    (move,) = run(lab, agent)
    assert (move.applied, move.reason) == (False, "away")
    assert hurried == [move.to_device]


def test_placement_that_fails_leaves_things_as_they_are(lab, scattered, placement):
    agent, *_ = scattered
    before = lab.vgpus()
    placement.go("500 Internal Server Error")
    (move,) = run(lab, agent)
    assert not move.applied
    placement.come_back()
    lab.settle(agent)
    assert lab.vgpus() == before
    lab.check_books([agent])


def test_a_pool_may_allow_some_moves_an_hour(lab, scattered):
    agent, *_ = scattered
    lab.reconcile()
    assert len(lab.vgpus()) == 2
    lab.client.update_pool(lab.ctxt, lab.host(agent).pool_id, PoolChange(moves_per_hour=1))
    lab.reconcile()
    assert len(lab.vgpus()) == 3
    lab.settle(agent)
    assert sum(map(len, lab.parts.moved.values())) == 1
    lab.check_books([agent])


def test_a_pool_whose_moves_are_used_up_is_not_looked_at(lab, scattered, monkeypatch):
    """Nor is one that allows fewer now than it has made."""
    agent, *_ = scattered
    pool_id = lab.host(agent).pool_id
    monkeypatch.setattr(defragmenting, "_propose", lambda *_: pytest.fail("looked at"))
    for allowed in (3, 1):
        lab.parts.moved[pool_id] = [time.monotonic()] * 3
        lab.client.update_pool(lab.ctxt, pool_id, PoolChange(moves_per_hour=allowed))
        defragmenting.by_policy(lab.parts)
    lab.parts.moved["gone"] = [time.monotonic()]
    defragmenting.by_policy(lab.parts)
    assert lab.parts.moved.keys() == {pool_id}


def test_a_vgpu_that_moves_already_does_not_move_twice(lab, scattered):
    agent, *_ = scattered
    (move,) = run(lab, agent, dry_run=True)
    prepare(lab, move)
    (again,) = defragmenting._begin(lab.parts, [move])
    assert (again.applied, again.reason) == (False, f"vGPU {move.vgpu_id} is moving already")
    die(lab)
    lab.settle(agent)
    lab.check_books([agent])


def test_what_comes_after_an_unavailable_is_not_tried(lab, scattered, monkeypatch):
    agent, *_ = scattered
    (move,) = run(lab, agent, dry_run=True)
    tried = []

    def make(_, move):
        tried.append(move)
        if len(tried) == 2:
            raise errors.Unavailable("away")

    monkeypatch.setattr(defragmenting, "_make", make)
    made = defragmenting._begin(lab.parts, [move] * 5)
    assert [(each.applied, each.reason) for each in made] == [(True, ""), *[(False, "away")] * 4]
    assert len(tried) == 2


def test_a_pool_that_does_not_exist(lab):
    with pytest.raises(errors.NotFound):
        lab.client.defragment(lab.ctxt, "no-such-pool", True, None)
