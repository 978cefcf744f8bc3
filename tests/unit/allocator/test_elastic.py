"""Elastic claims start with what there is, grow into what nobody waits for, and shrink first."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.scheduling import Grow, Preempt, QueueRules, Start
from gpupool.model.claim import Layout
from tests.unit.allocator.queues import FEW, Clock, Job, demand, pool, pools, running, streams, waiting

NEVER = float("inf")
AT_ONCE = QueueRules(min_run_time=0.0)


def job(claim_id, at=0.0, least=2, most=None, runs=NEVER, compute=100, **changes):
    """An elastic claim for ``least`` to ``most``, or a fixed one for ``least``."""
    wanted = {name: changes.pop(name) for name in list(changes) if name in DEMANDS}
    claim = waiting(
        claim_id, at, demand=demand(compute=compute, count=least, **wanted), max_count=most, **changes
    )
    return Job(claim, runs)


DEMANDS = ("host", "devices", "linked", "same_type", "layout", "cpu_milli")


def clock(view, *jobs, rules=AT_ONCE, **weights):
    made = Clock(view, rules, FairShare(1000.0, weights or None))
    made.add(jobs)
    return made


def count(clock, claim_id):
    """Return how many vGPUs a claim has, without those that leave."""
    claim = clock.scheduler.occupancy.get(claim_id)
    if claim is None:
        return 0
    more = clock.scheduler.elastic.beyond(claim_id)
    return claim.demand.count + sum(not each.leaving for each in more)


def devices(clock, claim_id):
    claim = clock.scheduler.occupancy.get(claim_id)
    more = clock.scheduler.elastic.beyond(claim_id)
    return sorted(device for each in (claim, *more) for device in each.plan.device_ids)


def settle(clock):
    """Go on to the next moment and have all who make room be gone, until nobody has to any more."""
    decided = clock.step()
    for _ in range(20):
        gone = [name for each in decided if isinstance(each, Preempt) for name in each.victims]
        if not gone:
            return
        clock.shrink(gone)
        for name in gone:
            if name in clock.jobs:
                clock.end(name)
        decided = clock.decide()
    raise AssertionError("they go on making room")


def test_it_starts_with_what_there_is():
    view = pool(devices=5)
    one = clock(view, job("fixed", runs=10), job("elastic", at=1, most=8))
    one.run(0.5)
    decided = one.step()
    (start,) = decided
    assert isinstance(start, Start)
    assert (len(start.plan.device_ids), start.min_count) == (3, 2)
    # The rest of the host when that is free.
    (grown,) = one.step()
    assert isinstance(grown, Grow)
    assert (grown.claim_id, len(grown.plan.device_ids), count(one, "elastic")) == ("elastic", 2, 5)
    assert one.decide() == []


def test_it_does_not_start_with_less_than_its_minimum():
    view = pool(devices=3)
    one = clock(view, job("fixed"), job("elastic", at=1, most=8))
    one.run(1)
    assert count(one, "elastic") == 0


def test_it_never_has_more_than_its_most():
    one = clock(pool(devices=8), job("elastic", most=3))
    one.run(0)
    assert count(one, "elastic") == 3
    assert one.decide() == []


def test_it_starts_where_it_can_grow_most():
    view = pool(hosts=2, devices=4)
    held = [running(view, "a", ["host-0/0", "host-0/1"]), running(view, "b", ["host-1/0"])]
    one = clock(view, job("elastic", most=8))
    for claim in held:
        one.has(claim)
    one.run(0)
    assert devices(one, "elastic") == ["host-1/1", "host-1/2", "host-1/3"]


def test_its_program_takes_cpu_once():
    view = pool(devices=4)
    one = clock(view, job("elastic", most=4, cpu_milli=20_000))
    one.run(0)
    assert (count(one, "elastic"), int(view.cpu_free[0])) == (4, 12_000)


def test_what_is_kept_for_another_it_does_not_take():
    """Eight devices of which four are free; who waits for six gets them before the elastic one grows."""
    view = pool(devices=8)
    one = clock(
        view,
        job("short", least=2, runs=10, time_limit=10.0),
        job("elastic", least=2, most=8, devices=("host-0/2", "host-0/3")),
        job("large", at=1, least=6),
    )
    one.run(0)
    two = count(one, "elastic")
    one.run(10)
    assert two == 2
    assert count(one, "large") == 6
    assert count(one, "elastic") == 2


def test_without_backfill_nothing_grows_while_somebody_waits():
    one = clock(pool(devices=3), rules=replace(AT_ONCE, backfill=False))
    one.add([job("elastic", least=1, most=3), job("large", at=1, least=4, priority=10)])
    one.run(0)
    one.scheduler.wait(job("possible", at=1, least=3, priority=10).claim)
    one.shrink([each.claim_id for each in one.scheduler.elastic.beyond("elastic")])
    assert one.decide() == []
    one.scheduler.forget("possible")
    (grown,) = one.decide()
    assert len(grown.plan.device_ids) == 2


@pytest.mark.parametrize("project", ["project", "another"])
def test_what_it_has_beyond_its_minimum_gives_way_to_one_that_waits(project):
    """Of its own priority, too, whoever it is of; and no more than that one needs."""
    one = clock(pool(devices=6), job("elastic", least=2, most=6))
    one.run(0)
    one.add([job("next", at=1, least=3, project_id=project)])
    (preempt,) = one.step()
    assert isinstance(preempt, Preempt)
    assert len(preempt.victims) == 3
    assert count(one, "elastic") == 3
    one.shrink(preempt.victims)
    one.decide()
    assert (count(one, "next"), count(one, "elastic")) == (3, 3)


def test_its_minimum_stays_unless_it_is_preemptible():
    for preemptible in (False, True):
        first = job("elastic", least=2, most=4, preemptible=preemptible, priority=10)
        one = clock(pool(devices=4), first)
        one.run(0)
        one.add([job("urgent", at=1, least=3, priority=90)])
        settle(one)
        assert count(one, "urgent") == (3 if preemptible else 0)
        # Nothing is taken for one that can't start with it.
        assert count(one, "elastic") == (0 if preemptible else 4)


def test_it_shrinks_in_place_of_being_preempted():
    """The minimum of one that is preemptible stays where what it has beyond that is enough."""
    one = clock(pool(devices=4), job("elastic", least=2, most=4, preemptible=True, priority=10))
    one.run(0)
    one.add([job("urgent", at=1, least=2, priority=90)])
    settle(one)
    assert (count(one, "elastic"), count(one, "urgent")) == (2, 2)


def test_one_of_lower_priority_takes_nothing():
    one = clock(pool(devices=4), job("elastic", least=2, most=4, priority=50))
    one.run(0)
    one.add([job("modest", at=1, least=1, priority=40)])
    assert one.step() == []
    assert count(one, "elastic") == 4


def test_what_it_got_it_has_for_the_minimum_run_time():
    one = clock(pool(devices=4), job("elastic", least=2, most=4), rules=QueueRules(min_run_time=100.0))
    one.run(0)
    one.add([job("next", at=50, least=1), job("more", at=99, least=1), job("last", at=100, least=1)])
    assert one.step() == []
    assert one.step() == []
    settle(one)
    assert sorted(each for each in ("next", "more", "last") if count(one, each)) == ["more", "next"]


def test_what_a_session_uses_is_taken_last():
    one = clock(pool(devices=4), job("elastic", least=1, most=4))
    one.run(0)
    used, *idle = one.scheduler.elastic.beyond("elastic")
    one.scheduler.run(one.scheduler.occupancy.get("elastic"), [replace(used, loses=None), *idle])
    one.add([job("next", at=1, least=2)])
    (preempt,) = one.step()
    assert sorted(preempt.victims) == sorted(each.claim_id for each in idle)


def test_it_does_not_grow_while_something_of_it_leaves():
    one = clock(pool(hosts=1, devices=4), job("elastic", least=1, most=4))
    one.run(0)
    one.add([job("next", at=1, least=1, devices=("host-0/0",)), job("short", at=1, least=1)])
    one.step()
    leaving = count(one, "elastic")
    assert [each for each in one.decide() if isinstance(each, Grow)] == []
    assert count(one, "elastic") == leaving


def test_devices_of_its_own_then_shared_ones():
    one = clock(pool(devices=2), job("elastic", least=1, most=4, compute=40))
    one.run(0)
    assert devices(one, "elastic") == ["host-0/0", "host-0/0", "host-0/1", "host-0/1"]
    packed = clock(pool(devices=2), job("elastic", least=1, most=2, compute=40, layout=Layout.PACK))
    packed.run(0)
    assert len(set(devices(packed, "elastic"))) == 1


@pytest.mark.parametrize(
    ("wish", "of"), [("same_type", {"product": "other"}), ("linked", {"link_group": "right"})]
)
def test_what_is_asked_of_all_its_devices_is_asked_of_more(wish, of):
    view = pool(devices=4, product="one", link_group="left")
    (room,) = view.capacities()
    odd = tuple(replace(each, **of) if number == 3 else each for number, each in enumerate(room.devices))
    view.put(replace(room, devices=odd))
    one = clock(view, job("elastic", least=2, most=4, **{wish: True}))
    one.run(0)
    assert devices(one, "elastic") == ["host-0/0", "host-0/1", "host-0/2"]


def test_the_project_that_has_had_least_grows_first():
    one = clock(
        pool(hosts=1, devices=8),
        job("a", least=1, most=8, project_id="a"),
        job("b", least=1, most=8, project_id="b"),
        a=3.0,
        b=1.0,
    )
    one.run(0)
    assert (count(one, "a"), count(one, "b")) == (6, 2)


def test_one_that_is_to_be_taken_apart_does_not_grow():
    view = pool(devices=3)
    held = running(view, "holder", ["host-0/0"], ends_at=5.0)
    one = clock(view, job("elastic", least=2, most=3, preemptible=True, priority=10))
    one.has(held)
    one.run(0)
    one.add([job("urgent", at=5, least=3, priority=90)])
    decided = one.step()
    assert [type(each) for each in decided] == [Preempt]
    assert one.scheduler.elastic.may_grow() is False


def at_low(claim_id, at=0.0, least=1, most=None, **changes):
    """A claim of a priority that others preempt."""
    return job(claim_id, at, least, most, **{"priority": 10, **changes})


@pytest.mark.parametrize(
    ("view", "jobs"),
    [
        pytest.param(
            pool(devices=1),
            [
                at_low("elastic", most=2, compute=30, preemptible=True),
                job("pair", at=1, compute=30),
                job("first", at=2, least=1, compute=20),
                job("second", at=2, least=1, compute=20),
            ],
            id="a claim takes apart what ends for another too",
        ),
        pytest.param(
            pool(hosts=3, remote=True),
            [
                at_low("elastic", at=1, most=8, runs=3),
                job("urgent", at=2, least=1, runs=1, time_limit=1.0),
                job("wide", at=2, least=3, runs=1),
                at_low("short", at=2, runs=1, time_limit=1.0),
                at_low("next", at=3, runs=1),
            ],
            id="one that starts has the place of another's reservation",
        ),
        pytest.param(
            pool(devices=2),
            [
                at_low("large", at=-5, least=2, runs=3, preemptible=True, project_id="other"),
                at_low("slice", at=-4, compute=30),
                at_low("half", at=-4, compute=50, runs=1, time_limit=1.0),
                job("parts", at=-3, least=3, compute=20, runs=1, time_limit=1.0),
                job("whole", at=-3, least=1, runs=1),
                job("other half", at=-2, least=1, compute=50, runs=1),
            ],
            id="a reservation that has lost its place is in the way",
        ),
        pytest.param(
            pool(hosts=3, devices=3),
            [
                at_low("left", at=-8, most=2, runs=20),
                at_low("middle", at=3, least=2, most=3, runs=8),
                at_low("right", at=5, least=2, most=8, runs=7),
                at_low("slices", at=8, most=8, compute=20, runs=4),
                at_low("slice", at=9, compute=30, runs=1),
                at_low("halves", at=10, least=3, compute=50, runs=1),
            ],
            id="a claim starts on part of the devices that were kept for it",
        ),
    ],
)
def test_a_second_look_at_the_same_moment_starts_nobody(view, jobs):
    one = clock(view, *jobs)
    while one.events:
        one.step()
        assert not [each for each in one.decide() if isinstance(each, Start)]


@st.composite
def elastic_streams(draw):
    """Jobs of which some may have more than they need."""
    return [
        Job(
            replace(
                each.claim,
                max_count=draw(st.sampled_from((None, each.claim.demand.count + 1, 8))),
                preemptible=draw(st.booleans()),
            ),
            each.runs,
        )
        for each in draw(streams(limits=draw(st.booleans()), priorities=(10, 50)))
    ]


@FEW
@given(pools(), elastic_streams(), st.sampled_from((0, 1, 2)), st.booleans())
def test_between_least_and_most_and_all_comes_to_an_end(view, jobs, reservations, backfill):
    """Whatever comes: nobody has less or more than asked, and nothing is left over."""
    one = Clock(view, QueueRules(min_run_time=0.0, reservations=reservations, backfill=backfill))
    one.add(jobs)
    asked = {each.claim.claim_id: each.claim for each in jobs}
    while one.events:
        waits = set(asked) - set(one.started)
        decided = one.step()
        for each in decided:
            if isinstance(each, Start):
                claim = asked[each.claim_id]
                most = claim.max_count or claim.demand.count
                assert claim.demand.count <= len(each.plan.device_ids) <= most
                assert each.claim_id in waits
            elif isinstance(each, Grow):
                assert asked[each.claim_id].max_count is not None
            else:
                one.shrink(each.victims)
                gone = [name for name in each.victims if name in asked]
                for name in gone:
                    one.end(name)
                    one.started.pop(name)
                    one.scheduler.wait(asked[name])
                one.events = [event for event in one.events if event[1] or event[2] not in gone]
        for claim in [each for each in one.scheduler.occupancy if each.claim_id in asked]:
            most = claim.max_count or claim.demand.count
            assert claim.demand.count <= count(one, claim.claim_id) <= most
        if not one.events and len(one.scheduler.line):
            one.decide()
    assert not len(one.scheduler.occupancy)
    assert not view.compute.granted.any()


@FEW
@given(pools(), elastic_streams())
def test_growing_keeps_nobody_from_starting(view, jobs):
    """In any pass as many start as if no claim that runs might grow."""
    one = Clock(view, AT_ONCE)
    one.add(jobs)
    while one.events:
        one.step()
        left = [each for each in one.scheduler.line if each.max_count is None]
        again = one.scheduler.decide(view, one.shares, one.policy, one.now)
        assert not [each for each in again if isinstance(each, Start)]
        for each in again:
            if isinstance(each, Preempt):
                names = set(each.victims)
                assert each.claim_id in {claim.claim_id for claim in one.scheduler.line}
                one.shrink(names - set(one.jobs))
                for name in names & set(one.jobs):
                    one.end(name)
                    one.events = [event for event in one.events if event[1] or event[2] != name]
        assert len(left) <= len(one.jobs)
