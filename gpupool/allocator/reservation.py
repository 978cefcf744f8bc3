"""Reservations: room that is kept for a claim that found none, until what it waits for has ended."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from gpupool.allocator import geometry
from gpupool.allocator.claims import Waiting
from gpupool.allocator.costs import DeviceCosts
from gpupool.allocator.demand import Demand
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.order import Kind
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import place
from gpupool.allocator.policy import Policy
from gpupool.allocator.view import Place, PoolView
from gpupool.model.claim import Qos
from gpupool.model.device import SharingMode

# Nobody knows when; and the last moment that somebody does.
NEVER = float("inf")
_LAST = float(np.finfo(np.float64).max)
# As so many claims of others one of the same project counts that is waited for last.
_OWN = 10


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """A claim's place to come; it starts at ``starts_at`` at latest, seconds, infinite if not known.

    ``paid``: other claims are taken apart for it.
    """

    claim_id: str
    project_id: str
    demand: Demand
    plan: Plan
    starts_at: float
    paid: bool = False

    @property
    def rate(self) -> int:
        """What it will have, in percent of a device."""
        return self.demand.count * self.demand.compute

    @property
    def whole(self) -> bool:
        """Whether its devices are kept as a whole, for want of knowing what of them it leaves."""
        return self.starts_at == NEVER or self.demand.sharing_mode != SharingMode.SHARED


def find(view: PoolView, kind: Kind, policy: Policy) -> Plan | None:
    """Return a place for a claim of ``kind``, of hosts that refused it only where there is no other."""
    if kind.refused_by:
        with _avoiding(view, kind.refused_by):
            found = place(view, kind.demand, policy)
        if found is not None:
            return found
    return place(view, kind.demand, policy)


class Later:
    """The view at later moments, when claims have ended and those with reservations are there."""

    def __init__(self, occupancy: Occupancy, before: Sequence[Reservation]) -> None:
        self._occupancy = occupancy
        self._view = occupancy.view
        if before:
            self._view = self._view.fork()
            for each in before:
                self._view.take(each.demand, each.plan)
                if each.whole:
                    self._view.hold(each.plan.device_ids)

    def at(self, moment: float) -> PoolView:
        """Return the view when all have ended that end at ``moment`` or before, as far as is known."""
        return self._occupancy.without(self._occupancy.until(moment), self._view)


def reserve(
    claim: Waiting,
    occupancy: Occupancy,
    before: Sequence[Reservation],
    policy: Policy,
    own_last: bool = False,
) -> Reservation | None:
    """Return the earliest place that the claim will have; None if it has none when all have ended.

    Claims end when they said at latest, those that are leaving at once. If the claim needs more than
    that frees, it gets the devices with the fewest claims of unknown end to wait for, and
    ``starts_at`` is infinite; with ``own_last`` it rather waits for claims of other projects than for
    those of its own. ``before`` are reservations that go before it: their room is theirs from now on.
    """
    later, kind = Later(occupancy, before), Kind(claim.demand, claim.refused_by)
    ends = occupancy.ends()
    at = _first(len(ends), lambda number: find(later.at(ends[number]), kind, policy) is not None)
    if at < len(ends):
        planned, starts_at = find(later.at(ends[at]), kind, policy), float(ends[at])
    else:
        own = claim.project_id if own_last else None
        fewest = DeviceCosts(_to_wait_for(occupancy, later, claim.demand, own))
        planned, starts_at = find(later.at(NEVER), kind, fewest), NEVER
    if planned is None:
        return None
    return reservation_of(claim, planned, starts_at)


def reservation_of(claim: Waiting, planned: Plan, starts_at: float, paid: bool = False) -> Reservation:
    """Return the claim's reservation of a place."""
    return Reservation(
        claim_id=claim.claim_id,
        project_id=claim.project_id,
        demand=claim.demand,
        plan=planned,
        starts_at=starts_at,
        paid=paid,
    )


def last_of(occupancy: Occupancy, reservation: Reservation) -> str | None:
    """Return the claim on a reservation's devices with whose end it starts; None when none ends then."""
    if not -NEVER < reservation.starts_at < NEVER:
        return None
    view = occupancy.view
    rows = occupancy.on(needs(view, reservation.demand, reservation.plan))
    found = occupancy.ids(rows & (occupancy.rows["ends"] == reservation.starts_at))
    return found[0] if found else None


def renew(  # noqa: PLR0917 - all that one more look is about
    old: Reservation,
    claim: Waiting,
    occupancy: Occupancy,
    before: Sequence[Reservation],
    after: Sequence[Reservation],
    policy: Policy,
    own_last: bool = False,
) -> Reservation | None:
    """Return what becomes of a reservation: it is kept unless the claim can start sooner elsewhere.

    Not in the way of those ``after`` it, which were made with this one there. Devices that are waited
    for with no end known are kept as long as they are in order: so the claim starts at latest when
    those claims have ended that were on them when they were chosen.
    """
    others = [*before, *after]
    if -NEVER < old.starts_at < NEVER:
        earlier, kind = float(np.nextafter(old.starts_at, -NEVER)), Kind(claim.demand, claim.refused_by)
        if find(Later(occupancy, others).at(earlier), kind, policy) is not None:
            return reserve(claim, occupancy, others, policy, own_last)
    if fits(Later(occupancy, before).at(old.starts_at), old.demand, old.plan):
        return old
    found = reserve(claim, occupancy, others, policy, own_last)
    return reserve(claim, occupancy, before, policy, own_last) if found is None else found


def needs(view: PoolView, demand: Demand, planned: Plan) -> dict[Place, tuple[int, int]]:
    """Return what a plan takes of each device (percent, MiB), and in slot -1 of its program's host."""
    found: dict[Place, tuple[int, int]] = {}
    for share in planned.shares:
        at = view.device_index[share.device_id]
        compute, memory = found.get(at, (0, 0))
        found[at] = compute + share.compute, memory + share.memory_mib
    if planned.host is not None:
        found[view.host_index[planned.host], -1] = demand.cpu_milli, demand.host_memory_mib
    return found


def fits(view: PoolView, demand: Demand, planned: Plan) -> bool:
    """Return whether there is room for a plan, and all that it is of is in order and not held."""
    compute, memory = view.compute.left(demand.qos), view.memory.left(demand.qos)
    for (host, slot), wanted in needs(view, demand, planned).items():
        if slot < 0:
            free = int(view.cpu_free[host]), int(view.host_memory_free[host])
        else:
            free = int(compute[host, slot]), int(memory[host, slot])
        usable = slot < 0 or (view.usable[host, slot] and not view.held[host, slot])
        in_order = view.open[host] and usable
        # What is not asked for may be short.
        if not in_order or any(want and want > left for want, left in zip(wanted, free, strict=True)):
            return False
    return geometry.are_free(view, demand, planned.shares)


class Kept:
    """What of a view is kept for reservations; taken out of the view while ``apply`` lasts.

    Where it is known when a reservation starts, only so much of its devices is kept as would not be
    free again by then; else all that is free of them.
    """

    def __init__(self, occupancy: Occupancy) -> None:
        self._occupancy = occupancy
        self.reservations: list[Reservation] = []
        self.until = NEVER
        self._applied = False
        self._needs: Counter[tuple[Place, int]] = Counter()
        self._kept: Counter[tuple[Place, int]] = Counter()
        self._grants: list[tuple[Demand, Plan]] = []
        self._held: list[str] = []

    def add(self, reservation: Reservation) -> None:
        """Keep room for one more, after those that are here."""
        self.reservations.append(reservation)
        # What ends by then is in nobody's way; nothing is where nobody knows when one starts.
        self.until = min(self.until, -NEVER if reservation.starts_at == NEVER else reservation.starts_at)
        view, demand = self._occupancy.view, reservation.demand
        wanted = needs(view, demand, reservation.plan)
        whole = reservation.whole
        freed = {} if whole else self._freed(reservation, wanted)
        kept: dict[tuple[int, int], list[str]] = {}
        grants = []
        for at, amounts in wanted.items():
            more = self._more(at, 0, amounts, freed), self._more(at, 1, amounts, freed)
            if at[1] < 0:
                grants.append(_cpu(view.hosts[at[0]], *more))
            elif not whole:
                kept.setdefault(more, []).append(view.device_id(at))
        grants += [_share(demand.qos, *more, ids) for more, ids in kept.items() if any(more)]
        held = [view.device_id(at) for at in wanted if whole and at[1] >= 0 and not view.held[at]]
        self._grants += grants
        self._held += held
        if self._applied:
            self._take(held, grants)

    def apply(self) -> None:
        """Take what is kept out of the view, if it is in."""
        if not self._applied:
            self._applied = True
            self._take(self._held, self._grants)

    def lift(self) -> None:
        """Put what is kept back into the view, if it is out."""
        if self._applied:
            self._applied = False
            view = self._occupancy.view
            view.hold(self._held, held=False)
            for demand, granted in self._grants:
                view.give(demand, granted)

    def _take(self, held: Iterable[str], grants: Iterable[tuple[Demand, Plan]]) -> None:
        view = self._occupancy.view
        view.hold(held)
        for demand, granted in grants:
            view.take(demand, granted)

    def _freed(self, reservation: Reservation, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
        """Return what is free again of ``places`` by the start that is not free yet."""
        rows = self._occupancy.on(places) & self._occupancy.until(reservation.starts_at)
        return self._occupancy.amounts(rows, reservation.demand.qos == Qos.GUARANTEED)

    def _more(
        self, at: Place, part: int, wanted: tuple[int, int], freed: dict[Place, tuple[int, int]]
    ) -> int:
        """Return how much more is to be kept of compute (part 0) or memory (1) of a place."""
        self._needs[at, part] += wanted[part]
        back = freed.get(at, (0, 0))[part]
        more = max(self._needs[at, part] - back - self._kept[at, part], 0)
        self._kept[at, part] += more
        return more


def _first(count: int, holds: Callable[[int], bool]) -> int:
    """Return the first number below ``count`` from which on ``holds``, ``count`` if there is none."""
    # The next end is what most claims wait for: look near first, then further in doubled steps.
    low, high = 0, 1
    while high <= count and not holds(high - 1):
        low, high = high, high * 2
    high = min(high - 1, count)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _to_wait_for(occupancy: Occupancy, later: Later, demand: Demand, own: str | None) -> Floats:
    """Return how many claims whose end nobody knows a vGPU of ``demand`` waits for on each device.

    Those of project ``own`` count _OWN times more.
    """
    endless = occupancy.until(NEVER) & ~occupancy.until(_LAST)
    counts = occupancy.counts(endless)
    if own is not None:
        projects = occupancy.claims["project"][occupancy.rows["claim"]]
        counts = counts + _OWN * occupancy.counts(endless & (projects == occupancy.project(own)))
    view = later.at(_LAST)
    compute, memory = view.compute.left(demand.qos), view.memory.left(demand.qos)
    fits = (compute >= demand.compute) & (memory >= demand.memory_mib)
    # As a second thought the emptier device: less than one claim more or less.
    taken = 1 - compute / np.maximum(view.compute.limit, 1)
    found: Floats = np.where(fits, 0.0, counts + taken / 2)
    return found


def is_known(view: PoolView, reservation: Reservation) -> bool:
    """Return whether all that a reservation is of is in the view."""
    planned = reservation.plan
    hosts = planned.host is None or planned.host in view.host_index
    return hosts and all(device_id in view.device_index for device_id in planned.device_ids)


def _cpu(host: str, cpu_milli: int, memory_mib: int) -> tuple[Demand, Plan]:
    """Return what takes CPU and memory of a host."""
    demand = Demand(count=0, compute=0, memory_mib=0, cpu_milli=cpu_milli, host_memory_mib=memory_mib)
    return demand, Plan(host=host, shares=())


def _share(qos: Qos, compute: int, memory_mib: int, ids: Sequence[str]) -> tuple[Demand, Plan]:
    """Return what takes a share of each of some devices."""
    demand = Demand(count=len(ids), compute=compute, memory_mib=memory_mib, qos=qos)
    return demand, Plan(host=None, shares=demand.shares(ids))


@contextmanager
def _avoiding(view: PoolView, names: Iterable[str]) -> Iterator[None]:
    """Keep everything from being placed on some hosts meanwhile."""
    hosts = [view.host_index[name] for name in sorted(names) if name in view.host_index]
    places = [(host, slot) for host in hosts for slot in range(view.slots)]
    held = [view.device_id(at) for at in places if view.exists[at] and not view.held[at]]
    programs = [
        _cpu(view.hosts[host], int(view.cpu_free[host]) + 1, int(view.host_memory_free[host]) + 1)
        for host in hosts
    ]
    view.hold(held)
    for demand, granted in programs:
        view.take(demand, granted)
    try:
        yield
    finally:
        view.hold(held, held=False)
        for demand, granted in programs:
            view.give(demand, granted)
