"""vGPUs change their device, whatever happens meanwhile, and only where nobody would notice."""

import uuid

import pytest

from gpupool.conductor.claims import moving
from gpupool.model import errors
from gpupool.model.attachment import AttachmentKind, AttachmentRequest
from gpupool.model.move import MoveState
from gpupool.model.pool import PolicyName, PoolChange
from gpupool.model.states import ClaimState, VgpuState
from gpupool.placement import names


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


def plan(lab, proposed):
    """Plan a move, as one that goes on until ``die``."""
    move_id, target, inventory = str(uuid.uuid4()), proposed.to_device, lab.made.inventory
    lab.begin(move_id)
    return lab.made.transactions.commit(moving.plan, move_id, proposed.vgpu_id, target, inventory)


def die(lab):
    """Abandon the moves that were planned."""
    lab.abandon()


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
def test_what_a_dead_conductor_planned_is_undone(lab, scattered, allocated):
    agent, *_ = scattered
    before = lab.vgpus()
    (proposed,) = run(lab, agent, dry_run=True)
    planned = plan(lab, proposed)
    if allocated:
        lab.made.allocations.move(planned)
    lab.look(agent)
    lab.reconcile()
    assert lab.moves() == [planned]  # Perhaps somebody is still at it.
    die(lab)
    lab.settle(agent)
    assert (lab.moves(), lab.vgpus()) == ([], before)
    lab.check_books([agent])


def test_a_vgpu_that_moves_keeps_its_id_and_both_shares_until_its_host_has_switched(lab, scattered):
    agent, *_ = scattered
    (proposed,) = run(lab, agent)
    (move,) = lab.moves()
    (moved,) = lab.vgpus(id=proposed.vgpu_id)
    assert (moved.device_id, moved.state) == (proposed.to_device, VgpuState.PLANNED)
    source = {proposed.from_device: {names.COMPUTE: 50, names.MEMORY_MIB: 512}}
    target = {proposed.to_device: {names.COMPUTE: 50, names.MEMORY_MIB: 512}}
    # The source is not free before its host says that the vGPU has left it.
    for _ in range(2):
        assert lab.allocated()[moved.id] == target
        assert lab.allocated()[move.id] == source
        lab.check_books()
        lab.serve()
        lab.reconcile()
    lab.look(agent)
    assert lab.moves() == []
    assert move.id not in lab.allocated()


def test_a_claim_whose_move_was_only_planned_keeps_what_it_has(lab, scattered):
    """The target's room went to somebody else, and nobody is there to undo the move yet."""
    agent, halves, _ = scattered
    (proposed,) = run(lab, agent, dry_run=True)
    plan(lab, proposed)
    lab.instance_on(proposed.to_device, 50)
    lab.reconcile()
    assert {lab.claim(claim).state for claim in halves} == {ClaimState.BOUND}
    die(lab)
    lab.settle(agent)
    assert lab.moves() == []
    assert {lab.claim(claim).state for claim in halves} == {ClaimState.BOUND}


def test_a_host_that_refuses_the_target_has_both_shares_given_back(lab, scattered):
    agent, *_ = scattered
    (proposed,) = run(lab, agent)
    agent.error = "no"
    lab.look(agent)
    assert not lab.vgpus(id=proposed.vgpu_id)
    assert lab.moves() == []
    agent.error = ""
    lab.settle(agent)
    lab.check_books([agent])


@pytest.mark.parametrize("meanwhile", ["released", "attached"])
def test_what_happens_to_the_claim_meanwhile_goes_first(lab, scattered, monkeypatch, meanwhile):
    agent, *_ = scattered
    real = lab.made.allocations.move

    def slow(move):
        real(move)
        claim_id = lab.vgpus(id=move.vgpu_id)[0].claim_id
        if meanwhile == "released":
            lab.client.release_claim(lab.ctxt, claim_id)
        else:
            request = AttachmentRequest(claim_id=claim_id, kind=AttachmentKind.PROCESS)
            lab.client.create_attachment(lab.ctxt, str(uuid.uuid4()), request)

    monkeypatch.setattr(lab.made.allocations, "move", slow)
    (move,) = run(lab, agent)
    said = f"the claim of vGPU {move.vgpu_id} changed meanwhile"
    assert (move.applied, move.reason) == (False, said)
    assert lab.moves() == []
    lab.settle(agent)
    lab.check_books([agent])


def test_a_move_that_is_undone_while_placement_is_asked_leaves_nothing(lab, scattered, monkeypatch):
    """Another conductor took this one for gone; what comes to Placement after that is put right."""
    agent, *_ = scattered
    before = lab.vgpus()
    real = lab.made.allocations.move

    def slow(move):
        lab.made.moving.undo(move)
        real(move)

    monkeypatch.setattr(lab.made.allocations, "move", slow)
    (move,) = run(lab, agent)
    assert not move.applied
    assert (lab.moves(), lab.vgpus()) == ([], before)
    lab.check_books([agent])


def test_a_move_that_can_not_be_undone_now_says_why_it_was_not_made(lab, scattered, monkeypatch):
    agent, *_ = scattered

    def away(*_):
        raise errors.Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(lab.made.allocations, "move", away)
        patch.setattr(lab.made.allocations, "move_back", away)
        (move,) = run(lab, agent)
    assert (move.applied, move.reason) == (False, "away")
    assert [each.state for each in lab.moves()] == [MoveState.UNDOING]
    lab.reconcile()
    assert lab.moves() == []
    lab.check_books([agent])


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
    assert len(lab.moves()) == 1
    lab.settle(agent)
    lab.reconcile()
    assert lab.moves() == []
    lab.check_books([agent])


def test_a_pool_whose_moves_are_used_up_is_not_looked_at(lab, scattered, monkeypatch):
    """Nor is one that allows fewer now than it has made."""
    agent, *_ = scattered
    pool_id = lab.host(agent).pool_id
    lab.client.update_pool(lab.ctxt, pool_id, PoolChange(moves_per_hour=1))
    lab.made.defragmenting.by_policy()
    assert len(lab.moves()) == 1
    monkeypatch.setattr(lab.made.defragmenting, "defragment", lambda *_: pytest.fail("looked at"))
    for allowed in (1, 0):
        lab.client.update_pool(lab.ctxt, pool_id, PoolChange(moves_per_hour=allowed))
        lab.made.defragmenting.by_policy()


def test_a_vgpu_that_moves_already_does_not_move_twice(lab, scattered):
    agent, *_ = scattered
    (move,) = run(lab, agent, dry_run=True)
    plan(lab, move)
    (again,) = lab.made.defragmenting._begin([move])
    assert (again.applied, again.reason) == (False, f"vGPU {move.vgpu_id} is moving already")
    die(lab)
    lab.settle(agent)
    lab.check_books([agent])


def test_what_comes_after_an_unavailable_is_not_tried(lab, scattered, monkeypatch):
    agent, *_ = scattered
    (move,) = run(lab, agent, dry_run=True)
    tried = []

    def make(*move):
        tried.append(move)
        if len(tried) == 2:
            raise errors.Unavailable("away")

    monkeypatch.setattr(lab.made.moving, "move", make)
    made = lab.made.defragmenting._begin([move] * 5)
    assert [(each.applied, each.reason) for each in made] == [(True, ""), *[(False, "away")] * 4]
    assert len(tried) == 2


def test_a_pool_that_does_not_exist(lab):
    with pytest.raises(errors.NotFound):
        lab.client.defragment(lab.ctxt, "no-such-pool", True, None)
