"""What starts, what makes room and what waits, pass after pass."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.capacities import HostCapacity
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.policies import BestFit
from gpupool.allocator.scheduling import (
    Preempt,
    QueueRules,
    Running,
    Scheduler,
    Start,
    Wait,
)
from gpupool.allocator.view import PoolView
from tests.unit.allocator.queues import (
    CPU,
    FEW,
    Clock,
    Job,
    demand,
    pool,
    pools,
    running,
    state,
    streams,
    waiting,
)
from tests.unit.allocator.rooms import copied

FIFO = QueueRules(backfill=False, fair=False)
NEVER = float("inf")


def decided(view, claims, runs=(), rules=None, shares=None, now=0.0):
    """What one pass decides of all that waits, and why the rest of it waits on."""
    scheduler, shares = Scheduler(rules or QueueRules()), shares or FairShare(1000.0)
    scheduler.sync(claims, runs)
    return [*scheduler.decide(view, shares, BestFit(), now), *scheduler.waits(shares, now)]


def why(view, claims, runs=(), rules=None) -> dict[str, str]:
    """Why claims wait after one pass, by claim."""
    scheduler, shares = Scheduler(rules or QueueRules()), FairShare(1000.0)
    scheduler.sync(claims, runs)
    scheduler.decide(view, shares, BestFit(), 0.0)
    reasons = scheduler.reasons(view)
    return {wait.claim_id: reasons.of(wait.claim_id).text for wait in scheduler.waits(shares, 0.0)}


def started(decisions) -> list[str]:
    return [each.claim_id for each in decisions if isinstance(each, Start)]


def waits(decisions) -> list[Wait]:
    return [each for each in decisions if isinstance(each, Wait)]


# One pass.


def test_claims_start_in_order_while_there_is_room():
    view = pool(devices=2)
    claims = [waiting("c", 2.0), waiting("b", 1.0), waiting("a", 3.0, priority=51)]
    decisions = decided(view, claims)
    assert started(decisions) == ["a", "b"]
    (wait,) = waits(decisions)
    assert (wait.claim_id, wait.position, wait.starts_at) == ("c", 1, None)
    assert why(pool(devices=2), claims) == {"c": "a whole device wanted; the one with most free has 0 %"}
    assert view.compute.free.tolist() == [[0, 0]]


def test_projects_take_turns_within_a_pass():
    view = pool(devices=6)
    claims = [waiting(f"a{number}", number, project_id="a") for number in range(6)]
    claims += [waiting(f"b{number}", 10 + number, project_id="b") for number in range(6)]
    assert started(decided(view, claims)) == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert started(decided(pool(devices=6), claims, rules=QueueRules(fair=False))) == [
        f"a{number}" for number in range(6)
    ]


def test_weights_make_parts():
    shares = FairShare(1000.0, {"a": 2.0})
    claims = [waiting(f"{name}{number}", project_id=name) for name in "ab" for number in range(9)]
    got = started(decided(pool(devices=6), claims, shares=shares))
    assert sum(name.startswith("a") for name in got) == 4


def test_who_has_used_less_is_next():
    shares = FairShare(1000.0)
    shares.charge({"a": 100}, 0.0, 50.0)
    claims = [waiting("a", 0.0, project_id="a"), waiting("b", 1.0, project_id="b")]
    assert started(decided(pool(), claims, shares=shares, now=50.0)) == ["b"]
    assert started(decided(pool(), claims, shares=FairShare(1000.0), now=50.0)) == ["a"]


def test_first_come_first_served_lets_nobody_pass():
    view = pool(devices=2)
    runs = [running(view, "r", ["host-0/0"], ends_at=10.0)]
    claims = [
        waiting("large", 1.0, demand=demand(count=2)),
        waiting("small", 2.0, demand=demand(10), time_limit=1.0),
    ]
    assert started(decided(view, claims, runs, FIFO)) == []
    assert started(decided(view, claims, runs)) == ["small"]


def test_what_ends_in_time_or_is_beside_may_pass():
    view = pool(devices=3)
    runs = [running(view, "r", ["host-0/0"], ends_at=10.0)]
    claims = [
        waiting("large", 1.0, demand=demand(count=2, devices=("host-0/0", "host-0/1"))),
        waiting("long", 2.0, demand=demand(devices=("host-0/1",)), time_limit=11.0),
        waiting("short", 3.0, demand=demand(devices=("host-0/1",)), time_limit=10.0),
        waiting("beside", 4.0),
    ]
    decisions = decided(view, claims, runs)
    assert started(decisions) == ["short", "beside"]
    assert [(wait.claim_id, wait.position, wait.starts_at) for wait in waits(decisions)] == [
        ("large", 1, 10.0),
        ("long", 2, None),
    ]


def test_a_reason_says_when_room_is_kept_for_others():
    view = pool(devices=2)
    runs = [running(view, "r", ["host-0/0"], ends_at=10.0)]
    claims = [waiting("large", 1.0, demand=demand(count=2)), waiting("next", 2.0)]
    assert why(view, claims, runs)["next"] == "claims before it in the queue go first"


def test_a_reason_says_that_there_is_no_room_of_those_too_that_were_not_visited():
    view = pool(devices=2)
    runs = [running(view, "r", ["host-0/0"], ends_at=10.0)]
    named = waiting("named", 2.0, demand=demand(devices=("host-0/0",)))
    claims = [waiting("large", 1.0, demand=demand(count=2)), named]
    rules = QueueRules(backfill=False)
    assert why(view, claims, runs, rules)["named"].startswith("a whole device wanted")


def test_as_many_reservations_as_the_rules_say():
    def kept(reservations):
        view = pool(devices=4)
        runs = [running(view, f"r{slot}", [f"host-0/{slot}"], ends_at=10.0 + slot) for slot in (0, 1)]
        claims = [
            waiting("first", 1.0, demand=demand(count=3)),
            waiting("second", 2.0, demand=demand(count=4)),
            waiting("third", 3.0),
        ]
        rules = QueueRules(reservations=reservations)
        decisions = decided(view, claims, runs, rules)
        return started(decisions), [wait.starts_at for wait in waits(decisions)]

    assert kept(0) == (["third"], [None, None])
    assert kept(1) == ([], [10.0, None, None])
    # The first may run for ever, so there is nothing to keep for the second, but for the third.
    assert kept(2) == ([], [10.0, 11.0, None])


def test_the_impossible_stands_in_nobodys_way():
    view = pool(devices=2)
    claims = [waiting("huge", 0.0, demand=demand(count=3)), waiting("next", 1.0)]
    for rules in (QueueRules(), FIFO):
        decisions = decided(copied(view), claims, rules=rules)
        assert started(decisions) == ["next"]
        assert waits(decisions)[0].claim_id == "huge"


def test_what_waits_for_a_host_that_is_down_keeps_nothing():
    up, down = pool(hosts=2).capacities()
    view = PoolView([up, replace(down, up=False)])
    claims = [waiting("there", 0.0, demand=demand(host="host-1")), waiting("here", 1.0)]
    decisions = decided(view, claims)
    assert started(decisions) == ["here"]
    assert waits(decisions)[0].starts_at is None
    assert started(decided(PoolView([up, replace(down, up=False)]), claims, rules=FIFO)) == []


def test_hosts_that_refused_are_tried_last():
    claims = [
        waiting("a", 0.0, refused_by=frozenset({"host-0"})),
        waiting("b", 1.0, refused_by=frozenset({"host-0"})),
    ]
    first, second = decided(pool(hosts=2), claims)
    assert first.plan.device_ids == ("host-1/0",)
    assert second.plan.device_ids == ("host-0/0",)


def test_claims_without_devices_take_their_turn():
    program = demand(count=0, compute=0, memory_mib=0, cpu_milli=CPU)
    view = pool()
    claims = [waiting("a", 0.0, demand=program), waiting("b", 1.0, demand=program)]
    decisions = decided(view, claims)
    assert started(decisions) == ["a"]
    said = why(pool(), claims)["b"]
    assert said == "32 cores of one host wanted; the host with most has 0 cores free"


def test_an_empty_pool_keeps_claims_waiting():
    view = PoolView([HostCapacity(name="host-0")])
    assert [type(each) for each in decided(view, [waiting("a")])] == [Wait]
    assert [type(each) for each in decided(PoolView([]), [waiting("a")])] == [Wait]


# Many passes.


@FEW
@given(pools(), streams(), st.sampled_from((QueueRules(), QueueRules(reservations=3), FIFO)))
def test_everything_possible_gets_its_place_and_capacity_holds(view, jobs, rules):
    empty = state(view)
    clock = Clock(view, rules)
    clock.add(jobs)
    clock.run()
    left = {claim.claim_id for claim in clock.scheduler.line}
    assert left | clock.ended.keys() == clock.jobs.keys()
    assert all(wait.claim_id in left for wait in clock.scheduler.waits(clock.shares, clock.now))
    # What is left could not even have all of the empty pool.
    alone = [started(decided(copied(view), [clock.jobs[claim_id].claim])) for claim_id in left]
    assert not any(alone)
    assert state(view) == empty
    assert not clock.scheduler.reservations
    assert not len(clock.scheduler.occupancy)


@settings(FEW, max_examples=100)
@given(streams(least=8), st.integers(1, 3), st.booleans(), st.sampled_from((1, 2)), st.booleans())
def test_back_fill_never_delays_the_first_in_line(jobs, hosts, remote, reservations, fair):
    """The first claim that finds no room starts no later than if nobody were let past it.

    Of several projects that are served in turns another may be next by what was let past it.
    """
    if fair:
        jobs = [Job(replace(job.claim, project_id="project"), job.runs) for job in jobs]
    view = pool(hosts, devices=2, remote=remote)
    alone = Clock(copied(view), QueueRules(backfill=False, fair=fair))
    clock = Clock(view, QueueRules(reservations=reservations, fair=fair))
    for each in (alone, clock):
        each.add(jobs)
    while clock.events and not clock.scheduler.reservations:
        for each in (alone, clock):
            each.step()
    first = next(iter(clock.scheduler.reservations), None)
    for each in (alone, clock):
        each.run()
    assert first is None or clock.started[first] <= alone.started[first]


def crowd(random, size=25):
    """More claims than hypothesis likes to draw, all of which say how long they run."""
    for number in range(size):
        runs = float(random.randint(1, 30))
        wanted = demand(
            random.choice((100, 50, 30, 20)),
            count=random.choice((1, 1, 2, 3)),
            cpu_milli=random.choice((0, 0, 1000, 20_000)),
            same_host=random.random() < 0.2,
        )
        claim = waiting(
            f"claim-{number:02}", float(random.randint(0, 25)), demand=wanted, time_limit=runs
        )
        yield Job(claim, runs)


@pytest.mark.parametrize("seed", range(40))
def test_no_promise_is_broken_whoever_else_was_promised_room(seed):
    random, promised = Random(seed), {}
    view = pool(random.randint(1, 3), random.randint(1, 3), remote=random.random() < 0.5)
    clock = Clock(view, QueueRules(reservations=3))
    clock.add(crowd(random))
    while clock.events:
        clock.step()
        for claim_id, each in clock.scheduler.reservations.items():
            promised[claim_id] = min(each.starts_at, promised.get(claim_id, NEVER))
    late = [claim_id for claim_id, at in promised.items() if clock.started[claim_id] > at]
    assert late == []


@settings(FEW, max_examples=100)
@given(pools(), streams(), st.booleans(), st.sampled_from((1, 2, 3)))
def test_reserved_places_come_true(view, jobs, limits, reservations):
    """A reservation's moment never moves away, and the claim is first until it starts."""
    if not limits:
        jobs = [Job(replace(job.claim, time_limit=None), job.runs) for job in jobs]
    clock = Clock(view, QueueRules(reservations=reservations))
    clock.add(jobs)
    before = {}
    while clock.events:
        clock.step()
        kept = clock.scheduler.reservations
        for claim_id, old in before.items():
            assert claim_id in clock.started or kept[claim_id].starts_at <= old.starts_at
            if claim_id in clock.started:
                assert clock.started[claim_id] <= old.starts_at
            elif old.starts_at == NEVER:
                assert kept[claim_id] == old
        before = dict(kept)


@FEW
@given(pools(), streams(priorities=(10, 50)), st.sampled_from((1, 1, 2, 3)), st.data())
def test_what_a_pass_remembers_changes_no_decision(view, jobs, reservations, data):
    """A scheduler that has seen all passes decides as one that is told only how things are now."""
    jobs = [Job(replace(job.claim, preemptible=data.draw(st.booleans())), job.runs) for job in jobs]
    clock = Clock(view, QueueRules(min_run_time=2.0, reservations=reservations))
    clock.add(jobs)
    while clock.events:
        moment = clock.events[0][0]
        while clock.events and clock.events[0][0] == moment:
            # Arrivals and ends one by one, with a pass after each.
            single = clock.events[0]
            rest, clock.events = clock.events[1:], [single]
            view_before = None
            fresh = Scheduler(clock.rules)
            clock.scheduler.charge(clock.shares, clock.now, moment)
            clock.now = moment
            if single[1]:
                clock.scheduler.wait(clock.jobs[single[2]].claim)
            elif single[2] in clock.scheduler.occupancy:
                clock.end(single[2])
            clock.events = rest
            fresh.sync(clock.scheduler.line, clock.scheduler.occupancy)
            fresh.reservations = dict(clock.scheduler.reservations)
            view_before = copied(view)
            expected = fresh.decide(view_before, clock.shares, clock.policy, clock.now)
            got = clock.decide()
            assert got == expected
            assert state(view) == state(view_before)
            assert clock.scheduler.reservations == fresh.reservations
            for claim_id in [
                victim for each in got if isinstance(each, Preempt) for victim in each.victims
            ]:
                clock.end(claim_id)
                clock.events = sorted(event for event in clock.events if event[2] != claim_id)
                clock.scheduler.wait(clock.jobs[claim_id].claim)


@FEW
@given(pools(), streams(limits=False), st.randoms())
def test_the_order_in_which_claims_are_told_does_not_matter(view, jobs, random):
    claims = [job.claim for job in jobs]
    other = copied(view)
    assert decided(view, claims) == decided(other, random.sample(claims, len(claims)))
    assert state(view) == state(other)


@FEW
@given(pools(), streams(limits=False))
def test_first_come_first_served_starts_in_order_of_arrival(view, jobs):
    clock = Clock(view, FIFO)
    clock.add(jobs)
    clock.run()
    ordered = sorted(
        (clock.jobs[claim_id].claim for claim_id in clock.started),
        key=lambda claim: (claim.created_at, claim.claim_id),
    )
    starts = [clock.started[claim.claim_id] for claim in ordered]
    assert all(first <= second for first, second in pairwise(starts))


def starving(limits: bool, fair: bool, spread: bool) -> tuple[float, float]:
    """When a gang of 16 devices starts under an endless stream of small claims, and the stated bound."""
    view = pool(hosts=4, devices=6, remote=True) if spread else pool(hosts=2, devices=16)
    clock = Clock(view, QueueRules(fair=fair))

    def small(number: int) -> Job:
        # A new one twice a second, more than there is room for; each stays for 20 to 60 seconds.
        runs = 20.0 + number * 7 % 41
        share = demand((25, 50, 100)[number % 3])
        claim = waiting(
            f"small-{number:04}",
            number / 2,
            demand=share,
            # Those who come after the gang have had less of their part than its project.
            project_id=f"project-{number % 5 if number < 310 else number}",
            time_limit=runs if limits else None,
        )
        return Job(claim, runs)

    clock.add(small(number) for number in range(1200))
    gang = waiting("gang", 150.25, demand=demand(count=16), project_id="gangs")
    clock.shares.charge({"gangs": 100}, 0.0, 1.0)
    clock.add([Job(gang, 60.0)])
    bound = NEVER
    while "gang" not in clock.started:
        clock.step()
        kept = clock.scheduler.reservations.get("gang")
        if kept is not None and bound == NEVER:
            ids = set(kept.plan.device_ids)
            there = [each for each in clock.scheduler.occupancy if ids & set(each.plan.device_ids)]
            bound = max(clock.started[each.claim_id] + clock.jobs[each.claim_id].runs for each in there)
    return clock.started["gang"], bound


@pytest.mark.parametrize("limits", [True, False])
@pytest.mark.parametrize("fair", [True, False])
@pytest.mark.parametrize("spread", [True, False])
def test_a_gang_does_not_starve(limits, fair, spread):
    """It starts at latest when those have ended that ran on its devices when it became first."""
    start, bound = starving(limits, fair, spread)
    assert start <= bound < NEVER


def test_a_gang_would_starve_without_a_reservation():
    view = pool(devices=16)
    clock = Clock(view, QueueRules(reservations=0, fair=False))
    clock.add(Job(waiting(f"s{number:03}", number / 2), 20.0) for number in range(400))
    clock.add([Job(waiting("gang", 50.25, demand=demand(count=16)), 10.0)])
    clock.run(until=199.0)
    assert "gang" not in clock.started


def test_a_claim_that_could_not_start_waits_again():
    view = pool()
    scheduler, shares = Scheduler(QueueRules()), FairShare(1000.0)
    claim = waiting("a")
    scheduler.wait(claim)
    (start,) = scheduler.decide(view, shares, BestFit(), 0.0)
    assert "a" not in scheduler.line
    view.give(claim.demand, start.plan)
    scheduler.wait(claim)
    assert "a" not in scheduler.occupancy
    assert scheduler.decide(view, shares, BestFit(), 1.0) == [start]


def test_sync_takes_over_what_is_so():
    view = pool(devices=2)
    scheduler = Scheduler(QueueRules())
    run = running(view, "r", ["host-0/0"])
    scheduler.sync([waiting("a"), waiting("b")], [run])
    assert ({each.claim_id for each in scheduler.line}, len(scheduler.occupancy)) == ({"a", "b"}, 1)
    bound = replace(run, claim_id="a", ends_at=5.0)
    scheduler.sync([waiting("b", priority=60)], [bound])
    assert [each.priority for each in scheduler.line] == [60]
    assert [each.claim_id for each in scheduler.occupancy] == ["a"]
    changed = replace(bound, leaving=True)
    scheduler.sync([], [changed])
    assert list(scheduler.occupancy) == [changed]


def test_a_new_view_forgets_what_it_does_not_know():
    view = pool(hosts=2)
    runs = [running(view, f"r{host}", [f"host-{host}/0"]) for host in range(2)]
    scheduler = Scheduler(QueueRules())
    scheduler.sync([waiting("a")], runs)
    scheduler.decide(view, FairShare(1000.0), BestFit(), 0.0)
    (kept,) = scheduler.reservations.values()
    assert kept.plan.host == "host-0"
    (room,) = (each for each in view.capacities() if each.name == "host-1")
    other = PoolView([room])
    assert scheduler.decide(other, FairShare(1000.0), BestFit(), 1.0) == []
    (kept,) = scheduler.reservations.values()
    assert kept.plan.host == "host-1"


def test_room_that_comes_back_is_seen():
    view = pool()
    scheduler, shares = Scheduler(QueueRules()), FairShare(1000.0)
    (room,) = view.capacities()
    view.put(replace(room, up=False))
    scheduler.wait(waiting("a"))
    assert scheduler.decide(view, shares, BestFit(), 0.0) == []
    view.put(room)
    assert started(scheduler.decide(view, shares, BestFit(), 1.0)) == ["a"]


def test_started_claims_run_as_they_asked():
    scheduler = Scheduler(QueueRules())
    scheduler.wait(waiting("a", time_limit=60.0, preemptible=True))
    (start,) = scheduler.decide(pool(), FairShare(1000.0), BestFit(), 100.0)
    assert scheduler.occupancy.get("a") == Running(
        claim_id="a",
        project_id="project",
        demand=demand(),
        plan=start.plan,
        priority=50,
        bound_at=100.0,
        ends_at=160.0,
        preemptible=True,
    )


def closed(view, host, **changes):
    """Write a host of the view anew, with some of what is in order changed."""
    (room,) = [each for each in view.capacities() if each.name == host]
    view.put(replace(room, **changes))


@pytest.mark.parametrize(
    ("wanted", "trouble"),
    [
        (demand(host="host-1"), {"up": False}),
        (demand(host="host-1"), {"closed": "disabled by an operator"}),
        (demand(host="host-1"), "disabled devices"),
        (demand(count=4), {"up": False}),
        (demand(count=4), {"closed": "its disk is full"}),
        (demand(count=4), "disabled devices"),
        (demand(count=0, host="host-1"), {"up": False}),
        (demand(count=0, host="host-1"), {"closed": "its disk is full"}),
    ],
)
def test_a_claim_that_nothing_in_order_could_hold_earns_its_project_nothing(wanted, trouble):
    """Of two hosts the second is the larger one; its claim waits as long as that is out of order."""
    rooms = [*pool(hosts=1, devices=2).capacities(), next(iter(pool(hosts=1, devices=4).capacities()))]
    view = PoolView(
        [
            replace(
                room,
                name=f"host-{number}",
                devices=tuple(
                    replace(device, device_id=f"host-{number}/{slot}")
                    for slot, device in enumerate(room.devices)
                ),
            )
            for number, room in enumerate(rooms)
        ]
    )
    there = next(room for room in view.capacities() if room.name == "host-1")
    if trouble == "disabled devices":
        trouble = {"devices": tuple(replace(each, usable=False) for each in there.devices)}
    closed(view, "host-1", **trouble)
    clock = Clock(view, QueueRules(reservations=0))
    clock.add([Job(waiting("works", project_id="other"), 100_000.0)])
    clock.step()
    clock.scheduler.wait(waiting("wants", project_id="patient", demand=wanted))
    clock.decide()
    clock.scheduler.charge(clock.shares, 0.0, 5000.0)
    assert clock.shares.owed("patient", 5000.0) == 0
    assert clock.scheduler.contenders() == set()
    # Once the host is in order, waiting counts: others have what it could have.
    closed(view, "host-1", **{name: getattr(there, name) for name in trouble})
    clock.scheduler.charge(clock.shares, 5000.0, 6000.0)
    assert clock.shares.owed("patient", 6000.0) > 0
    assert clock.scheduler.contenders() == {"patient"}


def test_a_project_that_waits_for_a_host_that_is_down_takes_no_part_from_others():
    """Of two projects that can use the pool each gets half of it back, whoever else waits."""
    view = pool(hosts=2, devices=4)
    closed(view, "host-1", up=False)
    owners = ("a", "b", "b", "b")
    runs = [
        running(view, f"{owner}-{slot}", [f"host-0/{slot}"], project_id=owner, preemptible=True)
        for slot, owner in enumerate(owners)
    ]
    claims = [
        waiting("new", project_id="a"),
        waiting("away", project_id="c", demand=demand(host="host-1")),
    ]
    found = decided(view, claims, runs, QueueRules(min_run_time=0.0), now=10.0)
    assert [each.claim_id for each in found if isinstance(each, Preempt)] == ["new"]
