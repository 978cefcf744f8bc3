"""Devices that are not shared freely."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator import products
from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import Mix
from gpupool.allocator.partitioning import Partitioning
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import NoRoom, plan
from gpupool.allocator.policies import make
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout
from gpupool.model.device import SharingMode
from gpupool.model.pool import PolicyName
from tests.unit.allocator.rooms import room_of

COURSE = settings(deadline=None, max_examples=40)
BEST_FIT = make(PolicyName.BEST_FIT, Mix())
NAMES = [name for name in PolicyName if name != PolicyName.RANDOM]
MEMORY = 40_000
TABLES = [
    (SharingMode.MIG, "NVIDIA A30"),
    (SharingMode.MIG, "NVIDIA A100-SXM4-40GB"),
    (SharingMode.MIG, "NVIDIA H200"),
    (SharingMode.MDEV, "Tesla T4"),
    (SharingMode.VFIO, "NVIDIA A40"),
]


def pool(mode: SharingMode, product: str = "", devices: int = 1, **changes) -> PoolView:
    values = {
        "compute_total": 100,
        "compute_limit": 100,
        "memory_total": MEMORY,
        "memory_limit": MEMORY,
        **changes,
    }
    rooms = tuple(
        DeviceCapacity(device_id=f"device-{number}", sharing_mode=mode, product=product, **values)
        for number in range(devices)
    )
    return PoolView([HostCapacity(name="host", devices=rooms)])


def part(mode: SharingMode, kind: str = "", count: int = 1, **changes) -> Demand:
    values = {"compute": 1, "memory_mib": 1, **changes}
    return Demand(count=count, sharing_mode=mode, partition=kind, **values)


def mig(kind: str, **changes) -> Demand:
    return part(SharingMode.MIG, kind, **changes)


def sizes(found: Plan) -> list[tuple[int, int]]:
    return [(share.compute, share.memory_mib) for share in found.shares]


def taken(view: PoolView, wanted: Demand, policy=BEST_FIT) -> Plan:
    found = plan(view, wanted, policy)
    assert isinstance(found, Plan), found
    view.take(wanted, found)
    return found


def refused(view: PoolView, wanted: Demand) -> NoRoom:
    found = plan(view, wanted, BEST_FIT)
    assert isinstance(found, NoRoom), found
    return found


def table(mode: SharingMode, product: str) -> Partitioning:
    found = products.partitioning(mode, product)
    assert found is not None
    return found


def lies(partitioning: Partitioning, kind: str, place: int) -> set[object]:
    """What a part has of a device, one by one: slices and the media engine."""
    profile = partitioning.profile(kind)
    assert profile is not None
    return {*range(place, place + profile.slices), *(["media"] if profile.media else [])}


def legal(partitioning: Partitioning, parts) -> bool:
    """Whether those parts can be on one device together."""
    known = {(profile.kind, place) for profile in partitioning.profiles for place in profile.places}
    apart = all(
        not lies(partitioning, *one) & lies(partitioning, *other)
        for one, other in combinations(parts, 2)
    )
    alike = partitioning.mixed or len({kind for kind, _ in parts}) <= 1
    return set(parts) <= known and apart and alike


def most(partitioning: Partitioning, kind: str, parts) -> int:
    """How many more parts of a kind fit beside ``parts``, by trying every choice of places."""
    profile = partitioning.profile(kind)
    assert profile is not None
    free = [place for place in profile.places if legal(partitioning, [*parts, (kind, place)])]
    if not partitioning.mixed:
        # Types that take a slice each: no choice makes a difference.
        return len(free)
    return max(
        number
        for number in range(len(free) + 1)
        for chosen in combinations(free, number)
        if legal(partitioning, [*parts, *((kind, place) for place in chosen)])
    )


def test_an_exclusive_device_goes_as_a_whole_to_one():
    modes = (SharingMode.SHARED, SharingMode.EXCLUSIVE, SharingMode.EXCLUSIVE, SharingMode.MIG)
    devices = tuple(
        replace(room_of(pool(mode), "device-0"), device_id=f"device-{number}")
        for number, mode in enumerate(modes)
    )
    view = PoolView([HostCapacity(name="host", devices=devices)])
    wanted = part(SharingMode.EXCLUSIVE, compute=10, memory_mib=10)
    policy = make(PolicyName.FGD, Mix())
    before = list(view.capacities())
    plans = []
    for device in ("device-1", "device-2"):
        plans.append(taken(view, wanted, policy))
        assert plans[-1].device_ids == (device,)
        assert sizes(plans[-1]) == [(100, MEMORY)]
    assert not refused(view, wanted).impossible
    for planned in plans:
        view.give(wanted, planned)
    assert list(view.capacities()) == before


def test_two_exclusive_devices_at_once_and_never_three():
    view = pool(SharingMode.EXCLUSIVE, devices=2)
    planned = plan(view, part(SharingMode.EXCLUSIVE, count=2), BEST_FIT)
    assert isinstance(planned, Plan)
    assert sorted(planned.device_ids) == ["device-0", "device-1"]
    assert refused(view, part(SharingMode.EXCLUSIVE, count=3)).impossible


@pytest.mark.parametrize("granted", ["compute_granted", "memory_granted"])
def test_an_exclusive_device_of_which_somebody_has_something_is_not_free(granted):
    view = pool(SharingMode.EXCLUSIVE, **{granted: 1})
    assert not refused(view, part(SharingMode.EXCLUSIVE)).impossible


def test_a_device_of_which_nothing_is_known_is_not_cut():
    outcome = refused(pool(SharingMode.MIG, "NVIDIA G999"), mig("1g.5gb"))
    assert outcome.impossible
    assert ("free part 1g.5gb", 0) in outcome.filters


@pytest.mark.parametrize(
    ("mode", "product", "instances"),
    [
        (SharingMode.MIG, "NVIDIA A30", [4, 1, 2, 1, 1]),
        (SharingMode.MIG, "NVIDIA A100-SXM4-40GB", [7, 1, 4, 3, 2, 1, 1]),
        (SharingMode.MIG, "NVIDIA H100 80GB HBM3", [7, 1, 4, 3, 2, 1, 1]),
        (SharingMode.MIG, "NVIDIA H200", [7, 1, 4, 3, 2, 1, 1]),
        (SharingMode.MIG, "NVIDIA B200", [7, 1, 4, 3, 2, 1, 1]),
        (SharingMode.MDEV, "Tesla T4", [1, 2, 4, 8, 16, 1, 2, 4]),
        (SharingMode.VFIO, "NVIDIA A10", [1, 2, 3, 4, 6, 8, 12, 24, 1, 2, 3, 4, 6]),
        (SharingMode.VFIO, "NVIDIA A40", [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 1, 2, 3, 4, 6, 8, 12]),
    ],
)
def test_an_empty_device_takes_as_many_parts_as_its_vendor_says(mode, product, instances):
    partitioning = table(mode, product)
    found = [partitioning.room(each.kind, frozenset()) for each in partitioning.profiles]
    assert found == instances


@pytest.mark.parametrize(("mode", "product"), TABLES)
def test_every_place_of_the_tables_is_on_the_device(mode, product):
    partitioning = table(mode, product)
    for profile in partitioning.profiles:
        for place in profile.places:
            assert 0 <= place <= partitioning.slices - profile.slices
        count = partitioning.room(profile.kind, frozenset())
        assert count * profile.compute <= 1
        assert count * profile.memory <= 1


# Of NVIDIA's guide: what can be beside what on a device of seven slices.
@pytest.mark.parametrize(
    "kinds",
    [
        ["3g.20gb", "3g.20gb"],
        ["4g.20gb", "3g.20gb"],
        ["4g.20gb", "2g.10gb", "1g.5gb"],
        ["3g.20gb", "2g.10gb", "1g.5gb"],
        ["2g.10gb", "2g.10gb", "2g.10gb", "1g.5gb"],
        ["1g.5gb+me", *["1g.5gb"] * 6],
        ["7g.40gb"],
    ],
)
def test_parts_that_go_together_find_their_places_in_any_order(kinds):
    for order in (kinds, kinds[::-1]):
        view = pool(SharingMode.MIG, "NVIDIA A100-SXM4-40GB")
        for kind in order:
            taken(view, mig(kind))
        assert legal(table(SharingMode.MIG, "NVIDIA A100-SXM4-40GB"), room_of(view, "device-0").parts)


@pytest.mark.parametrize(
    ("kinds", "last"),
    [
        (["4g.20gb"], "4g.20gb"),
        (["3g.20gb", "3g.20gb"], "1g.5gb"),
        (["1g.5gb"], "7g.40gb"),
        (["1g.5gb+me"], "1g.5gb+me"),
    ],
)
def test_parts_that_do_not_go_together_have_to_wait(kinds, last):
    view = pool(SharingMode.MIG, "NVIDIA A100-SXM4-40GB")
    for kind in kinds:
        taken(view, mig(kind))
    assert not refused(view, mig(last)).impossible


@pytest.mark.parametrize(
    ("kind", "place"), [("1g.5gb", 6), ("1g.10gb", 6), ("2g.10gb", 4), ("3g.20gb", 4), ("4g.20gb", 0)]
)
def test_the_first_part_leaves_most_places_to_others(kind, place):
    view = pool(SharingMode.MIG, "NVIDIA A100-SXM4-40GB")
    assert [share.part for share in taken(view, mig(kind)).shares] == [(kind, place)]


def test_a_part_is_charged_its_share_of_the_device():
    view = pool(SharingMode.MIG, "NVIDIA A100-SXM4-40GB")
    assert sizes(taken(view, mig("3g.20gb"))) == [(42, MEMORY // 2)]
    assert sizes(taken(view, mig("4g.20gb"))) == [(57, MEMORY // 2)]
    assert room_of(view, "device-0").compute_granted == 99
    assert room_of(view, "device-0").memory_granted == MEMORY


def test_a_part_smaller_than_what_is_asked_for_does_not_do():
    view = pool(SharingMode.MIG, "NVIDIA A100-SXM4-40GB")
    assert refused(view, mig("1g.5gb", compute=15)).impossible
    assert refused(view, mig("1g.5gb", memory_mib=MEMORY // 8 + 1)).impossible
    taken(view, mig("1g.5gb", compute=14, memory_mib=MEMORY // 8))


def test_parts_of_one_claim_lie_beside_each_other():
    view = pool(SharingMode.MIG, "NVIDIA A100-SXM4-40GB", devices=2)
    found = taken(view, mig("2g.10gb", count=4, layout=Layout.PACK))
    assert len(set(found.device_ids)) == 2
    assert sorted(found.device_ids).count(found.device_ids[0]) == 3
    assert len({(share.device_id, share.part) for share in found.shares}) == 4
    assert not refused(view, mig("2g.10gb", count=3)).impossible


def test_one_type_of_vgpu_at_a_time():
    view = pool(SharingMode.MDEV, "Tesla T4")
    eight, four = part(SharingMode.MDEV, "T4-8Q"), part(SharingMode.MDEV, "T4-4Q")
    first, second = taken(view, eight), taken(view, eight)
    assert sizes(first) == [(50, MEMORY // 2)]
    assert not refused(view, eight).impossible
    view.give(eight, first)
    assert not refused(view, four).impossible
    view.give(eight, second)
    taken(view, four)


def test_what_others_have_of_a_device_is_not_cut():
    view = pool(SharingMode.MIG, "NVIDIA A100-SXM4-40GB", compute_granted=60, compute_guaranteed=60)
    assert sizes(taken(view, mig("1g.5gb", count=2))) == [(14, MEMORY // 8)] * 2
    assert not refused(view, mig("1g.5gb")).impossible
    unknown = pool(SharingMode.MIG, "NVIDIA A100-SXM4-40GB", parts=frozenset({("9g.9gb", 0)}))
    assert not refused(unknown, mig("1g.5gb")).impossible


def test_a_part_is_not_placed_where_there_is_no_room():
    with pytest.raises(ValueError, match="no room for 4g"):
        table(SharingMode.MIG, "NVIDIA A100-SXM4-40GB").best("4g.20gb", frozenset({("1g.5gb", 0)}))


@COURSE
@given(
    st.sampled_from(TABLES),
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.integers(0, 99), st.integers(1, 3), st.booleans()), min_size=4, max_size=12),
)
def test_parts_never_overlap_and_are_given_back_exactly(which, name, steps):
    mode, product = which
    partitioning = table(*which)
    view, policy = pool(mode, product, devices=2), make(name, Mix())
    before, running = list(view.capacities()), []
    for number, count, give in steps:
        if give and running:
            view.give(*running.pop(number % len(running)))
        kind = partitioning.profiles[number % len(partitioning.profiles)].kind
        wanted = part(mode, kind, count=count)
        (on,) = view.capacities()
        room = sum(most(partitioning, kind, sorted(each.parts)) for each in on.devices)
        found = plan(view, wanted, policy)
        assert found == plan(PoolView([on]), wanted, make(name, Mix()))
        assert isinstance(found, Plan) == (room >= count)
        if isinstance(found, Plan):
            view.take(wanted, found)
            running.append((wanted, found))
        (on,) = view.capacities()
        left = sum(most(partitioning, kind, sorted(each.parts)) for each in on.devices)
        # No place is taken that costs more of the same kind than it has to.
        assert left == room - (count if isinstance(found, Plan) else 0)
        for each in on.devices:
            assert legal(partitioning, each.parts)
            assert each.compute_granted <= 100
            assert each.memory_granted <= MEMORY
    for wanted, found in running:
        view.give(wanted, found)
    assert list(view.capacities()) == before
