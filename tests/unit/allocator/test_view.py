"""What is granted and taken back in a view, in any order."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import plan
from gpupool.allocator.policies import BestFit, make
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Qos
from gpupool.model.pool import PolicyName
from tests.unit.allocator.rooms import (
    copied,
    demand,
    demands,
    device,
    fits,
    host,
    modest,
    ordered,
    pools,
    room_of,
)

COURSE = settings(deadline=None, max_examples=50)
policies = st.builds(make, st.sampled_from(PolicyName), st.lists(demands(), max_size=2).map(Mix))


def within(room) -> bool:
    """Whether nothing of a host or its devices is granted more than once."""
    return (
        0 <= room.cpu_free <= room.cpu_total
        and 0 <= room.memory_free <= room.memory_total
        and all(
            0 <= each.compute_guaranteed <= each.compute_total
            and each.compute_guaranteed <= each.compute_granted <= each.compute_limit
            and 0 <= each.memory_guaranteed <= each.memory_total
            and each.memory_guaranteed <= each.memory_granted <= each.memory_limit
            for each in room.devices
        )
    )


def grant(view, wanted, policy):
    """Take the plan for ``wanted``, if there is one."""
    found = plan(view, wanted, policy)
    if isinstance(found, Plan):
        view.take(wanted, found)
    return found


@COURSE
@given(pools(least=3), policies, st.booleans(), st.data())
def test_nothing_is_over_its_capacity_after_any_course(rooms, policy, remote, data):
    view = PoolView(rooms, remote=remote)
    running = []
    for wanted in data.draw(
        st.lists(st.one_of(demands(), demands().map(modest)), min_size=3, max_size=8)
    ):
        if running and data.draw(st.booleans()):
            view.give(*running.pop(data.draw(st.integers(0, len(running) - 1))))
        found = grant(view, wanted, policy)
        if isinstance(found, Plan):
            running.append((wanted, found))
        assert all(map(within, view.capacities()))
    for wanted, found in running:
        view.give(wanted, found)
    assert list(view.capacities()) == ordered(rooms)


@COURSE
@given(pools(), demands(), policies, st.booleans())
def test_what_is_given_back_is_as_before(rooms, wanted, policy, remote):
    view = PoolView(rooms, remote=remote)
    before = list(view.capacities())
    assert before == ordered(rooms)
    found = grant(view, wanted, policy)
    if isinstance(found, Plan):
        assert (list(view.capacities()) == before) == (not any(_takes(wanted)))
        view.give(wanted, found)
    assert list(view.capacities()) == before
    for name in ("free", "spare"):
        fresh = PoolView(rooms)
        assert (getattr(view.compute, name) == getattr(fresh.compute, name)).all()
        assert (getattr(view.memory, name) == getattr(fresh.memory, name)).all()


def _takes(wanted):
    return (wanted.count * wanted.compute, wanted.cpu_milli, wanted.host_memory_mib)


@COURSE
@given(pools(), st.lists(demands(), max_size=6), policies, st.sampled_from((PoolView.fork, copied)))
def test_a_fork_and_a_copy_change_on_their_own(rooms, wanted, policy, another):
    view = PoolView(rooms)
    view.hold([each.device_id for on in rooms for each in on.devices][:1])
    twin, other = copied(view), view.fork()
    for each in wanted:
        assert grant(other, each, policy) == grant(twin, each, policy)
    assert list(view.capacities()) == ordered(rooms)
    assert list(other.capacities()) == list(twin.capacities())
    other.hold(each.device_id for on in rooms for each in on.devices)
    assert view.held.sum() == min(len(view), 1)


@COURSE
@given(pools(), demands(least=1), st.integers(1, 100), st.integers(0, 1100))
def test_a_claim_is_resized_where_it_is_if_there_is_room(rooms, old, compute, memory_mib):
    view = PoolView(rooms)
    found = grant(view, old, BestFit())
    if not isinstance(found, Plan):
        return
    before = list(view.capacities())
    new = replace(old, compute=compute, memory_mib=memory_mib)
    # The same devices and host, with what the claim had given back first.
    view.give(old, found)
    here = replace(new, host=found.host, devices=tuple(set(found.device_ids)))
    again = plan(view, here, BestFit())
    assert isinstance(again, Plan) == fits(view.capacities(), here)
    if isinstance(again, Plan):
        view.take(new, again)
        assert all(map(within, view.capacities()))
        view.give(new, again)
    view.take(old, found)
    assert list(view.capacities()) == before


def test_best_effort_leaves_guaranteed_room_alone_below_the_limit():
    view = PoolView([host("host-a", device("a", compute_limit=150))])
    best_effort = demand(compute=50, memory_mib=0, qos=Qos.BEST_EFFORT)
    for _ in range(3):
        assert isinstance(grant(view, best_effort, BestFit()), Plan)
    assert not isinstance(grant(view, best_effort, BestFit()), Plan)
    # All is lent; what is guaranteed gets its room when some of that ends.
    guaranteed = replace(best_effort, qos=Qos.GUARANTEED, compute=100)
    assert not isinstance(plan(view, guaranteed, BestFit()), Plan)
    there = Plan(host="host-a", shares=best_effort.shares(["a"]))
    view.give(best_effort, there)
    view.give(best_effort, there)
    assert isinstance(grant(view, guaranteed, BestFit()), Plan)
    assert room_of(view, "a").compute_guaranteed == 100
    assert room_of(view, "a").compute_granted == 150


def test_what_is_guaranteed_never_exceeds_the_device_itself():
    view = PoolView([host("host-a", device("a", compute_limit=300, memory_limit=3000))])
    assert isinstance(grant(view, demand(compute=60), BestFit()), Plan)
    assert not isinstance(plan(view, demand(compute=60), BestFit()), Plan)
    assert isinstance(plan(view, demand(compute=60, qos=Qos.BEST_EFFORT), BestFit()), Plan)


def test_a_limit_below_what_is_granted_leaves_nothing():
    view = PoolView([host("host-a", device("a", compute_free=20, compute_limit=50))])
    for qos in Qos:
        assert not isinstance(plan(view, demand(compute=1, qos=qos), BestFit()), Plan)


@given(pools(), st.data())
def test_a_host_is_replaced(rooms, data):
    view = PoolView(rooms)
    if not rooms:
        return
    chosen = data.draw(st.sampled_from(rooms))
    (new,) = data.draw(pools().filter(bool))[:1]
    new = replace(
        new, name=chosen.name, devices=tuple(replace(each, usable=False) for each in chosen.devices)
    )
    view.put(new)
    assert list(view.capacities()) == ordered([on for on in rooms if on is not chosen] + [new])


@pytest.mark.parametrize("room", [host("host-z"), host("host-a"), host("host-a", device("b"))])
def test_an_unknown_host_or_other_devices_are_not_put(room):
    view = PoolView([host("host-a", device("a"))])
    with pytest.raises(KeyError):
        view.put(room)
    assert list(view.capacities()) == [host("host-a", device("a"))]


def test_what_changed_is_told_since_a_mark():
    view = PoolView([host(name, device(name)) for name in ("host-a", "host-b", "host-c")])
    everything, mark = view.changed_since(-1)
    assert everything == slice(None)
    assert not len(view.changed_since(mark)[0])
    view.take(demand(), Plan(host="host-c", shares=demand().shares(["host-a"])))
    changed, _ = view.changed_since(mark)
    assert changed.tolist() == [0, 2]


def test_who_has_not_looked_for_long_looks_at_everything(monkeypatch):
    monkeypatch.setattr("gpupool.allocator.view.JOURNAL", 4)
    view = PoolView([host("host-a", device("a")), host("host-b", device("b"))])
    _, mark = view.changed_since(-1)
    for _ in range(10):
        view.hold(["a"])
    everything, now = view.changed_since(mark)
    assert everything == slice(None)
    assert not len(view.changed_since(now)[0])


def test_bounds_tell_views_apart_that_come_and_go():
    hosts = [host("host-a", device("a"))]
    assert len({PoolView(hosts).bounds() for _ in range(50)}) == 50
    view = PoolView(hosts)
    assert view.bounds() == view.fork().bounds()


def test_bounds_change_when_more_is_lent_somewhere():
    wide = device("b", compute_total=200, compute_free=200)
    view = PoolView([host("host-a", device("a"), wide)])
    before = view.bounds()
    view.put(host("host-a", device("a", compute_limit=150), wide))
    assert view.bounds() != before


def test_twins_are_untouched_and_differ_in_names_only():
    rooms = [
        host("a", device("a", compute_free=50)),
        host("b", device("b")),
        host("c", device("c")),
        host("d", device("d"), cpu_free=1),
        host("e", device("e", product="other")),
        host("f", device("f", usable=False)),
        host("g", device("g")),
        host("h", device("h", memory_free=999)),
        host("i", device("i", product="other")),
    ]
    view = PoolView(rooms)
    assert view.twins().tolist() == [0, 1, 1, 3, 4, 5, 1, 7, 4]
    view.hold(["b"])
    assert view.twins().tolist() == [0, 1, 2, 3, 4, 5, 2, 7, 4]
    view.put(host("i", device("i")))
    assert view.twins().tolist() == [0, 1, 2, 3, 4, 5, 2, 7, 2]
    assert PoolView([]).twins().tolist() == []
