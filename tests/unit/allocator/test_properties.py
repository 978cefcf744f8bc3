"""What holds for every pool, every demand and every policy."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import NoRoom, plan
from gpupool.allocator.policies import BestFit, make
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout
from gpupool.model.pool import PolicyName
from tests.unit.allocator.rooms import (
    demands,
    eligible,
    emptied,
    fits,
    hosts_program,
    layouts,
    left,
    may_spread,
    modest,
    pools,
    times,
)

UNHURRIED = settings(deadline=None, max_examples=60)
MORE = settings(deadline=None, max_examples=150)
policies = st.builds(
    make,
    st.sampled_from(PolicyName),
    st.lists(demands(), max_size=4).map(Mix),
    st.integers(0, 3),
)


@UNHURRIED
@given(pools(), demands(), policies, st.booleans())
def test_a_plan_is_whole_and_within_every_capacity(rooms, wanted, policy, remote):
    outcome = plan(PoolView(rooms, remote=remote), wanted, policy)
    if isinstance(outcome, NoRoom):
        return
    owner = {each.device_id: on for on in rooms for each in on.devices}
    by_id = {each.device_id: each for on in rooms for each in on.devices}
    (program,) = (on for on in rooms if on.name == outcome.host)
    assert hosts_program(program, wanted)
    taken = Counter(outcome.device_ids)
    assert taken.total() == wanted.count
    for device, vgpus in taken.items():
        assert eligible(by_id[device], owner[device].name, wanted)
        assert by_id[device].usable
        assert owner[device].up
        compute, memory = left(by_id[device], wanted.qos)
        assert vgpus * wanted.compute <= compute
        assert vgpus * wanted.memory_mib <= memory
    assert outcome.remote == sum(owner[device].name != outcome.host for device in taken.elements())
    if not may_spread(wanted, remote):
        assert outcome.remote == 0
    if wanted.count > 1 and wanted.linked:
        (group,) = {by_id[device].link_group for device in taken}
        assert group
    if wanted.count > 1 and wanted.same_type:
        assert len({by_id[device].product for device in taken}) == 1


@UNHURRIED
@given(pools(), demands(), policies, st.booleans())
def test_there_is_a_plan_whenever_there_is_room(rooms, wanted, policy, remote):
    outcome = plan(PoolView(rooms, remote=remote), wanted, policy)
    assert isinstance(outcome, Plan) == fits(rooms, wanted, remote)


@UNHURRIED
@given(pools(), demands(), policies)
def test_devices_are_remote_only_where_no_host_has_room_for_all(rooms, wanted, policy):
    assume(wanted.count < 2 or wanted.layout != Layout.SPREAD)
    outcome = plan(PoolView(rooms, remote=True), wanted, policy)
    if isinstance(outcome, Plan):
        assert (outcome.remote == 0) == fits(rooms, wanted)


@UNHURRIED
@given(pools(), demands(), st.booleans())
def test_impossible_means_not_even_in_the_empty_pool(rooms, wanted, remote):
    outcome = plan(PoolView(rooms, remote=remote), wanted, BestFit())
    impossible = isinstance(outcome, NoRoom) and outcome.impossible
    some = any(on.devices for on in rooms)
    assert impossible == (some and not fits(emptied(rooms), wanted, remote))


@UNHURRIED
@given(pools(), demands(), policies, st.booleans(), st.randoms())
def test_a_plan_does_not_depend_on_the_order_of_hosts_and_devices(rooms, wanted, policy, remote, random):
    shuffled = [
        replace(on, devices=tuple(random.sample(on.devices, len(on.devices))))
        for on in random.sample(rooms, len(rooms))
    ]
    first = plan(PoolView(rooms, remote=remote), wanted, policy)
    assert first == plan(PoolView(shuffled, remote=remote), wanted, policy)
    assert first == plan(PoolView(rooms, remote=remote), wanted, policy)


@UNHURRIED
@given(pools(), demands(), policies, st.booleans(), st.data())
def test_held_devices_are_never_taken(rooms, wanted, policy, remote, data):
    ids = [each.device_id for on in rooms for each in on.devices]
    assume(ids)
    held = data.draw(st.sets(st.sampled_from(ids), min_size=1))
    view = PoolView(rooms, remote=remote)
    view.hold(held)
    outcome = plan(view, wanted, policy)
    gone = [
        replace(
            on,
            devices=tuple(
                replace(each, usable=False) if each.device_id in held else each for each in on.devices
            ),
        )
        for on in rooms
    ]
    assert isinstance(outcome, Plan) == fits(gone, wanted, remote)
    if isinstance(outcome, Plan):
        assert not held & set(outcome.device_ids)
    view.hold(held, held=False)
    assert isinstance(plan(view, wanted, policy), Plan) == fits(rooms, wanted, remote)


@UNHURRIED
@given(pools(), demands(least=1))
def test_best_fit_leaves_least(rooms, wanted):
    # Sizes that fit most devices, so that there is something to choose from.
    wanted = replace(
        wanted, count=1, compute=wanted.compute % 10 + 1, memory_mib=wanted.memory_mib % 10 + 1
    )
    outcome = plan(PoolView(rooms), wanted, BestFit())
    if isinstance(outcome, NoRoom):
        return

    def remains(each, on):
        compute, memory = left(each, wanted.qos)
        device = (compute - wanted.compute) / each.compute_total
        device += (memory - wanted.memory_mib) / each.memory_total
        cpu = (on.cpu_free - wanted.cpu_milli) / on.cpu_total
        return device + cpu + (on.memory_free - wanted.host_memory_mib) / on.memory_total

    possible = [
        (each.device_id, remains(each, on))
        for on in rooms
        for each in on.devices
        if times(each, on, wanted) and hosts_program(on, wanted)
    ]
    (chosen,) = (remaining for device, remaining in possible if device in outcome.device_ids)
    assert chosen == pytest.approx(min(remaining for _, remaining in possible))


@UNHURRIED
@given(pools(), demands(least=1), policies)
def test_vgpus_share_a_device_only_where_no_host_has_enough(rooms, wanted, policy):
    wanted = replace(wanted, linked=False, same_type=False)
    outcome = plan(PoolView(rooms), wanted, policy)
    if isinstance(outcome, NoRoom) or wanted.layout == Layout.PACK:
        return
    one = replace(wanted, count=1)
    found = {on.name: sum(times(each, on, one) for each in on.devices) for on in rooms}
    enough = any(found[on.name] >= wanted.count for on in rooms if hosts_program(on, wanted))
    assert (len(set(outcome.device_ids)) == wanted.count) == enough


@MORE
@given(
    pools(least=3),
    demands(least=2).map(modest),
    policies,
    st.booleans(),
    st.sampled_from((Layout.PACK, Layout.SPREAD)),
    st.integers(2, 4),
)
def test_a_layout_is_as_it_says(rooms, wanted, policy, remote, layout, count):
    """Packed on the fewest hosts and there on the fewest devices; spread on most devices, then hosts."""
    wanted = replace(wanted, layout=layout, count=count)
    outcome = plan(PoolView(rooms, remote=remote), wanted, policy)
    possible = layouts(rooms, wanted, remote)
    assert isinstance(outcome, Plan) == bool(possible)
    if isinstance(outcome, NoRoom):
        return
    owner = {each.device_id: on.name for on in rooms for each in on.devices}
    devices = set(outcome.device_ids)
    lies = len({owner[each] for each in devices}), len(devices)
    if layout == Layout.SPREAD:
        assert lies == max(possible, key=lambda one: (one[1], one[0]))
    elif outcome.remote == 0:
        assert lies == min(layouts(rooms, wanted, remote=False))
    else:
        # Which hosts decides before how many devices of them.
        assert lies[0] == min(possible)[0]


@UNHURRIED
@given(pools(), demands(), st.booleans())
def test_no_room_counts_what_each_filter_left(rooms, wanted, remote):
    outcome = plan(PoolView(rooms, remote=remote), wanted, BestFit())
    if isinstance(outcome, Plan):
        return
    counts = [count for _, count in outcome.filters]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0
    devices = sum(len(on.devices) for on in rooms)
    among = f"{devices} devices" if wanted.count else f"{len(rooms)} hosts"
    assert f"{among} in the pool" in outcome.reason.detail
    said = [f"{count} after {name}" for name, count in outcome.filters]
    assert outcome.reason.detail.endswith(f"in the pool, {', '.join(said[: counts.index(0) + 1])}")
    assert outcome.reason.text
    if wanted.count == 0:
        return
    sized = ("compute", "memory", "enabled and healthy", "host up", "host CPU and memory")
    of_kind = [count for name, count in outcome.filters[:-1] if name not in sized]
    if of_kind:
        assert of_kind[-1] == sum(eligible(each, on.name, wanted) for on in rooms for each in on.devices)
