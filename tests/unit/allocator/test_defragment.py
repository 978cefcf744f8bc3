"""Moves gain what they say, keep every wish and capacity, and leave the view alone."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.allocator.claims import Running
from gpupool.allocator.defragment import LEAST_GAIN, Move, apply, make_room, moves
from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import place
from gpupool.allocator.policies import FragmentationGradientDescent, Spread, make
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout, Tier
from gpupool.model.pool import PolicyName

MIX = [Demand(count=1, compute=80, memory_mib=0), Demand(count=1, compute=20, memory_mib=0)]


def pool(hosts: int, devices: int, remote: bool) -> PoolView:
    def device(host: int, slot: int) -> DeviceCapacity:
        return DeviceCapacity(
            device_id=f"{host}-{slot}",
            compute_total=100,
            compute_limit=100,
            memory_total=1000,
            memory_limit=1000,
        )

    rooms = [
        HostCapacity(
            name=f"host-{host}",
            cpu_total=8000,
            cpu_free=8000,
            devices=tuple(device(host, slot) for slot in range(devices)),
        )
        for host in range(hosts)
    ]
    return PoolView(rooms, remote=remote)


def run(view: PoolView, claim_id: str, demand: Demand, planned: Plan) -> Running:
    view.take(demand, planned)
    return Running(
        claim_id=claim_id,
        project_id="project",
        demand=demand,
        plan=planned,
        priority=0,
        bound_at=0.0,
        ends_at=None,
        preemptible=False,
    )


@st.composite
def filled(draw):
    """A pool that was filled without care, and what runs in it."""
    view = pool(draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.booleans()))
    running = []
    for number in range(draw(st.integers(0, 12))):
        demand = Demand(
            count=draw(st.integers(1, 2)),
            compute=draw(st.sampled_from((10, 20, 30, 50, 80))),
            memory_mib=draw(st.sampled_from((0, 100, 400))),
            tier=draw(st.sampled_from((Tier.POOL, Tier.LOCAL))),
            cpu_milli=draw(st.sampled_from((0, 1000))),
            same_type=draw(st.booleans()),
        )
        planned = place(view, demand, Spread())
        if planned is not None:
            running.append(run(view, f"claim-{number:02}", demand, planned))
    return view, running


@given(filled(), st.integers(0, 5))
def test_moves_gain_what_they_say_and_keep_what_was_asked_for(pool_, limit):
    view, running = pool_
    measure = FragmentationGradientDescent(Mix(MIX))
    before = list(view.capacities())
    found = moves(view, running, measure, limit)
    assert list(view.capacities()) == before
    assert moves(view, running, measure, limit) == found
    assert len(found) <= limit
    assert len({(move.claim_id, move.index) for move in found}) == len(found)
    known = {claim.claim_id: claim for claim in running}
    for move in found:
        claim = known[move.claim_id]
        fragmented = measure.fragmentation(view)
        known[move.claim_id] = after = apply(view, claim, move)
        gained = fragmented - measure.fragmentation(view)
        assert abs(gained - move.gain) < 1e-6
        assert move.gain >= LEAST_GAIN
        assert claim.plan.device_ids[move.index] == move.source
        assert after.plan.device_ids[move.index] == move.target
        assert after.plan.host == claim.plan.host
        if not view.remote or claim.demand.tier == Tier.LOCAL:
            assert move.target.split("-")[0] == move.source.split("-")[0]
            assert after.plan.remote == claim.plan.remote
    assert (view.compute.granted <= view.compute.total).all()
    assert (view.memory.granted <= view.memory.total).all()


@given(filled(), st.sampled_from((50, 80, 100)))
def test_a_move_makes_the_room_it_is_for(pool_, compute):
    view, running = pool_
    policy = FragmentationGradientDescent(Mix(MIX))
    wanted = Demand(count=1, compute=compute, memory_mib=0, cpu_milli=1000)
    if place(view, wanted, policy) is not None:
        return
    before = list(view.capacities())
    move = make_room(view, running, wanted, policy)
    assert list(view.capacities()) == before
    if move is not None:
        (claim,) = (claim for claim in running if claim.claim_id == move.claim_id)
        apply(view, claim, move)
        assert place(view, wanted, policy) is not None


def every_move(view, running):
    """All single moves of one vGPU that capacity and what was asked for allow."""
    for claim in running:
        wanted, has = claim.demand, claim.plan.device_ids
        if wanted.count > 1 and wanted.same_type:
            continue
        anywhere = view.remote and wanted.tier == Tier.POOL
        for index, source in enumerate(has):
            for target, at in view.device_index.items():
                near = anywhere or target.split("-")[0] == source.split("-")[0]
                enough = view.compute.free[at] >= wanted.compute
                if near and enough and view.memory.free[at] >= wanted.memory_mib and target not in has:
                    move = {"claim_id": claim.claim_id, "source": source, "target": target}
                    yield claim, Move(index=index, gain=0.0, cost_mib=0, **move)


@settings(deadline=None, max_examples=200)
@given(filled(), st.sampled_from((50, 80, 100)), st.sampled_from(PolicyName))
def test_a_move_is_found_where_one_of_a_smaller_vgpu_makes_room(pool_, compute, name):
    view, running = pool_
    policy = make(name, Mix(MIX))
    wanted = Demand(count=1, compute=compute, memory_mib=0, cpu_milli=1000)
    if place(view, wanted, policy) is not None:
        return
    possible = False
    for claim, move in every_move(view, running):
        after = view.fork()
        apply(after, claim, move)
        possible |= claim.demand.compute < compute and place(after, wanted, policy) is not None
    assert (make_room(view, running, wanted, policy) is not None) == possible


def test_what_gains_next_to_nothing_is_not_moved():
    view = pool(1, 2, remote=False)
    small = Demand(count=1, compute=20, memory_mib=0)
    running = [
        run(view, f"claim-{slot}", small, Plan(host="host-0", shares=small.shares([f"0-{slot}"])))
        for slot in range(2)
    ]
    large = Demand(count=1, compute=90, memory_mib=0)
    # A whole device is of use to one in two, and to one in two hundred.
    for others, moved in ((2, 1), (400, 0)):
        usual = [replace(small, memory_mib=number) for number in range(others)]
        measure = FragmentationGradientDescent(Mix([*usual, large, large]))
        assert len(moves(view, running, measure, 5)) == moved


def test_room_is_made_on_one_host_and_across_hosts():
    small, large = Demand(count=1, compute=20, memory_mib=0), Demand(count=1, compute=90, memory_mib=0)
    policy = FragmentationGradientDescent(Mix([small, large]))
    view = pool(1, 2, remote=False)
    running = [
        run(view, f"claim-{slot}", small, Plan(host="host-0", shares=small.shares([f"0-{slot}"])))
        for slot in range(2)
    ]
    assert make_room(view, running, large, policy) is not None
    (move,) = moves(view, running, policy, 5)
    assert moves(view, running, policy, -2) == []
    assert {move.source, move.target} == {"0-0", "0-1"}
    for remote in (False, True):
        view = pool(2, 1, remote)
        running = [
            run(
                view,
                f"claim-{host}",
                small,
                Plan(host=f"host-{host}", shares=small.shares([f"{host}-0"])),
            )
            for host in range(2)
        ]
        assert (make_room(view, running, large, policy) is not None) == remote
        leaving = [replace(claim, leaving=True) for claim in running]
        assert moves(view, leaving, policy, 5) == []


def test_what_was_packed_stays_together():
    view = pool(1, 2, remote=False)
    packed = Demand(count=2, compute=20, memory_mib=0, layout=Layout.PACK)
    large = Demand(count=1, compute=80, memory_mib=0)
    there = Plan(host="host-0", shares=packed.shares(["0-0", "0-0"]))
    running = [
        run(view, "a", packed, there),
        run(view, "b", large, Plan(host="host-0", shares=large.shares(["0-1"]))),
    ]
    measure = FragmentationGradientDescent(Mix([large]))
    assert moves(view, running, measure, 5) == []
    assert make_room(view, running, large, measure) is None
    loose = [replace(running[0], demand=replace(packed, layout=Layout.ANY)), running[1]]
    assert [move.claim_id for move in moves(view, loose, measure, 5)] == ["a"]


def test_spread_claims_keep_their_hosts():
    view = pool(3, 1, remote=True)
    small, large = Demand(count=2, compute=20, memory_mib=0), Demand(count=1, compute=80, memory_mib=0)
    running = [
        run(view, "a", small, Plan(host="host-0", shares=small.shares(["0-0", "1-0"]))),
        run(view, "b", large, Plan(host="host-2", shares=large.shares(["2-0"]))),
    ]
    measure = FragmentationGradientDescent(Mix([replace(large, compute=100)]))
    assert [move.target for move in moves(view, running, measure, 5)] == ["2-0"]
    spread = [replace(running[0], demand=replace(small, layout=Layout.SPREAD)), running[1]]
    assert {move.claim_id for move in moves(view, spread, measure, 5)} == {"b"}
