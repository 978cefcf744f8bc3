"""Which running claims make room."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.claims import Running
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.planning import place
from gpupool.allocator.policies import BestFit
from gpupool.allocator.preemption import Preemption, cheapest_cover
from gpupool.allocator.scheduling import Preempt, QueueRules, Scheduler, Start
from gpupool.model.claim import Qos
from tests.unit.allocator.queues import (
    FEW,
    Clock,
    Job,
    demand,
    demands,
    pool,
    pools,
    running,
    streams,
    waiting,
)
from tests.unit.allocator.rooms import copied

NOW, MIN_RUN_TIME = 1000.0, 100.0
BEST = BestFit()
# Not every crowd leaves something to decide.
MORE = settings(FEW, max_examples=150)


def preemption(view, claims, shares=None) -> Preemption:
    occupancy = Occupancy()
    for claim in claims:
        occupancy.put(claim)
    occupancy.bind(view)
    return Preemption(
        occupancy,
        shares or FairShare(1000.0),
        BEST,
        projects={claim.project_id for claim in claims} | {"project"},
        min_run_time=MIN_RUN_TIME,
        now=NOW,
    )


def victims(view, claims, claim, shares=None) -> tuple[str, ...]:
    found = preemption(view, claims, shares).victims(claim)
    return () if found is None else found.claim_ids


@pytest.mark.parametrize(("least", "gone"), [(None, ("old",)), (2000.0, ("new",)), (0.0, ("old",))])
def test_a_project_may_have_another_minimum_run_time(least, gone):
    """The claim of the lower priority makes room, unless it ran too short."""
    view = pool(devices=2)
    claims = [
        running(view, "old", ["host-0/0"], preemptible=True, priority=10, project_id="a"),
        running(view, "new", ["host-0/1"], preemptible=True, priority=20, project_id="b"),
    ]
    occupancy = Occupancy()
    for claim in claims:
        occupancy.put(claim)
    occupancy.bind(view)
    found = Preemption(
        occupancy,
        FairShare(1000.0),
        BEST,
        projects={"a", "b"},
        min_run_time=MIN_RUN_TIME,
        now=NOW,
        min_run_times={} if least is None else {"a": least, "nobody": 5000.0},
    ).victims(waiting("urgent"))
    assert found is not None
    assert found.claim_ids == gone


@st.composite
def crowds(draw):
    """A pool and claims on it, of which up to seven may be taken apart."""
    view, claims = pool(draw(st.integers(1, 2)), draw(st.integers(1, 2)), remote=True), []
    for number in range(draw(st.integers(3, 7))):
        wanted = draw(demands())
        planned = place(view, wanted, BEST)
        if planned is None:
            continue
        view.take(wanted, planned)
        claims.append(
            Running(
                claim_id=f"claim-{number}",
                project_id="project",
                demand=wanted,
                plan=planned,
                priority=draw(st.sampled_from((10, 10, 20, 20, 50))),
                bound_at=NOW - draw(st.sampled_from((50, 100, 120, 200, 300, 900))),
                ends_at=None,
                preemptible=draw(st.sampled_from((True, True, True, False))),
            )
        )
    return view, claims


def legal(claim) -> bool:
    return claim.preemptible and claim.priority < 50 and NOW - claim.bound_at >= MIN_RUN_TIME


def fits(view, wanted, gone) -> bool:
    later = copied(view)
    for claim in gone:
        later.give(claim.demand, claim.plan)
    return place(later, wanted, BEST) is not None


def cost(claims):
    lost = sum(claim.rate * (NOW - claim.bound_at) for claim in claims)
    return max(claim.priority for claim in claims), lost, len(claims)


@MORE
@given(crowds(), demands())
def test_victims_are_legal_and_none_is_superfluous(crowd, wanted):
    view, claims = crowd
    by_id = {claim.claim_id: claim for claim in claims}
    may = [claim for claim in claims if legal(claim)]
    found = preemption(view, claims).victims(waiting("next", demand=wanted))
    if found is None:
        assert fits(view, wanted, []) or not fits(view, wanted, may)
        return
    chosen = [by_id[claim_id] for claim_id in found.claim_ids]
    assert chosen
    assert all(claim in may for claim in chosen)
    assert fits(view, wanted, chosen)
    assert not any(fits(view, wanted, [each for each in chosen if each is not one]) for one in chosen)
    for claim in chosen:
        view.give(claim.demand, claim.plan)
    view.take(wanted, found.plan)
    assert (view.compute.guaranteed <= view.compute.total).all()
    assert (view.compute.granted <= view.compute.limit).all()


@MORE
@given(crowds(), st.sampled_from((100, 100, 70, 50)), st.sampled_from(tuple(Qos)))
def test_no_set_is_cheaper_for_one_vgpu(crowd, compute, qos):
    view, claims = crowd
    claims = [replace(each, demand=replace(each.demand, cpu_milli=0)) for each in claims]
    wanted = demand(compute, qos=qos)
    found = victims(view, claims, waiting("next", demand=wanted))
    if not found:
        return
    may = [claim for claim in claims if legal(claim)]
    sets = (each for size in range(1, len(may) + 1) for each in combinations(may, size))
    best = min(cost(each) for each in sets if fits(view, wanted, each))
    assert cost([claim for claim in claims if claim.claim_id in found]) == best


covers = st.integers(1, 3).flatmap(
    lambda rows: st.tuples(
        st.lists(st.integers(1, 100), min_size=rows, max_size=rows),
        st.lists(
            st.tuples(
                st.lists(st.integers(0, 60), min_size=rows, max_size=rows),
                st.integers(0, 9).map(lambda lost: (float(lost), 1)),
            ),
            max_size=8,
        ),
    )
)


@given(covers)
def test_covers_are_the_cheapest(drawn):
    short, sets = drawn
    gains, costs = [gain for gain, _ in sets], [each for _, each in sets]

    def suffices(numbers):
        return all(
            sum(gains[number][row] for number in numbers) >= wanted for row, wanted in enumerate(short)
        )

    def price(numbers):
        return sum(costs[number][0] for number in numbers), len(numbers)

    found = cheapest_cover(short, gains, costs)
    everything = range(len(gains))
    if not suffices(everything):
        assert found == list(everything)
        return
    subsets = (each for size in range(len(gains) + 1) for each in combinations(everything, size))
    assert suffices(found)
    assert price(found) == min(price(each) for each in subsets if suffices(each))


def test_a_cover_of_very_many_is_found_in_time():
    gains, costs = [[1 + number % 7] for number in range(300)], [(float(n % 5), 1) for n in range(300)]
    found = cheapest_cover([400], gains, costs)
    total = sum(gains[number][0] for number in found)
    assert total >= 400
    assert all(total - gains[number][0] < 400 for number in found)


def test_the_lowest_priority_goes_first_then_the_least_work_lost():
    view = pool(devices=3)
    claims = [
        running(view, "old", ["host-0/0"], priority=10, bound_at=0.0, preemptible=True),
        running(view, "young", ["host-0/1"], priority=10, bound_at=500.0, preemptible=True),
        running(view, "dear", ["host-0/2"], priority=20, bound_at=890.0, preemptible=True),
    ]
    assert victims(view, claims, waiting("next")) == ("young",)
    assert victims(view, claims, waiting("next", demand=demand(count=2))) == ("old", "young")
    assert victims(view, claims, waiting("next", demand=demand(count=3))) == ("dear", "old", "young")
    assert victims(view, claims, waiting("next", priority=10)) == ()
    assert victims(view, claims, waiting("next", priority=20, demand=demand(count=3))) == ()


def test_a_dearer_claim_may_be_cheaper_than_many_cheap_ones():
    view, claims = pool(devices=60), []
    for slot in range(59):
        # All ten shares of the first device may go, one of each other one.
        for number in range(10):
            preemptible = slot == 0 or number == 0
            name = f"share-{slot:02}-{number}"
            claims.append(
                running(
                    view,
                    name,
                    [f"host-0/{slot}"],
                    demand=demand(10),
                    priority=10,
                    bound_at=NOW - 300,
                    preemptible=preemptible,
                )
            )
    dear = {"priority": 10, "bound_at": NOW - 150, "preemptible": True}
    claims.append(running(view, "whole", ["host-0/59"], **dear))
    assert victims(view, claims, waiting("next")) == ("whole",)


def test_gangs_are_taken_whole_and_cost_all_they_have():
    view = pool(devices=4)
    claims = [
        running(view, "gang", [f"host-0/{slot}" for slot in range(3)], priority=10, preemptible=True),
        running(view, "single", ["host-0/3"], priority=10, preemptible=True),
    ]
    assert victims(view, claims, waiting("next")) == ("single",)
    assert victims(view, claims, waiting("next", demand=demand(count=2))) == ("gang",)


@pytest.mark.parametrize(
    "change", [{"preemptible": False}, {"bound_at": NOW - 99}, {"leaving": True}, {"priority": 50}]
)
def test_who_is_left_alone(change):
    view = pool()
    claim = running(view, "a", ["host-0/0"], **{"priority": 10, "preemptible": True, **change})
    assert victims(view, [claim], waiting("next")) == ()


def test_cpu_is_made_room_for_too():
    view = pool(devices=2)
    program = demand(10, cpu_milli=32_000)
    claim = running(view, "a", ["host-0/0"], priority=10, preemptible=True, demand=program)
    assert victims(view, [claim], waiting("next", demand=demand(cpu_milli=1000))) == ("a",)
    alone = demand(count=0, compute=0, memory_mib=0, cpu_milli=1000)
    assert victims(view, [claim], waiting("next", demand=alone)) == ("a",)


def test_a_host_that_refused_is_only_the_last_resort():
    view = pool(hosts=2)
    claims = [
        running(view, "near", ["host-0/0"], priority=10, bound_at=890.0, preemptible=True),
        running(view, "far", ["host-1/0"], priority=10, bound_at=0.0, preemptible=True),
    ]
    refused = waiting("next", refused_by=frozenset({"host-0"}))
    assert victims(view, claims, waiting("next")) == ("near",)
    assert victims(view, claims[:1], refused) == ("near",)


# Borrowing and giving back.


def borrowed(view, count):
    """``count`` claims of one project, the youngest last."""
    return [
        running(
            view, f"a{slot}", [f"host-0/{slot}"], project_id="a", preemptible=True, bound_at=100.0 * slot
        )
        for slot in range(count)
    ]


def test_what_was_borrowed_is_given_back():
    view = pool(devices=4)
    claims = borrowed(view, 4)
    claim = waiting("next", project_id="project")
    # Two of four devices are each one's part: the cheapest goes, and not more than was borrowed.
    assert victims(view, claims, claim) == ("a3",)
    assert victims(view, claims, replace(claim, demand=demand(count=2))) == ("a2", "a3")
    assert victims(view, claims, replace(claim, demand=demand(count=3))) == ()
    assert victims(view, claims, replace(claim, priority=49)) == ()


def test_within_its_part_a_project_keeps_what_it_has():
    view = pool(devices=4)
    claims = borrowed(view, 2)
    claims += [running(view, "own", ["host-0/2", "host-0/3"], project_id="project")]
    assert victims(view, claims, waiting("next")) == ()


def test_weights_say_what_each_part_is():
    view = pool(devices=4)
    claims = borrowed(view, 4)
    shares = FairShare(1000.0, {"a": 3.0})
    assert victims(view, claims, waiting("next"), shares) == ("a3",)
    assert victims(view, claims, waiting("next", demand=demand(count=2)), shares) == ()


def test_idle_room_is_borrowed_and_given_back_in_time():
    clock = Clock(pool(devices=4), QueueRules(min_run_time=10.0))
    clock.add(Job(waiting(f"a{n}", project_id="a", preemptible=True), 1000.0) for n in range(4))
    clock.add(Job(waiting(f"b{n}", 5.0, project_id="b"), 1000.0) for n in range(3))
    clock.step()
    assert sorted(clock.started) == ["a0", "a1", "a2", "a3"]
    assert clock.step() == []
    clock.now = 10.0
    decided = clock.decide()
    assert decided == [
        Preempt(claim_id="b0", victims=("a0",)),
        Preempt(claim_id="b1", victims=("a1",)),
    ]
    # The places are kept, the third is beyond its project's part, and nobody is hit twice.
    assert [each.paid for each in clock.scheduler.reservations.values()][:2] == [True, True]
    clock.now = 11.0
    assert clock.decide() == []
    clock.end("a0")
    clock.scheduler.wait(clock.jobs["a0"].claim)
    assert [each.claim_id for each in clock.decide()] == ["b0"]
    clock.end("a1")
    assert [each.claim_id for each in clock.decide()] == ["b1"]
    assert clock.decide() == []


# In the queue.


def test_a_preempted_claim_does_not_get_its_place_back_at_once():
    view = pool()
    scheduler, shares = Scheduler(QueueRules(min_run_time=0.0)), FairShare(1000.0)
    victim = waiting("low", 0.0, priority=10, preemptible=True)
    scheduler.wait(victim)
    (start,) = scheduler.decide(view, shares, BEST, 0.0)
    scheduler.wait(waiting("high", 1.0, priority=90))
    assert scheduler.decide(view, shares, BEST, 1.0) == [Preempt(claim_id="high", victims=("low",))]
    assert scheduler.occupancy.get("low").leaving
    (wait,) = scheduler.waits(shares, 1.0)
    assert (wait.claim_id, wait.starts_at) == ("high", 1.0)
    view.give(victim.demand, start.plan)
    scheduler.wait(victim)
    assert scheduler.decide(view, shares, BEST, 2.0) == [Start(claim_id="high", plan=start.plan)]
    assert scheduler.decide(view, shares, BEST, 3.0) == []


def test_others_are_not_let_into_room_that_was_made():
    view = pool(devices=2)
    scheduler, shares = Scheduler(QueueRules(min_run_time=0.0, reservations=0)), FairShare(1000.0)
    low = [
        running(view, f"low{slot}", [f"host-0/{slot}"], priority=10, preemptible=True) for slot in (0, 1)
    ]
    scheduler.sync([waiting("high", demand=demand(count=2))], low)
    assert scheduler.decide(view, shares, BEST, 1.0) == [
        Preempt(claim_id="high", victims=("low0", "low1"))
    ]
    scheduler.wait(waiting("small", 0.5, priority=40, time_limit=1.0))
    scheduler.forget("low0")
    view.give(low[0].demand, low[0].plan)
    assert scheduler.decide(view, shares, BEST, 2.0) == []
    scheduler.wait(waiting("higher", 3.0, priority=60))
    (start,) = scheduler.decide(view, shares, BEST, 3.0)
    assert start.claim_id == "higher"
    # Its place was taken by who may: it is not made room for before that ends, since nobody may be.
    scheduler.forget("low1")
    view.give(low[1].demand, low[1].plan)
    assert scheduler.decide(view, shares, BEST, 4.0) == [Start(claim_id="small", plan=low[1].plan)]


def test_room_that_was_made_is_for_whom_it_was_made():
    """Others of the same host have room reserved too, which counts once however passes go."""
    view, shares = pool(hosts=2, devices=3), FairShare(1000.0)
    scheduler = Scheduler(QueueRules(min_run_time=0.0))
    low = running(view, "low", ["host-0/2"], priority=10, preemptible=True)
    tiny = running(view, "tiny", ["host-1/0"], demand=demand(10))
    others = [
        running(view, "long", ["host-0/0", "host-0/1"], ends_at=1000.0),
        running(view, "most", ["host-1/0"], demand=demand(90)),
        *(running(view, f"whole{slot}", [f"host-1/{slot}"]) for slot in (1, 2)),
    ]
    gang = waiting("gang", 1.0, demand=demand(count=2, cpu_milli=20_000))
    scheduler.sync([gang, waiting("next", 2.0, demand=demand(cpu_milli=10_000))], [low, tiny, *others])
    assert scheduler.decide(view, shares, BEST, 10.0) == [Preempt(claim_id="next", victims=("low",))]
    # Something ends that has nothing to do with it; all are looked at again.
    scheduler.forget("tiny")
    view.give(tiny.demand, tiny.plan)
    assert scheduler.decide(view, shares, BEST, 11.0) == []
    assert scheduler.reservations["next"].paid
    scheduler.forget("low")
    view.give(low.demand, low.plan)
    shares.charge("project", 100.0, 0.0, 12.0)
    scheduler.wait(waiting("late", 3.0, project_id="other"))
    assert [each.claim_id for each in scheduler.decide(view, shares, BEST, 12.0)] == ["next"]


def test_who_was_passed_takes_no_room_that_was_made_for_another():
    view, shares = pool(devices=3), FairShare(1000.0)
    scheduler = Scheduler(QueueRules(min_run_time=5.0))
    runs = [
        running(view, "low", ["host-0/0"], priority=10, preemptible=True),
        *(
            running(
                view,
                f"young{slot}",
                [f"host-0/{slot}"],
                priority=20,
                preemptible=True,
                bound_at=9.0,
                ends_at=100.0 * slot,
            )
            for slot in (1, 2)
        ),
    ]
    scheduler.sync([waiting("gang", 1.0, demand=demand(count=2)), waiting("next", 2.0)], runs)
    assert scheduler.decide(view, shares, BEST, 10.0) == [Preempt(claim_id="next", victims=("low",))]
    # More may be taken apart now. The first has its own place made, and leaves the other's alone.
    assert scheduler.decide(view, shares, BEST, 20.0) == [
        Preempt(claim_id="gang", victims=("young1", "young2"))
    ]
    kept = scheduler.reservations
    assert [(claim_id, kept[claim_id].paid) for claim_id in kept] == [("gang", True), ("next", True)]


@FEW
@given(pools(), streams(priorities=(10, 50, 90)), st.data())
def test_preemption_in_the_queue_keeps_to_its_rules(view, jobs, data):
    jobs = [Job(replace(job.claim, preemptible=data.draw(st.booleans())), job.runs) for job in jobs]
    clock = Clock(view, QueueRules(min_run_time=3.0))
    clock.add(jobs)
    while clock.events:
        decided = clock.step()
        # Victims leave at once and wait again.
        while any(isinstance(each, Preempt) for each in decided):
            for each in decided:
                for claim_id in each.victims if isinstance(each, Preempt) else ():
                    victim = clock.scheduler.occupancy.get(claim_id)
                    assert victim.preemptible
                    assert victim.leaving
                    assert clock.now - clock.started[claim_id] >= 3.0
                    assert victim.priority <= clock.jobs[each.claim_id].claim.priority
                    clock.events = [event for event in clock.events if event[2] != claim_id]
                    clock.end(claim_id)
                    clock.scheduler.wait(clock.jobs[claim_id].claim)
            decided = clock.decide()
        clock.events.sort()
