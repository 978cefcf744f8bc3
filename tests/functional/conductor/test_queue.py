"""The queue: who gets room, in which order, and what those who wait are told."""

from dataclasses import replace
from threading import Barrier, Thread

import pytest

from gpupool.conductor.claims.binding import TAKEN
from gpupool.model.claim import ClaimChange, OnPreempt
from gpupool.model.pool import PoolChange
from gpupool.model.states import ClaimState
from testbed.simulated_agent import SimulatedAgent
from tests.functional.conductor.lab import Lab


def states(lab, *claims):
    return [lab.claim(claim).state for claim in claims]


def test_highest_priority_then_oldest_first(lab):
    old, late = lab.create(compute=100), lab.create(compute=100)
    high = lab.create(compute=100, priority=90)
    agent = lab.agent()
    lab.look(agent)
    assert states(lab, old, late, high) == ["bound", "queued", "bound"]
    lab.release(high)
    lab.look(agent)
    lab.look(agent)
    assert states(lab, late) == [ClaimState.BOUND]


def test_a_device_that_was_refused_is_offered_again_as_soon_as_its_provider_is_written(lab):
    SimulatedAgent(lab.transport, "host-late").look()
    claim = lab.create()
    for _ in range(2):
        lab.conductor.tick()
        assert states(lab, claim) == [ClaimState.QUEUED]
    lab.conductor.flush()
    lab.conductor.tick()
    assert states(lab, claim) == [ClaimState.BINDING]


def test_a_change_of_priority_counts(lab):
    first, second = lab.create(compute=100), lab.create(compute=100)
    lab.client.update_claim(lab.ctxt, second.id, ClaimChange(priority=100))
    lab.agent(devices=1)
    assert states(lab, first, second) == ["queued", "binding"]


def test_others_start_behind_one_that_does_not_fit_where_they_are_not_in_its_way(lab):
    agent = lab.agent(devices=2)
    for device in lab.devices(agent):
        lab.bound(agent, compute=60, devices=(device.id,))
    large = lab.create(compute=50)
    small, smaller = lab.create(compute=40), lab.create(compute=40)
    lab.serve()
    # Room is kept on one of the devices.
    assert states(lab, large, small, smaller) == ["queued", "binding", "queued"]
    entries = lab.client.show_queue(lab.ctxt, large.pool_id)
    assert [(each.position, each.claim_id) for each in entries] == [(1, large.id), (2, smaller.id)]
    assert entries[0].reason.startswith("50 % of one device wanted; the largest free share has 40 %;")
    assert entries[1].reason == "claims before it in the queue go first"


def test_one_that_ends_in_time_starts_in_the_room_that_is_kept(lab):
    agent = lab.agent(devices=1)
    lab.bound(agent, compute=60, time_limit=1000)
    large = lab.create(compute=70)
    long, short = lab.create(compute=40, time_limit=2000), lab.create(compute=40, time_limit=500)
    lab.serve()
    assert states(lab, large, long, short) == ["queued", "queued", "binding"]
    first, _ = lab.client.show_queue(lab.ctxt, large.pool_id)
    assert first.starts_at is not None


def test_a_more_important_claim_takes_the_place_of_preemptible_ones(lab):
    lab.conf.set_override("min_run_time", 0, group="queue")
    agent = lab.agent(devices=1)
    again = lab.bound(agent, compute=40, priority=10, preemptible=True)
    never = lab.bound(agent, compute=40, priority=10, preemptible=True, on_preempt=OnPreempt.RELEASE)
    urgent = lab.create(compute=80, priority=90)
    lab.serve()
    assert states(lab, urgent, again, never) == ["queued", "releasing", "releasing"]
    lab.look(agent)
    lab.look(agent)
    assert states(lab, urgent, again, never) == ["bound", "queued", "released"]
    assert lab.claim(again).created_at == again.created_at
    assert lab.claim(never).state_reason == f"it made room for claim {urgent.id}"
    lab.check_books([agent])


def test_a_claim_that_ran_too_short_or_is_not_preemptible_keeps_its_place(lab):
    agent = lab.agent(devices=2)
    lab.bound(agent, compute=100, priority=10, preemptible=True)
    lab.bound(agent, compute=100, priority=10)
    urgent = lab.create(compute=80, priority=90)
    lab.serve()
    assert states(lab, urgent) == ["queued"]


@pytest.mark.parametrize(
    ("option", "of_pool", "of_project", "least"),
    [
        (100, None, None, 100),
        (100, 50, None, 50),
        (100, 150, None, 150),
        (100, 50, 200, 200),
        (100, None, 50, 50),
        (100, 150, 0, 0),
        (100, 0, None, 0),
    ],
)
def test_how_long_a_claim_runs_says_its_project_then_its_pool_then_the_option(
    lab, option, of_pool, of_project, least
):
    lab.conf.set_override("min_run_time", option, group="queue")
    if of_project is not None:
        times = {lab.ctxt.project_id: of_project, "another": 10_000}
        lab.conf.set_override("project_min_run_times", times, group="queue")
    agent = lab.agent(devices=1)
    held = lab.bound(agent, compute=100, priority=10, preemptible=True)
    lab.client.update_pool(lab.ctxt, held.pool_id, PoolChange(min_run_time=of_pool))
    lab.create(compute=80, priority=90)
    if least:
        lab.clock.wait(least - 20)
        lab.serve()
        assert states(lab, held) == [ClaimState.BOUND]
        lab.clock.wait(20)
    lab.serve()
    assert states(lab, held) == [ClaimState.RELEASING]


def test_a_change_of_a_pool_counts_for_claims_that_run(lab):
    agent = lab.agent(devices=1)
    held = lab.bound(agent, compute=100, priority=10, preemptible=True)
    lab.client.update_pool(lab.ctxt, held.pool_id, PoolChange(min_run_time=3600))
    lab.create(compute=80, priority=90)
    lab.clock.wait(1000)
    lab.serve()
    assert states(lab, held) == [ClaimState.BOUND]
    lab.client.update_pool(lab.ctxt, held.pool_id, PoolChange(remove_min_run_time=True))
    lab.serve()
    assert states(lab, held) == [ClaimState.RELEASING]


def test_no_younger_claim_of_the_same_wishes_passes(lab):
    agent = lab.agent(devices=1)
    holder = lab.bound(agent, compute=100)
    waiting = [lab.create(compute=100) for _ in range(3)]
    lab.serve()
    lab.release(holder)
    lab.look(agent)
    assert states(lab, *waiting) == ["binding", "queued", "queued"]


def test_the_reason_is_told_and_written_only_when_it_changes(lab):
    agent = lab.agent(devices=1)
    lab.bound(agent, compute=90)
    claim = lab.create(compute=20)
    lab.serve()
    told = lab.claim(claim)
    assert told.state_reason.startswith("20 % of one device wanted; the largest free share has 10 %")
    assert told.state_detail.startswith("1 devices in the pool")
    lab.serve()
    assert lab.claim(claim) == told
    lab.agent(devices=1, memory_mib=1)
    lab.serve()
    # It stands for a while, so that it can be read.
    assert lab.claim(claim) == told
    lab.clock.wait(10)
    lab.serve()
    assert "those with 20 % free have at most 1 MiB free" in lab.claim(claim).state_reason
    assert lab.claim(claim).generation == told.generation + 1


def test_room_appears_by_release_by_a_host_and_by_enabling(lab):
    agent = lab.agent(devices=1)
    holder = lab.bound(agent, compute=100)
    claims = [lab.create(compute=100) for _ in range(3)]
    lab.serve()
    assert states(lab, *claims) == ["queued"] * 3
    lab.release(holder)
    lab.look(agent)
    assert states(lab, *claims) == ["binding", "queued", "queued"]
    other = lab.agent(devices=1)
    assert states(lab, *claims)[1:] == ["binding", "queued"]
    third = lab.agent(devices=0)
    third.devices = {"ref-9": replace(other.devices["ref-0"], key="ref-9")}
    third.send()
    (device,) = lab.devices(third)
    lab.client.set_device_enabled(lab.ctxt, device.id, False, "later")
    lab.serve()
    assert states(lab, claims[2]) == ["queued"]
    lab.client.set_device_enabled(lab.ctxt, device.id, True, "")
    lab.serve()
    assert states(lab, claims[2]) == ["binding"]
    lab.check_books()


def test_what_placement_holds_beyond_our_rows_is_learnt_and_planned_around(lab):
    """Somebody else, Nova one day, holds most of the device that fits best here."""
    agent = lab.agent()
    best, other = lab.devices(agent)
    lab.bound(agent, devices=(best.id,), compute=10)
    foreign = lab.instance_on(best.id, 80)
    claim = lab.create(compute=25)
    lab.serve()
    assert lab.claim(claim).state == ClaimState.BINDING
    assert [vgpu.device_id for vgpu in lab.vgpus(claim_id=claim.id)] == [other.id]
    waiting = lab.create(devices=(best.id,), compute=25)
    lab.serve()
    told = lab.claim(waiting)
    assert told.state == ClaimState.QUEUED
    lab.reconcile()
    lab.serve()
    assert lab.claim(waiting) == told  # Nobody asks Placement in vain again.
    assert lab.made.placement.get_allocation(foreign) is not None  # It is no business of ours.
    lab.made.allocations.deallocate(foreign)
    lab.reconcile()
    lab.serve()
    assert lab.claim(waiting).state == ClaimState.BINDING


def test_a_device_without_provider_is_planned_around(lab):
    agent = lab.agent()
    first, second = lab.devices(agent)
    lab.made.placement.delete_provider(first.id)
    claims = [lab.create(compute=100) for _ in range(2)]
    lab.serve()
    assert sorted(states(lab, *claims)) == ["binding", "queued"]
    assert [vgpu.device_id for vgpu in lab.vgpus()] == [second.id]
    (waiting,) = (claim for claim in map(lab.claim, claims) if claim.state == ClaimState.QUEUED)
    assert waiting.state_reason == TAKEN.text
    assert "Placement refused: not in Placement" in waiting.state_detail


def test_several_devices_without_provider_are_planned_around(lab):
    agent = lab.agent(devices=4)
    *gone, last = sorted(lab.devices(agent), key=lambda device: device.id)
    for device in gone:
        lab.made.placement.delete_provider(device.id)
    claim = lab.create(compute=100)
    lab.serve()
    assert lab.claim(claim).state == ClaimState.BINDING
    assert [vgpu.device_id for vgpu in lab.vgpus()] == [last.id]


def test_two_conductors_share_one_queue(lab, placement):
    """Each plans without the other's knowledge; database and Placement decide."""
    agent = lab.agent()
    other = Lab(lab.conf, lab.database, placement.client())
    try:
        claims = [lab.create(compute=50) for _ in range(4)]
        barrier = Barrier(2)

        def run(one):
            barrier.wait()
            one.serve()

        threads = [Thread(target=run, args=(one,)) for one in (lab, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        other.close()
    lab.settle(agent)
    assert states(lab, *claims) == ["bound"] * 4
    lab.check_books([agent])
