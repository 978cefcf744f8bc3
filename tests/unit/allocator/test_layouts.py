"""How gangs are laid out, against one vGPU or device after the other in plain Python."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator import layouts
from gpupool.allocator.layouts import NEVER

UNHURRIED = settings(deadline=None, max_examples=200)
# Few costs, so that there are equals; rows of four slots.
slot = st.tuples(st.integers(0, 4), st.integers(0, 3))
rooms = st.lists(st.lists(slot, min_size=4, max_size=4), min_size=1, max_size=6).filter(
    lambda rows: any(room for row in rows for room, _ in row)
)


def arrays(rows):
    room = np.array([[room for room, _ in row] for row in rows])
    cost = np.array([[float(cost) if room else NEVER for room, cost in row] for row in rows])
    return room, cost


def slots(room, cost):
    hosts = np.arange(len(room))
    return layouts.Slots(hosts, room, cost, layouts.Sums.of(room, cost), hosts)


def shared_out(room, order, count):
    """One each in the order, then a second one each, and so on."""
    taken = [0] * len(room)
    for at in itertools.cycle(order):
        if not count:
            return taken
        if taken[at] < room[at]:
            taken[at], count = taken[at] + 1, count - 1
    return taken


def packed(room, cost, count):
    """The slot that holds most of those that are left, of several the cheapest, again and again."""
    taken = [0] * len(room)
    while count:
        offered = [0 if taken[at] else min(room[at], count) for at in range(len(room))]
        most = max(offered)
        at = min((at for at in range(len(room)) if offered[at] == most), key=lambda at: cost[at])
        taken[at], count = most, count - most
    return taken


def chosen(room, cost, count):
    """The host that holds most of those that are left, of several the cheapest, again and again."""
    found: list[int] = []
    while count:
        left = {host: sum(room[host]) for host in range(len(room)) if host not in found}
        most = min(max(left.values()), count)

        def weight(host, most=most):
            taken = packed(room[host], cost[host], most)
            price = sum(taken[at] * cost[host][at] for at in range(len(taken)) if taken[at])
            return sum(each > 0 for each in taken), price

        found.append(min((host for host in left if left[host] >= most), key=weight))
        count -= most
    return found


@UNHURRIED
@given(rooms, st.data())
def test_gangs_on_hosts_are_shared_out_and_packed_as_one_by_one(rows, data):
    rows = [row for row in rows if any(room for room, _ in row)]
    room, cost = arrays(rows)
    count = data.draw(st.integers(1, int(room.sum(axis=1).min())))
    order = np.argsort(cost, axis=1, kind="stable")
    expected = [shared_out(*each, count) for each in zip(room.tolist(), order.tolist(), strict=True)]
    assert layouts.share_out(room, order, count).tolist() == expected
    expected = [packed(*each, count) for each in zip(room.tolist(), cost.tolist(), strict=True)]
    assert layouts.pack(room, cost, count).tolist() == expected


@UNHURRIED
@given(rooms, st.data())
def test_gangs_on_several_hosts_are_shared_out_and_packed_as_one_by_one(rows, data):
    room, cost = arrays(rows)
    count = data.draw(st.integers(1, int(room.sum())))
    order = np.argsort(cost.ravel(), kind="stable").tolist()
    expected = shared_out(room.ravel().tolist(), order, count)
    assert layouts.share_out_cheapest(room.ravel(), cost.ravel(), count).tolist() == expected
    rows = slots(room, cost)
    assert layouts.fewest(rows, count).tolist() == chosen(room.tolist(), cost.tolist(), count)


@UNHURRIED
@given(rooms, st.integers(2, 15), st.data())
def test_of_many_hosts_the_same_are_taken(rows, times, data):
    room, cost = arrays([row for row in rows for _ in range(times)])
    count = data.draw(st.integers(1, min(20, int(room.sum()))))
    found = layouts.fewest(slots(room, cost), count).tolist()
    assert found == chosen(room.tolist(), cost.tolist(), count)


@UNHURRIED
@given(rooms, st.data())
def test_the_cheapest_slots_of_all_hosts_are_on_those_that_are_chosen(rows, data):
    room, cost = arrays(rows)
    count = data.draw(st.integers(1, int(room.sum())))
    hosts = layouts.cheapest(slots(room, cost), count)
    expected = np.zeros_like(room)
    found = layouts.share_out_cheapest(room[hosts].ravel(), cost[hosts].ravel(), count)
    expected[hosts] = found.reshape(-1, room.shape[1])
    everywhere = layouts.share_out_cheapest(room.ravel(), cost.ravel(), count)
    assert everywhere.reshape(room.shape).tolist() == expected.tolist()


@UNHURRIED
@given(rooms, st.data())
def test_no_fewer_hosts_hold_them_and_no_last_one_is_cheaper(rows, data):
    """By trying every choice of hosts."""
    room, cost = arrays(rows)
    count = data.draw(st.integers(1, int(room.sum())))
    found = layouts.fewest(slots(room, cost), count).tolist()
    assert len(set(found)) == len(found)
    of_host = room.sum(axis=1)
    enough = [
        hosts
        for number in range(1, len(room) + 1)
        for hosts in itertools.combinations(range(len(room)), number)
        if sum(of_host[host] for host in hosts) >= count
    ]
    assert tuple(sorted(found)) in enough
    assert len(found) == min(map(len, enough))


def test_places_come_in_order_and_again_after_all_others():
    assert layouts.places(np.array([2, 0, 1, 3]), np.array([3, 2, 0])) == [3, 2, 0, 3, 0, 3]
