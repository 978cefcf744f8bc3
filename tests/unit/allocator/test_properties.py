"""What holds for every pool and every claim."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gpupool.allocator.plan import NoRoom, Plan, plan
from gpupool.allocator.view import PoolView
from tests.unit.allocator.rooms import claims, eligible, fits, pools


@given(pools(), claims())
def test_a_plan_is_whole_on_one_host_and_within_every_capacity(rooms, wanted):
    outcome = plan(PoolView(rooms), wanted)
    if isinstance(outcome, NoRoom):
        return
    by_id = {room.device_id: room for room in rooms}
    taken = Counter(outcome.device_ids)
    assert taken.total() == wanted.count
    assert len({by_id[device].host for device in taken}) == 1
    for device, vgpus in taken.items():
        assert eligible(by_id[device], wanted)
        assert by_id[device].usable
        assert by_id[device].host_up
        assert vgpus * wanted.compute <= by_id[device].compute_free
        assert vgpus * wanted.memory_mib <= by_id[device].memory_free


@given(pools(), claims())
def test_there_is_a_plan_whenever_there_is_room(rooms, wanted):
    assert isinstance(plan(PoolView(rooms), wanted), Plan) == fits(rooms, wanted)


@given(pools(), claims())
def test_impossible_means_not_even_in_the_empty_pool(rooms, wanted):
    outcome = plan(PoolView(rooms), wanted)
    empty = [
        replace(
            room,
            usable=True,
            host_up=True,
            compute_free=room.compute_total,
            memory_free=room.memory_total,
        )
        for room in rooms
    ]
    impossible = isinstance(outcome, NoRoom) and outcome.impossible
    assert impossible == (bool(rooms) and not fits(empty, wanted))


@given(pools(), claims(), st.randoms())
def test_a_plan_does_not_depend_on_the_order_of_devices(rooms, wanted, random):
    shuffled = random.sample(rooms, len(rooms))
    assert plan(PoolView(rooms), wanted) == plan(PoolView(shuffled), wanted)


@given(pools(), claims())
def test_best_fit_leaves_least(rooms, wanted):
    # Sizes that fit most devices, so that there is something to choose from.
    wanted = replace(
        wanted, count=1, compute=wanted.compute % 10 + 1, memory_mib=wanted.memory_mib % 10 + 1
    )
    outcome = plan(PoolView(rooms), wanted)
    if isinstance(outcome, NoRoom):
        return

    def left(room):
        compute = (room.compute_free - wanted.compute) / room.compute_total
        return compute + (room.memory_free - wanted.memory_mib) / room.memory_total

    possible = [room for room in rooms if fits([room], wanted)]
    (chosen,) = (room for room in rooms if room.device_id in outcome.device_ids)
    assert left(chosen) == min(map(left, possible))


@given(pools(), claims())
def test_vgpus_share_a_device_only_where_no_host_has_enough(rooms, wanted):
    outcome = plan(PoolView(rooms), wanted)
    if isinstance(outcome, NoRoom):
        return
    one = replace(wanted, count=1)
    by_host = Counter(room.host for room in rooms if fits([room], one))
    enough = any(devices >= wanted.count for devices in by_host.values())
    assert (len(set(outcome.device_ids)) == wanted.count) == enough


@given(pools(), claims())
def test_no_room_counts_what_each_filter_left(rooms, wanted):
    outcome = plan(PoolView(rooms), wanted)
    if isinstance(outcome, Plan):
        return
    left = [count for _, count in outcome.filters]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    assert f"{len(rooms)} devices in the pool" in outcome.reason
    said = [f"{count} after {name}" for name, count in outcome.filters]
    assert all(words in outcome.reason for words in said[: left.index(0) + 1])
    assert not any(words in outcome.reason for words in said[left.index(0) + 1 :])
    size = ("compute", "memory", "enabled and healthy", "host up")
    static = [count for name, count in outcome.filters[:-1] if name not in size]
    if static:
        assert static[-1] == sum(eligible(room, wanted) for room in rooms)
