"""Elastic claims: they start with what there is, grow when there is room, and shrink for others."""

import re
import threading
import uuid
from dataclasses import replace

import pytest
from oslo_utils import timeutils

from gpupool.conductor.capacity import holds
from gpupool.conductor.claims import refusals, releasing, resizing
from gpupool.db import claims, consumption
from gpupool.model import errors
from gpupool.model.claim import COUNT_MAX, ClaimChange, OnDeviceLost, OnPreempt, Tier
from gpupool.model.profile import Profile
from gpupool.model.reason import NONE
from gpupool.model.report import SessionReport
from gpupool.model.states import ClaimState, DeviceHealth, VgpuState
from tests.functional.conductor.lab import Lab, new_conf

WHOLE = {"compute": 100, "memory_mib": 512}
RANGE = {"min_count": 2, "max_count": 6, **WHOLE}


@pytest.fixture(autouse=True)
def at_once(request):
    """Nothing has to run for a time before others take its place, unless a test says so."""
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").conf.set_override("min_run_time", 0, group="queue")


def counts(lab, claim):
    found = lab.claim(claim)
    rows = [vgpu for vgpu in lab.vgpus(claim_id=claim.id) if vgpu.counted]
    if found.state == ClaimState.BOUND:
        assert len(rows) == found.count
    return found.state, found.count, found.min_count, found.max_count


def serve(lab, *agents):
    """Let everybody do what there is, without the reconciler."""
    for _ in range(4):
        lab.look(*agents)


def use(agent, attachment, *vgpus):
    """Report a session on each of some vGPUs."""
    seen = tuple(
        SessionReport(
            id=str(uuid.uuid4()),
            attachment_id=attachment.id,
            vgpu_id=vgpu.id,
            program_pid=100,
            worker_pid=101,
            started_at=timeutils.utcnow(),
        )
        for vgpu in vgpus
    )
    agent.send(replace(agent.report(), sessions=seen))


def test_it_starts_with_what_there_is_and_grows_when_there_is_more(lab):
    agent = lab.agent(devices=8)
    other = lab.bound(agent, count=5, **WHOLE)
    claim = lab.bound(agent, **RANGE)
    assert counts(lab, claim) == (ClaimState.BOUND, 3, 2, 6)
    lab.check_books([agent])
    attachment = lab.attach(claim)
    lab.look(agent)
    lab.release(other)
    serve(lab, agent)
    assert counts(lab, claim) == (ClaimState.BOUND, 6, 2, 6)
    lab.check_books([agent])
    # New sessions see them all: the attachment is the same, and has more vGPUs.
    spec = agent.attachments[attachment.id]
    assert list(spec.vgpu_ids) == [vgpu.id for vgpu in lab.vgpus(claim_id=claim.id)]
    assert {vgpu.state for vgpu in lab.vgpus()} == {VgpuState.ACTIVE}
    before = lab.claim(claim)
    serve(lab, agent)
    assert lab.claim(claim) == before


def test_with_less_than_its_minimum_it_waits(lab):
    agent = lab.agent(devices=2)
    lab.bound(agent, **WHOLE)
    claim = lab.create(**RANGE)
    lab.serve()
    assert counts(lab, claim) == (ClaimState.QUEUED, 2, 2, 6)
    assert "2" in lab.claim(claim).state_reason


def test_it_gives_back_for_one_that_waits_and_keeps_its_minimum(lab):
    agent = lab.agent(devices=6)
    claim = lab.bound(agent, **RANGE)
    assert counts(lab, claim)[1] == 6
    attachment = lab.attach(claim)
    lab.look(agent)
    first = [vgpu.id for vgpu in lab.vgpus(claim_id=claim.id)]
    waiting = lab.create(count=3, **WHOLE)
    lab.serve()
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 3)
    said = f"it gave 3 of 6 vGPUs back; it made room for claim {waiting.id}"
    assert lab.claim(claim).state_reason == said
    # The host has not let go of them, so nobody else has them; nor is more taken for it.
    assert lab.claim(waiting).state == ClaimState.QUEUED
    lab.serve()
    assert counts(lab, claim)[1] == 3
    serve(lab, agent)
    assert lab.claim(waiting).state == ClaimState.BOUND
    # The ordinals of the others stay as they were.
    assert list(agent.attachments[attachment.id].vgpu_ids) == first[:3]
    lab.check_books([agent])
    late = lab.create(count=2, **WHOLE)
    serve(lab, agent)
    assert (lab.claim(late).state, counts(lab, claim)[1]) == (ClaimState.QUEUED, 3)
    small = lab.create(count=1, **WHOLE, priority=60)
    serve(lab, agent)
    assert (lab.claim(small).state, counts(lab, claim)[1]) == (ClaimState.BOUND, 2)
    lab.check_books([agent])


def test_no_vgpu_gets_the_index_of_one_that_was_taken_away(lab):
    """Programs open vGPUs by their indexes, and may have learnt of them long ago."""
    agent = lab.agent(devices=4)
    claim = lab.bound(agent, min_count=1, max_count=4, **WHOLE)
    lab.attach(claim)
    serve(lab, agent)
    seen = {vgpu.index: vgpu.id for vgpu in lab.vgpus(claim_id=claim.id)}
    assert [*seen] == [0, 1, 2, 3]
    for _ in range(3):
        other = lab.create(count=2, **WHOLE)
        serve(lab, agent)
        assert (lab.claim(other).state, lab.claim(claim).count) == (ClaimState.BOUND, 2)
        lab.release(other)
        serve(lab, agent)
        assert lab.claim(claim).count == 4
        for vgpu in lab.vgpus(claim_id=claim.id):
            assert seen.setdefault(vgpu.index, vgpu.id) == vgpu.id
        # The host is told them.
        told = {spec.id: spec.index for spec in agent.vgpus.values()}
        assert told == {vgpu.id: vgpu.index for vgpu in lab.vgpus(claim_id=claim.id)}
    lab.check_books([agent])
    # Queued again it begins anew: its attachments are gone.
    lab.made.transactions.commit(releasing.start, lab.claim(claim), ClaimState.QUEUED)
    serve(lab, agent)
    serve(lab, agent)
    assert [vgpu.index for vgpu in lab.vgpus(claim_id=claim.id)] == [0, 1, 2, 3]


def test_indexes_go_round_when_all_were_used(lab):
    agent = lab.agent(devices=3)
    claim = lab.bound(agent, min_count=1, max_count=2, **WHOLE)
    with lab.database.writer() as session:
        claims.update(session, claim.id, next_index=COUNT_MAX - 1)
    for index in (COUNT_MAX - 1, 1):
        last = max(lab.vgpus(claim_id=claim.id), key=lambda vgpu: (vgpu.index, vgpu.id))
        lab.made.transactions.commit(resizing.give_up, claim.id, [last.id], NONE)
        serve(lab, agent)
        assert sorted(vgpu.index for vgpu in lab.vgpus(claim_id=claim.id)) == [0, index]


def test_it_grows_not_before_those_that_wait(lab):
    agent = lab.agent(devices=6)
    holders = [lab.bound(agent, **WHOLE) for _ in range(4)]
    claim = lab.bound(agent, **RANGE)
    waiting = lab.create(count=3, **WHOLE)
    lab.serve()
    for holder in holders[:2]:
        lab.release(holder)
        serve(lab, agent)
        assert (counts(lab, claim)[1], lab.claim(waiting).state) == (2, ClaimState.QUEUED)
    lab.release(holders[2])
    serve(lab, agent)
    assert (counts(lab, claim)[1], lab.claim(waiting).state) == (2, ClaimState.BOUND)
    lab.release(holders[3])
    serve(lab, agent)
    assert counts(lab, claim)[1] == 3


def test_what_it_got_it_keeps_for_the_minimum_run_time(lab):
    lab.conf.set_override("min_run_time", 300, group="queue")
    agent = lab.agent(devices=4)
    claim = lab.bound(agent, **RANGE)
    waiting = lab.create(**WHOLE)
    lab.clock.wait(250)
    serve(lab, agent)
    assert (counts(lab, claim)[1], lab.claim(waiting).state) == (4, ClaimState.QUEUED)
    lab.clock.wait(60)
    serve(lab, agent)
    assert (counts(lab, claim)[1], lab.claim(waiting).state) == (3, ClaimState.BOUND)


def test_a_vgpu_that_a_session_uses_is_taken_last(lab):
    agent = lab.agent(devices=5)
    claim = lab.bound(agent, **RANGE)
    attachment = lab.attach(claim)
    lab.look(agent)
    rows = lab.vgpus(claim_id=claim.id)
    use(agent, attachment, rows[4], rows[2])
    lab.create(count=2, **WHOLE)
    lab.serve()
    left = [vgpu.id for vgpu in lab.vgpus(claim_id=claim.id) if vgpu.counted]
    assert left == [rows[0].id, rows[2].id, rows[4].id]
    # Ordinals of vGPUs that are gone are given to later ones.
    agent.apply(agent.send())
    assert list(agent.attachments[attachment.id].vgpu_ids) == left


def test_below_its_minimum_it_is_preempted_as_any_other(lab):
    agent = lab.agent(devices=4)
    claim = lab.bound(agent, **RANGE, preemptible=True, priority=10)
    assert counts(lab, claim)[1] == 4
    urgent = lab.create(count=3, **WHOLE, priority=90)
    serve(lab, agent)
    assert lab.claim(urgent).state == ClaimState.BOUND
    assert counts(lab, claim) == (ClaimState.QUEUED, 2, 2, 6)
    lab.release(urgent)
    serve(lab, agent)
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 4)
    lab.check_books([agent])


def test_one_that_is_not_preemptible_keeps_its_minimum(lab):
    agent = lab.agent(devices=4)
    claim = lab.bound(agent, **RANGE, on_preempt=OnPreempt.RELEASE)
    urgent = lab.create(count=3, **WHOLE, priority=90)
    serve(lab, agent)
    assert lab.claim(urgent).state == ClaimState.QUEUED
    # Nothing is taken for one that it would not help.
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 4)


def used(lab, claim):
    with lab.database.reader() as session:
        found = consumption.of_pool(session, claim.pool_id).get(claim.project_id)
    return 0 if found is None else found.used


def test_its_project_is_charged_for_what_it_held_when(lab):
    agent = lab.agent(devices=4)
    other = lab.bound(agent, count=2, tier=Tier.POOL, compute=1, memory_mib=4096)
    claim = lab.bound(agent, min_count=1, max_count=4, compute=10, memory_mib=4000)
    assert counts(lab, claim)[1] == 2
    lab.clock.wait(1000)
    lab.release(other)
    serve(lab, agent)
    assert counts(lab, claim)[1] == 4
    # 2 x 10 % for a thousand seconds, and the other's 2 x 1 %.
    assert used(lab, claim) == pytest.approx(22_000, rel=0.1)
    lab.clock.wait(1000)
    waiting = lab.create(count=3, compute=1, memory_mib=4000)
    serve(lab, agent)
    assert counts(lab, claim)[1] == 1
    assert used(lab, claim) == pytest.approx(62_000, rel=0.1)
    lab.clock.wait(1000)
    lab.release(claim)
    serve(lab, agent)
    assert used(lab, claim) == pytest.approx(72_000, rel=0.1)
    assert lab.claim(waiting).state == ClaimState.BOUND


def test_a_quota_bounds_what_it_has(database, placement):
    conf = new_conf()
    conf.set_override("vgpus", 5, group="quota")
    lab = Lab(conf, database, placement.client())
    try:
        agent = lab.agent(devices=8)
        other = lab.bound(agent, **WHOLE)
        claim = lab.bound(agent, min_count=2, max_count=8, **WHOLE)
        assert counts(lab, claim)[:2] == (ClaimState.BOUND, 4)
        serve(lab, agent)
        assert counts(lab, claim)[1] == 4
        with pytest.raises(errors.OverQuota, match="quota of vgpus: 1 asked, 5 used, 5 allowed"):
            lab.create(**WHOLE)
        lab.release(other)
        lab.clock.wait(120)
        serve(lab, agent)
        serve(lab, agent)
        assert counts(lab, claim)[1] == 5
        lab.check_books([agent])
    finally:
        lab.close()


def test_claims_that_start_together_have_no_more_than_their_quota(database, placement):
    conf = new_conf()
    conf.set_override("vgpus", 5, group="quota")
    lab = Lab(conf, database, placement.client())
    try:
        agent = lab.agent(devices=8)
        both = [lab.create(min_count=1, max_count=4, **WHOLE) for _ in range(2)]
        lab.serve()
        lab.settle(agent)
        found = [lab.claim(claim) for claim in both]
        assert [claim.state for claim in found] == [ClaimState.BOUND] * 2
        assert sum(claim.count for claim in found) == 5
        lab.check_books([agent])
    finally:
        lab.close()


def test_limits_that_are_not_known_keep_it_at_its_minimum(lab, monkeypatch):
    agent = lab.agent(devices=4)
    monkeypatch.setattr(lab.made.limits, "known", lambda _: None)
    claim = lab.bound(agent, **RANGE)
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 2)
    monkeypatch.undo()
    lab.clock.wait(120)
    serve(lab, agent)
    assert counts(lab, claim)[1] == 4


def grown_later(lab, agent, most=4, **more):
    """Return a claim of two that may have more, and devices that it could get now."""
    other = lab.bound(agent, count=2, **WHOLE, **more)
    claim = lab.bound(agent, min_count=2, max_count=most, **WHOLE, **more)
    assert counts(lab, claim)[1] == 2
    free = tuple(sorted({vgpu.device_id for vgpu in lab.vgpus(claim_id=other.id)}))
    lab.release(other)
    agent.look()
    lab.made.releasing.drop([vgpu for vgpu in lab.vgpus() if vgpu.state == VgpuState.REMOVING])
    return claim, free


def prepare(lab, claim, device_ids):
    made = lab.made.resizing.reserve([lab.choice(claim, *device_ids)])
    assert not made.lost
    return made.planned


@pytest.mark.parametrize("allocated", [False, True])
def test_what_a_dead_conductor_prepared_is_dropped_and_it_grows_again(lab, allocated):
    agent = lab.agent(devices=4)
    claim, free = grown_later(lab, agent)
    (planned,) = prepare(lab, claim, free)
    if allocated:
        order = planned.order()
        lab.made.allocations.allocate(order.grants, order.project_id, order.user_id)
    # No host is told, the claim counts nothing, and nobody else prepares the same.
    agent.look()
    assert len(agent.vgpus) == 2
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 2)
    assert lab.made.resizing.reserve([lab.choice(claim, *free)]).lost
    lab.reconcile()
    assert len(lab.vgpus()) == 4  # Perhaps somebody is still at it.
    lab.abandon(claim.id)
    lab.reconcile()
    assert len(lab.vgpus()) == 2
    serve(lab, agent)
    assert counts(lab, claim)[1] == 4
    lab.check_books([agent])


def test_one_that_was_taken_for_dead_finds_that_its_rows_are_gone(lab):
    agent = lab.agent(devices=4)
    claim, free = grown_later(lab, agent)
    planned = prepare(lab, claim, free)
    lab.abandon(claim.id)
    lab.reconcile()
    lab.begin(claim.id)
    lab.made.resizing.allocate(planned)
    assert counts(lab, claim)[1] == 2
    assert len(lab.allocated()) == 2
    serve(lab, agent)
    lab.check_books([agent])


@pytest.mark.parametrize("meanwhile", ["released", "queued", "bounded"])
def test_what_happens_to_it_meanwhile_goes_first(lab, meanwhile):
    agent = lab.agent(devices=4)
    claim, free = grown_later(lab, agent)
    planned = prepare(lab, claim, free)
    if meanwhile == "released":
        lab.release(claim)
    elif meanwhile == "queued":
        refusal = refusals.Refusal("lost", False, free[0], tuple(one.id for one in lab.vgpus()[:2]))
        lab.made.transactions.commit(refusals.take_apart, claim.id, agent.host, refusal, 3)
    else:
        lab.conf.set_override("vgpus", 3, group="quota")
        lab.made.limits.__init__(lab.conf)
    assert lab.made.resizing.allocate(planned) == {}
    expected = {"released": "releasing", "queued": "releasing", "bounded": "bound"}[meanwhile]
    assert lab.claim(claim).state == expected
    assert counts(lab, claim)[1] == (3 if meanwhile == "bounded" else 2)
    lab.settle(agent)
    lab.settle(agent)
    lab.check_books([agent])


def test_what_placement_refuses_it_does_not_get(lab):
    """An instance has half of a device that it would grow to: Placement alone knows."""
    agent = lab.agent(devices=4)
    claim, free = grown_later(lab, agent)
    lab.instance_on(free[0], 50)
    serve(lab, agent)
    # The other device is not asked for again at once: it was refused with the first.
    lab.clock.wait(10)
    serve(lab, agent)
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 3)
    assert free[0] not in {vgpu.device_id for vgpu in lab.vgpus()}
    assert all(vgpu.counted for vgpu in lab.vgpus())


def test_while_placement_is_away_it_stays_as_it_is(lab, placement):
    agent = lab.agent(devices=4)
    claim, free = grown_later(lab, agent)
    planned = prepare(lab, claim, free)
    placement.go("500 Internal Server Error")
    assert set(lab.made.resizing.allocate(planned)) == {claim.id}
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 2)
    placement.come_back()
    lab.settle(agent)
    assert counts(lab, claim)[1] == 4
    lab.check_books([agent])


def test_what_its_host_refuses_it_goes_on_without(lab):
    agent = lab.agent(devices=4)
    claim, free = grown_later(lab, agent)
    planned = prepare(lab, claim, free)
    lab.made.resizing.allocate(planned)
    assert counts(lab, claim)[1] == 4
    new = {vgpu.id for each in planned for vgpu in each.vgpus}
    agent.apply(agent.send())
    report = agent.report()
    vgpus = tuple(
        replace(each, error="no device", host_fault=True) if each.id in new else each
        for each in report.vgpus
    )
    agent.send(replace(report, vgpus=vgpus))
    state, count, *_ = counts(lab, claim)
    assert (state, count) == (ClaimState.BOUND, 2)
    said = "it gave 2 of 4 vGPUs back; its host could not provide them"
    assert lab.claim(claim).state_reason == said
    # The host is held back for a while, and asked again then.
    agent.look()
    lab.settle(agent)
    lab.clock.wait(60)
    serve(lab, agent)
    assert counts(lab, claim)[1] == 4
    lab.check_books([agent])


STOPS = "it was refused 3 times and grows no more until it or its host changes"


def refuse_more(lab, agent, claim):
    """Let the hold of the host end and the claim grow; its host refuses what it was to have more."""
    lab.clock.wait(2 * holds.LONGEST.total_seconds())
    had = {vgpu.id for vgpu in lab.vgpus(claim_id=claim.id)}
    agent.send()
    lab.serve()
    agent.apply(agent.send())
    if grown := agent.vgpus.keys() - had:
        report = agent.report()
        agent.send(
            replace(
                report,
                vgpus=tuple(
                    replace(each, error="no device", host_fault=True) if each.id in grown else each
                    for each in report.vgpus
                ),
            )
        )
        agent.look()
        lab.settle(agent)
    return len(grown)


def never_grows(lab, agent, **more):
    """A claim that has two vGPUs and was refused two others until it stopped."""
    claim, _ = grown_later(lab, agent, **more)
    for _ in range(3):
        assert STOPS not in lab.claim(claim).state_reason
        assert refuse_more(lab, agent, claim)
        assert counts(lab, claim)[:2] == (ClaimState.BOUND, 2)
    assert lab.claim(claim).state_reason.endswith(STOPS)
    assert f"host {agent.host}: no device" in lab.claim(claim).state_detail
    return claim


def test_what_its_host_always_refuses_is_asked_for_no_more(lab):
    agent = lab.agent(devices=4)
    claim = never_grows(lab, agent)
    before = lab.host(agent).refusals
    for _ in range(3):
        assert refuse_more(lab, agent, claim) == 0
    assert lab.host(agent).refusals == before
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 2)
    # The host is not held back from others for it.
    other = lab.bound(agent, count=2, **WHOLE)
    assert lab.claim(other).state == ClaimState.BOUND
    lab.check_books([agent])


def test_a_conductor_that_takes_over_asks_no_more_either(lab):
    agent = lab.agent(devices=4)
    claim = never_grows(lab, agent)
    other = lab.another()
    lab.clock.wait(2 * holds.LONGEST.total_seconds())
    agent.look()
    for _ in range(3):
        other.serve()
        agent.look()
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 2)


def rename(lab, agent, claim):
    lab.client.update_claim(lab.ctxt, claim.id, ClaimChange(name="another"))


def enable_host(lab, agent, claim):
    lab.client.set_host_enabled(lab.ctxt, lab.host(agent).id, True, "")


def enable_device(lab, agent, claim):
    lab.client.set_device_enabled(lab.ctxt, lab.devices(agent)[0].id, True, "")


def get_disk(lab, agent, claim):
    agent.unable_reason = "its disk is full"
    agent.send()
    agent.unable_reason = ""
    agent.send()


def upgrade(lab, agent, claim):
    agent.version = "later"
    agent.send()


@pytest.mark.parametrize("change", [rename, enable_host, enable_device, get_disk, upgrade])
def test_it_grows_again_when_it_or_its_host_changes(lab, change):
    agent = lab.agent(devices=4)
    claim = never_grows(lab, agent)
    change(lab, agent, claim)
    found = lab.claim(claim)
    assert (found.attempts, found.refused_by, found.state_reason) == (0, (), "")
    lab.clock.wait(2 * holds.LONGEST.total_seconds())
    agent.look()
    serve(lab, agent)
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 4)
    lab.check_books([agent])


def test_a_change_of_another_host_changes_nothing(lab):
    agent, other = lab.agent(devices=4), lab.agent(devices=1)
    claim = never_grows(lab, agent, host=agent.host)
    for change in (enable_host, enable_device, get_disk, upgrade):
        change(lab, other, claim)
    assert lab.claim(claim).state_reason.endswith(STOPS)


def test_what_it_got_in_the_end_was_not_refused(lab):
    agent = lab.agent(devices=4)
    claim, _ = grown_later(lab, agent)
    assert refuse_more(lab, agent, claim)
    assert refuse_more(lab, agent, claim)
    assert lab.claim(claim).attempts == 2
    lab.clock.wait(2 * holds.LONGEST.total_seconds())
    agent.look()
    serve(lab, agent)
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 4)
    assert (lab.claim(claim).attempts, lab.claim(claim).refused_by) == (0, ())


def test_what_it_was_refused_more_does_not_fail_it(lab):
    """Its host loses one of those it needs: it waits again, as one that was refused nothing."""
    agent = lab.agent(devices=4)
    claim = never_grows(lab, agent)
    refusal = refusals.Refusal("lost", False, "", tuple(one.id for one in lab.vgpus(claim_id=claim.id)))
    lab.made.transactions.commit(refusals.take_apart, claim.id, agent.host, refusal, 3)
    assert lab.claim(claim).release_to == ClaimState.QUEUED


@pytest.mark.parametrize("asked", [OnDeviceLost.REQUEUE, OnDeviceLost.FAIL, OnDeviceLost.WAIT])
def test_a_device_that_is_lost_it_goes_on_without_if_it_can(lab, asked):
    agent = lab.agent(devices=4)
    claim = lab.bound(agent, min_count=3, max_count=4, **WHOLE, on_device_lost=asked)
    for lost, key in enumerate(sorted(agent.devices)[:2], start=1):
        agent.set_health(key, DeviceHealth.FAILED)
        for _ in range(8):
            lab.clock.wait(5)
            agent.send()
            lab.conductor.watch()
        state, count, *_ = counts(lab, claim)
        if asked == OnDeviceLost.WAIT:
            assert (state, count) == (ClaimState.BOUND, 4)
        elif lost == 1:
            assert (state, count) == (ClaimState.BOUND, 3)
            serve(lab, agent)
            assert lab.claim(claim).health == "ok"
        else:
            becomes = "queued" if asked == OnDeviceLost.REQUEUE else "failed"
            assert (state, lab.claim(claim).release_to) == (ClaimState.RELEASING, becomes)


def test_two_conductors_do_not_grow_it_twice(lab):
    agent = lab.agent(devices=4)
    claim, free = grown_later(lab, agent)
    other = lab.another()
    barrier = threading.Barrier(2)

    def grow(one):
        barrier.wait(30)
        made = one.made.resizing.reserve([lab.choice(claim, *free)])
        one.made.resizing.allocate(made.planned)

    threads = [threading.Thread(target=grow, args=(one,)) for one in (lab, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(lab, claim)[1] == 4
    serve(lab, agent)
    lab.check_books([agent])


def test_it_is_released_in_the_middle_of_shrinking(lab):
    agent = lab.agent(devices=4)
    claim = lab.bound(agent, **RANGE)
    lab.create(count=1, **WHOLE)
    lab.serve()
    assert counts(lab, claim)[1] == 3
    lab.release(claim)
    lab.settle(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED
    lab.check_books([agent])


def test_the_reconciler_leaves_it_as_it_is(lab):
    agent = lab.agent(devices=5)
    claim = lab.bound(agent, **RANGE)
    lab.create(count=1, **WHOLE)
    lab.serve()
    before = lab.claim(claim)
    lab.reconcile()
    assert lab.claim(claim) == before
    serve(lab, agent)
    lab.reconcile()
    assert counts(lab, claim)[:2] == (ClaimState.BOUND, 4)
    lab.check_books([agent])


def profile(lab, **wanted):
    made = Profile(
        id=str(uuid.uuid4()), name="train", tier=Tier.POOL, priority=50, **{**WHOLE, **wanted}
    )
    return lab.client.create_profile(lab.ctxt, made)


def test_a_profile_says_between_what_and_what(lab):
    made = profile(lab, min_count=2, max_count=8)
    assert (made.count, made.min_count, made.max_count) == (2, 2, 8)
    claim = lab.create(profile="train")
    assert (claim.count, claim.min_count, claim.max_count) == (2, 2, 8)
    fixed = lab.create(profile="train", count=3)
    assert (fixed.count, fixed.min_count, fixed.max_count) == (3, None, None)
    wider = lab.create(profile="train", max_count=16)
    assert (wider.count, wider.min_count, wider.max_count) == (2, 2, 16)


def test_a_range_of_one_number_is_that_number(lab):
    claim = lab.create(min_count=3, max_count=3, **WHOLE)
    assert (claim.count, claim.min_count, claim.max_count) == (3, None, None)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"min_count": 2}, "max_count missing; min_count and max_count go together"),
        ({"max_count": 2}, "min_count missing; min_count and max_count go together"),
        ({"min_count": 3, "max_count": 2}, "max_count is 2; allowed: 3 (min_count) to 1024"),
        ({"min_count": 0, "max_count": 2}, "min_count is 0; allowed: 1 to 1024"),
        ({"min_count": 2, "max_count": 1025}, "max_count is 1025; allowed: 2 (min_count) to 1024"),
        ({"min_count": 2, "max_count": 4, "count": 3}, "count is given beside min_count and max_count"),
    ],
)
def test_a_range_that_means_nothing_is_refused(lab, wanted, said):
    with pytest.raises(errors.Invalid, match=re.escape(said)):
        lab.create(**wanted, **WHOLE)
    if "count" not in wanted:
        with pytest.raises(errors.Invalid, match=re.escape(said)):
            profile(lab, **wanted)
