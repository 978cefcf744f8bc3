"""Plans: where the vGPUs of a claim and its program go, or why there is no room."""

from dataclasses import dataclass, replace

import numpy as np

from gpupool.allocator import filters, geometry
from gpupool.allocator.demand import Demand
from gpupool.allocator.filters import Counts
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.policy import Policy
from gpupool.allocator.ranking import NEVER, Fit, gang_cost, pack, ranking, share_out
from gpupool.allocator.rooms import Part
from gpupool.allocator.view import Amounts, Place, PoolView
from gpupool.model.claim import Layout


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One device for each vGPU of the claim, in the order of the vGPUs' indexes.

    ``host`` is the program's, where its CPU and memory are taken. ``sizes`` (percent, MiB) and
    ``parts`` say what is taken of devices that are not cut freely; empty for those that are.
    """

    host: str | None
    device_ids: tuple[str, ...]
    remote: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NoRoom:
    """Why a claim has no place.

    ``filters`` are what devices (hosts, for a claim without vGPUs) had to pass, in order, each with
    how many were left after it. ``impossible`` when the pool could not hold the claim even empty,
    with every device and host in order; the filters then are about that empty pool. A pool without
    devices is never impossible.
    """

    reason: str
    impossible: bool
    filters: Counts


def plan(view: PoolView, demand: Demand, policy: Policy) -> Plan | NoRoom:
    """Return places for all ``demand.count`` vGPUs and for the program, or NoRoom.

    Everything is on one host where that is possible; else, where the view and the claim allow it,
    devices may be of several hosts and of others than the program's. vGPUs go to different devices
    where there are enough that fit, else they share. Where the layout is to pack they are on the fewest
    hosts, and there on the fewest devices; where it is to spread on as many devices as there are, and
    those on as many hosts as the view and the claim allow. The same view and demand give the same plan.
    """
    return place(view, demand, policy) or no_room(view, demand)


def place(view: PoolView, demand: Demand, policy: Policy) -> Plan | None:
    """Return the plan, or None: ``plan`` without the reason, which costs more than most plans."""
    if demand.count == 0:
        host = ranking(view, demand, policy, program=True).best()
        return None if host is None else Plan(host=view.hosts[host], device_ids=())
    anywhere = filters.may_spread(view, demand)
    if anywhere and demand.count > 1 and demand.layout == Layout.SPREAD:
        chosen = None
    elif demand.count > 1 and (demand.linked or demand.same_type):
        chosen = _grouped(view, demand, policy)
    else:
        chosen = _on_one_host(view, demand, policy)
    if chosen is None and anywhere:
        chosen = _anywhere(view, demand, policy)
    return None if chosen is None else _plan(view, demand, *chosen)


def no_room(view: PoolView, demand: Demand) -> NoRoom:
    """Return why ``demand`` has no place in ``view``, where it has none."""
    possible = bool(view.remember(("ever", demand), lambda: filters.ever(view, demand)))
    impossible = not possible and len(view) > 0
    counts = filters.counts(view, demand, empty=impossible)
    return NoRoom(reason=_reason(view, demand, counts), impossible=impossible, filters=counts)


def _on_one_host(view: PoolView, demand: Demand, policy: Policy) -> tuple[int, list[Place]] | None:
    """Return the cheapest host for the whole claim and the places on it."""
    ranked = ranking(view, demand, policy, program=True)
    host = ranked.best()
    if host is None:
        return None
    if demand.count == 1:
        return host, [(host, int(ranked.slot[host]))]
    hosts = np.array([host])
    return _gang(view, demand, policy, hosts, filters.slots(view, demand, hosts))[1:]


def _grouped(view: PoolView, demand: Demand, policy: Policy) -> tuple[int, list[Place]] | None:
    """Return the same for devices that have to be of one group, of whichever is cheapest."""
    local = filters.programs(view, demand)
    best: tuple[float, int, list[Place]] | None = None
    for room in filters.groups(view, demand, filters.slots(view, demand)):
        hosts = np.flatnonzero((room.sum(axis=1) >= demand.count) & local)
        if len(hosts):
            found = _gang(view, demand, policy, hosts, room[hosts])
            best = found if best is None or found < best else best
    return None if best is None else best[1:]


def _gang(
    view: PoolView, demand: Demand, policy: Policy, hosts: Amounts, room: Amounts
) -> tuple[float, int, list[Place]]:
    """Return the cheapest of ``hosts``, which all have room: its cost, its index, the places."""
    cost = np.where(room > 0, policy.device_cost(view, demand, hosts, program=True), NEVER)
    total, taken = gang_cost(view, demand, policy, Fit(hosts, room, cost, program=True))
    row = int(total.argmin())
    places = _places(int(hosts[row]), taken[row], np.argsort(cost[row], kind="stable"))
    return float(total[row]), int(hosts[row]), places


def _places(host: int, taken: Amounts, order: Amounts) -> list[Place]:
    """Return the slots of one host, cheapest first, each again after all others."""
    places: list[Place] = []
    for turn in range(int(taken.max())):
        places += [(host, int(slot)) for slot in order if taken[slot] > turn]
    return places


def _anywhere(view: PoolView, demand: Demand, policy: Policy) -> tuple[int, list[Place]] | None:
    """Return a host for the program and places of any hosts, the cheapest first."""
    if demand.count == 1:
        ranked = ranking(view, demand, policy, program=False)
        nearest = ranked.best()
        places = [] if nearest is None else [(nearest, int(ranked.slot[nearest]))]
    else:
        places = _gathered(view, demand, policy)
    if not places:
        return None
    # With the program beside some of its devices fewer are remote.
    programs = filters.programs(view, demand)
    near = [host for host, _ in places if programs[host]]
    if near:
        return max(sorted(set(near)), key=near.count), places
    alone = replace(demand, count=0, compute=0, memory_mib=0)
    host = ranking(view, alone, policy, program=True).best()
    return None if host is None else (host, places)


def _gathered(view: PoolView, demand: Demand, policy: Policy) -> list[Place]:
    """Return the cheapest places for several vGPUs on any hosts; none when there are too few."""
    best: tuple[tuple[float, ...], list[Place]] | None = None
    for room in filters.groups(view, demand, filters.slots(view, demand)):
        if room.sum() < demand.count:
            continue
        hosts = np.flatnonzero(room.any(axis=1))
        cost = policy.device_cost(view, demand, hosts, program=False)
        cost = np.where(room[hosts] > 0, cost, NEVER)
        taken = _shared_out(room[hosts], cost, demand)
        worth = _worth(taken, cost, demand.layout)
        if best is None or worth < best[0]:
            flat = taken.ravel()
            chosen = np.flatnonzero(flat)
            order = chosen[np.argsort(cost.ravel()[chosen], kind="stable")]
            places = [divmod(at, view.slots) for _, at in _places(0, flat, order)]
            best = worth, [(int(hosts[row]), slot) for row, slot in places]
    return [] if best is None else best[1]


def _shared_out(room: Amounts, cost: Floats, demand: Demand) -> Amounts:
    """Return how many vGPUs each slot gets (hosts x slots), on any hosts, as the layout says."""
    taken = np.zeros_like(room)
    hosts = _chosen(room, cost, demand)
    room, cost = room[hosts], cost[hosts]
    flat = room.reshape(1, -1)
    if demand.layout == Layout.PACK:
        taken[hosts] = pack(flat, cost.reshape(1, -1), demand.count).reshape(room.shape)
        return taken
    order = np.argsort(cost, axis=None, kind="stable")
    if demand.layout == Layout.SPREAD:
        # The cheapest device of each host, then the second of each.
        rank = np.argsort(np.argsort(cost, axis=1, kind="stable"), axis=1, kind="stable")
        order = np.lexsort((cost.ravel(), rank.ravel()))
    taken[hosts] = share_out(flat, order.reshape(1, -1), demand.count).reshape(room.shape)
    return taken


def _chosen(room: Amounts, cost: Floats, demand: Demand) -> Amounts:
    """Return the hosts that several vGPUs may be on as the layout says, all of which have room."""
    if demand.layout == Layout.PACK:
        return np.array(_fewest(room, cost, demand.count), dtype=np.int64)
    if demand.layout == Layout.SPREAD:
        # No more than vGPUs, each of which has one of its own then.
        return np.argsort(cost.min(axis=1), kind="stable")[: demand.count]
    return np.arange(len(room))


def _fewest(room: Amounts, cost: Floats, count: int) -> list[int]:
    """Return as few hosts as can be that hold ``count``: the last of them the one that costs least."""
    chosen: list[int] = []
    left, of_host = count, room.sum(axis=1)
    while left > 0:
        most = min(int(of_host.max()), left)
        rows = np.flatnonzero(of_host >= most)
        taken = pack(room[rows], cost[rows], most)
        price = (taken * np.where(taken > 0, cost[rows], 0.0)).sum(axis=1)
        row = int(rows[np.lexsort((price, (taken > 0).sum(axis=1)))[0]])
        chosen.append(row)
        left, of_host[row] = left - most, 0
    return chosen


def _worth(taken: Amounts, cost: Floats, layout: Layout) -> tuple[float, ...]:
    """Return what is compared between groups of devices: how they lie, then what they cost."""
    devices, hosts = int((taken > 0).sum()), int(taken.any(axis=1).sum())
    price = float((taken * np.where(taken > 0, cost, 0.0)).sum())
    if layout == Layout.PACK:
        return hosts, devices, price
    return -devices, -hosts * (layout == Layout.SPREAD), price


def _plan(view: PoolView, demand: Demand, host: int, places: list[Place]) -> Plan:
    sizes, parts = geometry.cut(view, demand, places)
    return Plan(
        host=view.hosts[host],
        device_ids=tuple(view.device_id(place) for place in places),
        remote=sum(place[0] != host for place in places),
        sizes=sizes,
        parts=parts,
    )


def _reason(view: PoolView, demand: Demand, found: Counts) -> str:
    """Return one line: what was asked for, and which filter left how many, up to none."""
    ended = next((at for at, (_, left) in enumerate(found) if left == 0), len(found))
    steps = ", ".join(f"{left} after {name}" for name, left in found[: ended + 1])
    if demand.count == 0:
        return (
            f"no room for {demand.cpu_milli / 1000:g} cores and {demand.host_memory_mib} MiB: "
            f"{len(view.hosts)} hosts in the pool, {steps}"
        )
    return (
        f"no room for {demand.count} x {demand.compute} % and {demand.memory_mib} MiB: "
        f"{len(view)} devices in the pool, {steps}"
    )
