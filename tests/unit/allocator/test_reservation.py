"""Room that is kept for claims that found none."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpupool.allocator.claims import Running
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.order import Kind
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import place
from gpupool.allocator.policies import BestFit
from gpupool.allocator.reservation import NEVER, Kept, Reservation, find, fits, renew, reserve
from gpupool.model.device import SharingMode
from gpupool.model.share import Part, Share
from tests.unit.allocator.queues import (
    FEW,
    demand,
    demands,
    is_within_capacity,
    pool,
    pools,
    running,
    state,
    waiting,
)

BEST = BestFit()


def of(view, claims) -> Occupancy:
    occupancy = Occupancy()
    for claim in claims:
        occupancy.put(claim)
    occupancy.bind(view)
    return occupancy


@st.composite
def full(draw):
    """A pool with claims until one finds no room, and that one."""
    view, claims = draw(pools()), []
    for number in range(60):
        wanted = draw(demands())
        planned = place(view, wanted, BEST)
        if planned is None:
            return view, of(view, claims), waiting("next", demand=wanted)
        view.take(wanted, planned)
        ends = draw(st.sampled_from((None, 5.0, 7.0, 9.0)))
        claims.append(
            Running(
                claim_id=f"claim-{number}",
                project_id="project",
                demand=wanted,
                plan=planned,
                priority=50,
                bound_at=0.0,
                ends_at=ends,
                preemptible=False,
            )
        )
    raise AssertionError("it never fills")


def reservation(claim, view, occupancy, before=()):
    found = reserve(claim, occupancy, before, BEST)
    assert found is None or set(found.plan.device_ids) <= set(view.device_index)
    return found


@FEW
@given(full())
def test_a_place_is_reserved_at_the_first_moment_at_which_there_is_one(drawn):
    view, occupancy, claim = drawn
    before = state(view)
    found = reservation(claim, view, occupancy)
    assert state(view) == before
    moments = [*occupancy.ends(), NEVER]
    fits = [
        moment
        for moment in moments
        if place(occupancy.without(occupancy.until(moment)), claim.demand, BEST) is not None
    ]
    assert (found.starts_at if found else None) == (fits[0] if fits else None)
    if found is not None:
        later = occupancy.without(occupancy.until(found.starts_at))
        later.take(claim.demand, found.plan)
        assert is_within_capacity(later)
        assert renew(found, claim, occupancy, [], [], BEST) == found


@FEW
@given(full(), demands())
def test_what_starts_beside_what_is_kept_is_in_nobodys_way(drawn, other):
    """Whatever fits beside it at once, and stays for ever: the reserved place is free in time."""
    view, occupancy, claim = drawn
    found = reservation(claim, view, occupancy)
    if found is None:
        return
    untouched, kept = state(view), Kept(occupancy)
    kept.add(found)
    kept.apply()
    planned = place(view, other, BEST)
    if planned is not None:
        view.take(other, planned)
        if found.starts_at == NEVER:
            assert not set(planned.device_ids) & set(found.plan.device_ids)
    kept.lift()
    later = occupancy.without(occupancy.until(found.starts_at))
    later.take(claim.demand, found.plan)
    assert is_within_capacity(later)
    if planned is not None:
        view.give(other, planned)
    assert state(view) == untouched


def test_nobody_goes_sooner_where_another_is_promised_room():
    view = pool(devices=2)
    claims = [
        running(view, "a", ["host-0/0"], ends_at=10.0),
        running(view, "b", ["host-0/1"], ends_at=20.0),
    ]
    occupancy = of(view, claims)
    first = reserve(waiting("first"), occupancy, [], BEST)
    second = reserve(waiting("second"), occupancy, [first], BEST)
    assert (second.plan.device_ids, second.starts_at) == (("host-0/1",), 20.0)
    # The second's device will be free sooner, but it is the second's.
    occupancy.put(replace(claims[1], ends_at=9.0))
    assert renew(first, waiting("first"), occupancy, [], [second], BEST) == first
    assert renew(first, waiting("first"), occupancy, [], [], BEST).starts_at == 9.0
    # Where its own is gone it goes first all the same.
    (room,) = view.capacities()
    first_down = [replace(each, usable=each.device_id != "host-0/0") for each in room.devices]
    view.put(replace(room, devices=tuple(first_down)))
    assert renew(first, waiting("first"), occupancy, [], [second], BEST).starts_at == 9.0


def test_nothing_is_promised_on_devices_that_are_kept_as_a_whole():
    """Who waits for no known end lets nobody else onto its devices, so nobody can count on them."""
    view = pool(devices=2)
    claims = [
        running(view, "a", ["host-0/0"], demand=demand(50)),
        running(view, "b", ["host-0/0"], demand=demand(50), ends_at=10.0),
        running(view, "c", ["host-0/1"]),
    ]
    occupancy = of(view, claims)
    first = reserve(waiting("first", demand=demand(60)), occupancy, [], BEST)
    assert (first.plan.device_ids, first.starts_at) == (("host-0/0",), NEVER)
    second = reserve(waiting("second", demand=demand(40)), occupancy, [first], BEST)
    assert (second.plan.device_ids, second.starts_at) == (("host-0/1",), NEVER)


@FEW
@given(full(), demands(), demands())
def test_second_reservations_leave_the_first_alone(drawn, second, third):
    view, occupancy, claim = drawn
    first = reservation(claim, view, occupancy)
    if first is None:
        return
    other = reservation(waiting("second", demand=second), view, occupancy, [first])
    if other is None:
        return
    untouched, kept = state(view), Kept(occupancy)
    kept.add(first)
    kept.add(other)
    kept.apply()
    planned = place(view, third, BEST)
    if planned is not None:
        view.take(third, planned)
    kept.lift()
    for each in sorted((first, other), key=lambda each: each.starts_at):
        # At its start those are there that start before it.
        later = occupancy.without(occupancy.until(each.starts_at))
        here = [one for one in (first, other) if one.starts_at <= each.starts_at]
        for one in here:
            later.take(one.demand, one.plan)
        assert is_within_capacity(later)
    if planned is not None:
        view.give(third, planned)
    assert state(view) == untouched


def test_only_what_would_not_be_free_in_time_is_kept():
    view = pool()
    occupancy = of(view, [running(view, "a", ["host-0/0"], demand=demand(60), ends_at=10.0)])
    found = reserve(waiting("next", demand=demand(70)), occupancy, [], BEST)
    assert found.starts_at == 10.0
    kept = Kept(occupancy)
    assert kept.until == NEVER
    kept.add(found)
    kept.apply()
    # 40 are free, 60 more by then, 70 are wanted then: 30 are nobody's.
    assert view.compute.free.tolist() == [[30]]
    assert kept.until == 10.0


def test_devices_with_no_end_known_only_drain():
    view = pool(devices=2)
    claims = [
        running(view, "a", ["host-0/0"], demand=demand(20)),
        running(view, "b", ["host-0/0"], demand=demand(20)),
        running(view, "c", ["host-0/1"], demand=demand(70)),
    ]
    occupancy = of(view, claims)
    found = reserve(waiting("next"), occupancy, [], BEST)
    # One claim to wait for is less than two.
    assert found.plan.device_ids == ("host-0/1",)
    assert found.starts_at == NEVER
    kept = Kept(occupancy)
    kept.add(found)
    assert kept.until == -NEVER
    kept.apply()
    assert place(view, demand(10), BEST).device_ids == ("host-0/0",)
    assert place(view, demand(70), BEST) is None


def test_a_known_end_goes_before_an_unknown_one():
    view = pool(devices=2)
    claims = [
        running(view, "a", ["host-0/0"], demand=demand(10)),
        running(view, "b", ["host-0/1"], ends_at=1e9),
    ]
    found = reserve(waiting("next"), of(view, claims), [], BEST)
    assert (found.plan.device_ids, found.starts_at) == (("host-0/1",), 1e9)


def test_those_that_leave_are_waited_for_first():
    view = pool(devices=2)
    claims = [
        running(view, "a", ["host-0/0"], ends_at=1.0),
        running(view, "b", ["host-0/1"], leaving=True),
    ]
    found = reserve(waiting("next"), of(view, claims), [], BEST)
    assert (found.plan.device_ids, found.starts_at) == (("host-0/1",), -NEVER)


def test_the_cpu_of_the_host_is_kept_too():
    view = pool(hosts=1, devices=2)
    held = demand(cpu_milli=30_000)
    occupancy = of(view, [running(view, "a", ["host-0/0"], demand=held, ends_at=10.0)])
    found = reserve(waiting("next", demand=demand(cpu_milli=25_000)), occupancy, [], BEST)
    kept = Kept(occupancy)
    kept.add(found)
    kept.apply()
    # 2000 are free now and 32000 then, 25000 of them wanted.
    assert int(view.cpu_free[0]) == 2000
    assert place(view, demand(10, cpu_milli=1000), BEST) is not None
    kept.lift()
    occupancy.put(replace(occupancy.get("a"), ends_at=None))
    unknown = Kept(occupancy)
    unknown.add(reserve(waiting("next", demand=demand(cpu_milli=25_000)), occupancy, [], BEST))
    unknown.apply()
    assert int(view.cpu_free[0]) == 2000 - 25_000


def test_reserved_devices_are_changed_for_none_but_sooner_ones():
    view = pool(devices=2)
    claims = [
        running(view, "a", ["host-0/0"], ends_at=10.0),
        running(view, "b", ["host-0/1"], ends_at=20.0),
    ]
    occupancy = of(view, claims)
    claim = waiting("next")
    first = reserve(claim, occupancy, [], BEST)
    occupancy.put(replace(claims[1], ends_at=10.0))
    assert renew(first, claim, occupancy, [], [], BEST) == first
    occupancy.put(replace(claims[1], ends_at=9.0))
    sooner = renew(first, claim, occupancy, [], [], BEST)
    assert (sooner.plan.device_ids, sooner.starts_at) == (("host-0/1",), 9.0)


def test_devices_that_drain_are_kept_while_they_are_in_order():
    view = pool(hosts=3, devices=1)
    claims = [running(view, f"claim-{host}", [f"host-{host}/0"]) for host in range(3)]
    occupancy = of(view, claims)
    claim = waiting("next")
    first = reserve(claim, occupancy, [], BEST)
    assert first.plan.device_ids == ("host-0/0",)
    # Another one became easier to wait for; it is not taken, or the claim might wait for ever.
    occupancy.put(replace(claims[2], ends_at=5.0))
    assert renew(first, claim, occupancy, [], [], BEST) == first
    (room,) = (each for each in view.capacities() if each.name == "host-0")
    view.put(replace(room, up=False))
    other = renew(first, claim, occupancy, [], [], BEST)
    assert (other.plan.device_ids, other.starts_at) == (("host-2/0",), 5.0)


def test_hosts_that_refused_are_tried_last():
    view = pool(hosts=2)
    kind = Kind(demand(cpu_milli=1000), frozenset({"host-0", "gone"}))
    assert place(view, kind.demand, BEST).host == "host-0"
    before = state(view)
    found = find(view, kind, BEST)
    assert (found.host, found.device_ids) == ("host-1", ("host-1/0",))
    assert state(view) == before
    view.take(kind.demand, found)
    assert find(view, kind, BEST).device_ids == ("host-0/0",)
    program = demand(count=0, compute=0, memory_mib=0, cpu_milli=1000)
    assert find(view, Kind(program, kind.refused_by), BEST).host == "host-1"


def test_nothing_is_reserved_where_nothing_ever_fits():
    view = pool()
    assert reserve(waiting("next", demand=demand(count=2)), of(view, []), [], BEST) is None
    (room,) = view.capacities()
    view.put(replace(room, up=False))
    assert reserve(waiting("next"), of(view, []), [], BEST) is None


def test_no_part_is_reserved_twice():
    """A place on a device is kept while somebody is there still, and when they have left."""
    mig = {"product": "NVIDIA A100-SXM4-40GB", "sharing_mode": SharingMode.MIG}
    view = pool(memory_total=40_000, memory_limit=40_000, **mig)
    claims = []
    for kind in ("3g.20gb", "4g.20gb"):
        wanted = demand(1, sharing_mode=SharingMode.MIG, partition=kind)
        planned = place(view, wanted, BEST)
        view.take(wanted, planned)
        values = {"claim_id": kind, "project_id": "project", "priority": 50, "bound_at": 0.0}
        rest = {"demand": wanted, "plan": planned, "ends_at": 10.0, "preemptible": False}
        claims.append(Running(**values, **rest))
    occupancy = of(view, claims)
    claim = waiting("next", demand=demand(1, sharing_mode=SharingMode.MIG, partition="3g.20gb"))
    first = reserve(claim, occupancy, [], BEST)
    assert [share.part for share in first.plan.shares] == [("3g.20gb", 4)]
    ahead = view.fork()
    ahead.take(claim.demand, first.plan)
    ahead = occupancy.without(occupancy.until(10.0), ahead)
    (again,) = place(ahead, claim.demand, BEST).shares
    assert again.part == ("3g.20gb", 0)
    # On devices that are cut into parts all is kept for one claim at a time.
    assert reserve(claim, occupancy, [first], BEST) is None
    # What lies over it keeps a claim out of a place, whatever it is.
    later = occupancy.without(occupancy.until(NEVER))
    assert fits(later, claim.demand, first.plan)
    other = demand(1, sharing_mode=SharingMode.MIG, partition="1g.10gb")
    there = Share(device_id="host-0/0", compute=14, memory_mib=1, part=Part("1g.10gb", 6))
    later.take(other, Plan(host=None, shares=(there,)))
    assert not fits(later, claim.demand, first.plan)


def test_reservations_say_what_they_will_have():
    planned = Plan(host="host-0", shares=demand(50, 2).shares(["a", "b"]))
    values = {"claim_id": "a", "project_id": "b", "demand": demand(50, 2), "plan": planned}
    assert Reservation(**values, starts_at=np.inf).rate == 100
