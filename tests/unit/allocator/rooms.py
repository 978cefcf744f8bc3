"""Hosts, devices and demands for the allocator's tests, by hand and by hypothesis."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations_with_replacement
from random import Random

from hypothesis import strategies as st

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.allocator.demand import Demand
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout, Qos, Tier

TRAITS = ("CUSTOM_A", "CUSTOM_B", "CUSTOM_C")
HOSTS = ("host-a", "host-b", "host-c")
PRODUCTS = ("slow", "fast")
LINKS = ("", "", "left", "right")
CPU = 8_000
MEMORY = 10_000


def device(
    device_id: str, compute_free: int = 100, memory_free: int = 1000, **changes
) -> DeviceCapacity:
    """A device of which all that is not free is granted for sure."""
    values = {"compute_total": 100, "memory_total": 1000, **changes}
    values = {
        "compute_limit": values["compute_total"],
        "compute_granted": values["compute_total"] - compute_free,
        "memory_limit": values["memory_total"],
        "memory_granted": values["memory_total"] - memory_free,
        **values,
    }
    guaranteed = {
        "compute_guaranteed": values["compute_granted"],
        "memory_guaranteed": values["memory_granted"],
    }
    return DeviceCapacity(device_id=device_id, **{**guaranteed, **values})


def host(name: str, *devices: DeviceCapacity, **changes) -> HostCapacity:
    values = {
        "cpu_total": CPU,
        "cpu_free": CPU,
        "memory_total": MEMORY,
        "memory_free": MEMORY,
        **changes,
    }
    return HostCapacity(name=name, devices=devices, **values)


def demand(**changes) -> Demand:
    return Demand(**{"count": 1, "compute": 25, "memory_mib": 250, **changes})


def _shares(random: Random, total: int, most: int) -> tuple[int, int, int]:
    """Limit, granted and guaranteed of a device that has ``total``, up to ``most`` of it granted."""
    limit = random.choice((total, total, most))
    guaranteed = random.choice((0, random.randint(0, total)))
    return limit, random.choice((guaranteed, random.randint(guaranteed, limit))), guaranteed


def _any_device(random: Random) -> DeviceCapacity:
    memory = random.choice((1, 500, 1000, 1024))
    compute_limit, compute_granted, compute_guaranteed = _shares(random, 100, 150)
    memory_limit, memory_granted, memory_guaranteed = _shares(random, memory, memory * 2)
    return DeviceCapacity(
        device_id="",
        usable=random.random() < 0.8,
        traits=frozenset(random.sample(TRAITS, random.randint(0, len(TRAITS)))),
        product=random.choice(PRODUCTS),
        link_group=random.choice(LINKS),
        compute_total=100,
        compute_limit=compute_limit,
        compute_granted=compute_granted,
        compute_guaranteed=compute_guaranteed,
        memory_total=memory,
        memory_limit=memory_limit,
        memory_granted=memory_granted,
        memory_guaranteed=memory_guaranteed,
    )


# Drawn one by one, the fields of devices would take most of the time of all tests.
_DEVICES = [device(""), *map(_any_device, map(Random, range(500)))]


@st.composite
def pools(draw, least: int = 0) -> list[HostCapacity]:
    """Up to three hosts with up to nine devices, hosts and devices in any order."""
    owned = defaultdict(list)
    chosen = draw(
        st.lists(
            st.tuples(st.sampled_from(HOSTS), st.sampled_from(_DEVICES)), min_size=least, max_size=9
        )
    )
    for number, (name, each) in enumerate(chosen):
        owned[name].insert(draw(st.integers(0, 1)), replace(each, device_id=f"device-{number}"))
    # There are hosts without devices too.
    names = draw(st.sets(st.sampled_from(HOSTS))) | set(owned)
    free = st.sampled_from((1.0, 1.0, 0.5, 0.1, 0.0))
    rooms = [
        host(
            name,
            *owned[name],
            up=draw(st.sampled_from((True, True, True, True, False))),
            cpu_free=int(CPU * draw(free)),
            memory_free=int(MEMORY * draw(free)),
        )
        for name in sorted(names)
    ]
    return draw(st.permutations(rooms))


@st.composite
def demands(draw, least: int = 0) -> Demand:
    """Demands small enough to have a place in some of those pools, and none in others."""
    count = draw(st.one_of(st.integers(least, 5), st.just(1)))
    required = draw(st.frozensets(st.sampled_from(TRAITS), max_size=1))
    seldom = st.sampled_from((False, False, True))
    return Demand(
        count=count,
        compute=draw(st.one_of(st.integers(1, 100), st.sampled_from((5, 10, 100)))) if count else 0,
        memory_mib=draw(st.one_of(st.integers(0, 1100), st.sampled_from((5, 10)))) if count else 0,
        tier=draw(st.sampled_from((Tier.POOL, Tier.POOL, Tier.LOCAL))),
        required_traits=tuple(required),
        forbidden_traits=tuple(draw(st.frozensets(st.sampled_from(TRAITS), max_size=1)) - required),
        products=draw(st.sampled_from(((), (), (), PRODUCTS[:1], PRODUCTS))),
        host=draw(st.sampled_from((None, None, None, *HOSTS, "host-unknown"))),
        devices=draw(st.sampled_from(((), (), (), ("device-0", "device-1", "device-2")))),
        qos=draw(st.sampled_from((Qos.GUARANTEED, Qos.GUARANTEED, Qos.BEST_EFFORT))),
        cpu_milli=draw(st.sampled_from((0, 0, 1000, 4000, CPU + 1))),
        host_memory_mib=draw(st.sampled_from((0, 0, 1000, 6000))),
        layout=draw(st.sampled_from((Layout.ANY, Layout.ANY, Layout.PACK, Layout.SPREAD))),
        same_host=draw(seldom),
        same_type=draw(seldom),
        linked=draw(seldom),
    )


def modest(wanted: Demand) -> Demand:
    """The same demand with sizes and wishes that most pools can meet, most often several times."""
    anywhere = {"host": None, "devices": (), "required_traits": (), "forbidden_traits": ()}
    sizes = {"compute": min(wanted.compute, 30), "memory_mib": min(wanted.memory_mib, 100)}
    programs = {"cpu_milli": wanted.cpu_milli // 4, "host_memory_mib": wanted.host_memory_mib // 4}
    return replace(wanted, count=min(wanted.count, 2), **anywhere, **sizes, **programs)


def eligible(each: DeviceCapacity, on: str, wanted: Demand) -> bool:
    """Whether ``wanted`` may have the device of host ``on`` at all, said in plain words."""
    return (
        each.sharing_mode == wanted.sharing_mode
        and set(wanted.required_traits) <= each.traits
        and not set(wanted.forbidden_traits) & each.traits
        and (not wanted.products or each.product in wanted.products)
        and wanted.host in (None, on)
        and (not wanted.devices or each.device_id in wanted.devices)
    )


def left(each: DeviceCapacity, qos: Qos) -> tuple[int, int]:
    """Compute and memory that a claim of ``qos`` may still have of a device."""
    compute = each.compute_limit - each.compute_granted
    memory = each.memory_limit - each.memory_granted
    if qos == Qos.GUARANTEED:
        compute = min(compute, each.compute_total - each.compute_guaranteed)
        memory = min(memory, each.memory_total - each.memory_guaranteed)
    return compute, memory


def times(each: DeviceCapacity, on: HostCapacity, wanted: Demand) -> int:
    """How many vGPUs of ``wanted`` the device can take, by adding one after the other."""
    if not (eligible(each, on.name, wanted) and each.usable and on.up):
        return 0
    compute, memory = left(each, wanted.qos)
    found = 0
    while found < wanted.count and compute >= wanted.compute and memory >= wanted.memory_mib:
        compute, memory, found = compute - wanted.compute, memory - wanted.memory_mib, found + 1
    return found


def hosts_program(on: HostCapacity, wanted: Demand) -> bool:
    """Whether the host can take the program of ``wanted``."""
    enough = on.cpu_free >= wanted.cpu_milli and on.memory_free >= wanted.host_memory_mib
    return enough and on.up and wanted.host in (None, on.name)


def may_spread(wanted: Demand, remote: bool) -> bool:
    """Whether devices may be of several hosts."""
    bound = wanted.same_host or wanted.linked or wanted.host is not None
    return remote and wanted.tier == Tier.POOL and not bound


def layouts(rooms: Iterable[HostCapacity], wanted: Demand, remote: bool) -> set[tuple[int, int]]:
    """How many hosts and devices a claim can be on, by trying every way to share it out."""
    rooms = list(rooms)
    anywhere = may_spread(wanted, remote)
    programs = {on.name for on in rooms if hosts_program(on, wanted)}
    room = [(on.name, each, times(each, on, wanted)) for on in rooms for each in on.devices]
    found = set()
    for taken in combinations_with_replacement(range(len(room)), wanted.count):
        chosen = [room[number] for number in set(taken)]
        hosts = {on for on, *_ in chosen}
        if not programs or any(taken.count(number) > room[number][2] for number in taken):
            continue
        if not anywhere and (len(hosts) > 1 or not hosts <= programs):
            continue
        if wanted.count > 1 and wanted.same_type and len({each.product for _, each, _ in chosen}) > 1:
            continue
        links = {each.link_group for _, each, _ in chosen}
        if wanted.count > 1 and wanted.linked and (len(links) > 1 or "" in links):
            continue
        found.add((len(hosts), len(chosen)))
    return found


def fits(rooms: Iterable[HostCapacity], wanted: Demand, remote: bool = False) -> bool:
    """Whether there is room for all vGPUs and the program, by trying every group of devices."""
    rooms = list(rooms)
    if wanted.count == 0:
        return any(hosts_program(on, wanted) for on in rooms)
    several = wanted.count > 1
    by_group: dict[tuple[str, str, str], int] = defaultdict(int)
    for on in rooms:
        for each in on.devices:
            if several and wanted.linked and not each.link_group:
                continue
            link = each.link_group if several and wanted.linked else ""
            product = each.product if several and wanted.same_type else ""
            by_group[on.name, link, product] += times(each, on, wanted)
    programs = {on.name for on in rooms if hosts_program(on, wanted)}
    if any(room >= wanted.count and name in programs for (name, _, _), room in by_group.items()):
        return True
    of_product: dict[str, int] = defaultdict(int)
    for (_, _, product), room in by_group.items():
        of_product[product] += room
    enough = any(room >= wanted.count for room in of_product.values())
    return may_spread(wanted, remote) and enough and bool(programs)


def emptied(rooms: Iterable[HostCapacity]) -> list[HostCapacity]:
    """The same hosts and devices with nothing granted and all in order."""
    nothing = {
        "compute_granted": 0,
        "compute_guaranteed": 0,
        "memory_granted": 0,
        "memory_guaranteed": 0,
    }
    return [
        replace(
            on,
            up=True,
            cpu_free=on.cpu_total,
            memory_free=on.memory_total,
            devices=tuple(
                replace(each, usable=True, parts=frozenset(), **nothing) for each in on.devices
            ),
        )
        for on in rooms
    ]


def ordered(rooms: Iterable[HostCapacity]) -> list[HostCapacity]:
    """The rooms as a view yields them."""
    return [
        replace(on, devices=tuple(sorted(on.devices, key=lambda each: each.device_id)))
        for on in sorted(rooms, key=lambda on: on.name)
    ]


def snapshot(view: PoolView) -> list[HostCapacity]:
    return list(view.capacities())


def copied(view: PoolView) -> PoolView:
    """A view of the same that changes on its own, made from nothing but what the first one tells."""
    found = PoolView(view.capacities(), remote=view.remote)
    found.hold(device_id for device_id, at in view.device_index.items() if view.held[at])
    return found


def room_of(view: PoolView, device_id: str) -> DeviceCapacity:
    """One device as it is now."""
    (found,) = (each for on in view.capacities() for each in on.devices if each.device_id == device_id)
    return found
