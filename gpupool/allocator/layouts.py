"""How the vGPUs of a gang are laid out on devices: shared out evenly, or packed on the fewest.

Arrays have one row a host and one column a slot: ``room`` is how many vGPUs a slot can take, ``cost``
what one there costs, NEVER where there is no room. Every row has room for all that are to be laid out.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gpupool.allocator.arrays import across, rows
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.view import Amounts, Rows

NEVER = np.inf
# So many hosts are laid out before it is known whether others may be better.
_LIKELY = 32


class Sums(NamedTuple):
    """Of each host: how many vGPUs and how many of its slots have room, and what they cost there.

    ``most`` is how many vGPUs the slot with most room takes, ``least`` what one costs on the cheapest
    slot, ``cheapest`` how many slots cost that, ``price`` what all cost that there is room for.
    """

    vgpus: Amounts
    slots: Amounts
    most: Amounts
    least: Floats
    cheapest: Amounts
    price: Floats

    @classmethod
    def of(cls, room: Amounts, cost: Floats) -> "Sums":
        """Return the sums of the rows of ``room`` and ``cost``."""
        # Slot by slot: rows are many and short.
        room, cost = np.ascontiguousarray(room.T), np.ascontiguousarray(cost.T)
        some, least = room > 0, cost.min(axis=0, initial=NEVER)
        cheapest = (some & (cost == least)).sum(axis=0)
        total = np.round((room * np.where(some, cost, 0.0)).sum(axis=0), 6)
        most = room.max(axis=0, initial=0)
        return cls(room.sum(axis=0), some.sum(axis=0), most, least, cheapest, total)

    def write(self, hosts: Amounts, found: "Sums") -> None:
        """Replace the sums of ``hosts`` by those ``found``."""
        for each, new in zip(self, found, strict=True):
            each[hosts] = new

    def take(self, hosts: Rows) -> "Sums":
        """Return the sums of ``hosts``."""
        return Sums(
            rows(self.vgpus, hosts),
            rows(self.slots, hosts),
            rows(self.most, hosts),
            rows(self.least, hosts),
            rows(self.cheapest, hosts),
            rows(self.price, hosts),
        )


@dataclass(frozen=True)
class Slots:
    """The slots of ``hosts``, one row each: those ``at`` the given rows of ``room`` and ``cost``."""

    hosts: Amounts
    room: Amounts
    cost: Floats
    sums: Sums
    at: Amounts

    def part(self, some: slice) -> "Slots":
        """Return the slots of some rows."""
        return Slots(self.hosts[some], self.room, self.cost, self.sums.take(some), self.at[some])

    def take(self, some: Amounts) -> tuple[Amounts, Floats]:
        """Return room and cost of some rows."""
        at = self.at.take(some)
        return rows(self.room, at), rows(self.cost, at)


def share_out(room: Amounts, order: Amounts, count: int) -> Amounts:
    """Return how many of ``count`` vGPUs each slot gets on each host: one each before any gets two.

    ``order`` are the slots of each host, those that come first.
    """
    level = _level(room, count)[:, None]
    taken = np.minimum(room, level)
    left = count - taken.sum(axis=1)
    more = np.take_along_axis(room > level, order, axis=1)
    more &= more.cumsum(axis=1) <= left[:, None]
    extra = np.empty_like(more)
    np.put_along_axis(extra, order, more, axis=1)
    return taken + extra


def share_out_cheapest(room: Amounts, cost: Floats, count: int) -> Amounts:
    """Return the same where the cheapest slots come first, of one row of many slots."""
    level = _level(room[None], count)
    taken = np.minimum(room, level)
    left = count - int(taken.sum())
    if left:
        more = np.flatnonzero(room > level)
        prices = cost[more]
        # Those that are among the cheapest in any order; to sort them all would take longer.
        near = np.flatnonzero(prices <= np.partition(prices, left - 1)[left - 1])
        taken[more[near[np.argsort(prices[near], kind="stable")[:left]]]] += 1
    return taken


def _level(room: Amounts, count: int) -> Amounts:
    """Return for each host how many vGPUs every slot that has room gets before ``count`` are given."""
    level = np.zeros(len(room), dtype=np.int64)
    if ((room > 0).sum(axis=1) > count).all():
        return level
    for bit in reversed(range(min(int(room.max(initial=0)), count).bit_length())):
        higher = level + (1 << bit)
        level = np.where(np.minimum(room, higher[:, None]).sum(axis=1) <= count, higher, level)
    return level


def pack(room: Amounts, cost: Floats, count: int) -> Amounts:
    """Return how many of ``count`` vGPUs each slot gets on each host so that the fewest slots get any.

    Among slots that hold as many of those that are left the cheapest is taken.
    """
    # Slots are taken as a whole, those with most room first, until one alone holds all that is left.
    order = np.lexsort((cost, -room))
    largest = np.take_along_axis(room, order, axis=1)
    left = count + largest - largest.cumsum(axis=1)
    last = (largest >= left).argmax(axis=1)[:, None]
    whole = np.arange(room.shape[1]) < last
    taken = np.zeros_like(room)
    np.put_along_axis(taken, order, largest * whole, axis=1)
    left = np.take_along_axis(left, last, axis=1)
    slot = np.where((taken == 0) & (room >= left), cost, NEVER).argmin(axis=1)
    taken[np.arange(len(room)), slot] += left[:, 0]
    return taken


def fewest(slots: Slots, count: int) -> Amounts:
    """Return as few hosts as can be that hold ``count``: the last of them the one that costs least.

    They have room for ``count`` together.
    """
    # Hosts, too, are taken as a whole until one alone holds all that is left.
    sums = slots.sums
    order = np.lexsort((sums.price, sums.slots, -sums.vgpus))
    largest = sums.vgpus.take(order)
    left = count + largest - largest.cumsum()
    last = int((largest >= left).argmax())
    if left[last] == largest[last]:
        return order[: last + 1]
    others = np.sort(order[last:][largest[last:] >= left[last]])
    return np.append(order[:last], _cheapest_host(slots, others, int(left[last])))


def _cheapest_host(slots: Slots, hosts: Amounts, count: int) -> int:
    """Return the first of ``hosts`` that holds ``count`` on the fewest slots, and there for least.

    The likeliest are laid out first, then only those that might be better still.
    """
    sums = slots.sums.take(hosts)
    bounds = -(-count // sums.most), np.round(count * sums.least, 6), hosts
    order = np.lexsort(bounds[::-1])
    likely, others = hosts.take(order[:_LIKELY]), order[_LIKELY:]
    best = _best(slots, likely, count)
    better = np.zeros(len(others), dtype=np.bool_)
    for bound, known in zip(reversed(bounds), reversed(best), strict=True):
        better = (bound[others] < known) | ((bound[others] == known) & better)
    if better.any():
        best = _best(slots, np.append(likely, hosts.take(others[better])), count)
    return best[2]


def _best(slots: Slots, hosts: Amounts, count: int) -> tuple[int, float, int]:
    """Return on how many slots ``count`` are and what they cost on the best host, and which that is."""
    room, cost = slots.take(hosts)
    taken = pack(room, cost, count)
    used, prices = across(taken > 0), price(taken, cost)
    at = int(np.lexsort((hosts, prices, used))[0])
    return int(used[at]), float(prices[at]), int(hosts[at])


def cheapest(slots: Slots, count: int) -> Amounts:
    """Return hosts that have the ``count`` cheapest slots, all that have room where there are fewer."""
    hosts = np.argsort(slots.sums.least, kind="stable")[:count]
    # The cheapest slots of these alone may be enough, and what comes later costs no less.
    enough = slots.sums.cheapest.take(hosts).cumsum().searchsorted(count)
    return np.sort(hosts[: enough + 1])


def places(taken: Amounts, order: Amounts) -> list[int]:
    """Return the slots of one row that are ``taken``, in ``order``: each again after all others."""
    found: list[int] = []
    for turn in range(int(taken.max())):
        found += order[taken[order] > turn].tolist()
    return found


def price(taken: Amounts, cost: Floats) -> Floats:
    """Return what the vGPUs on each host cost together, without what only adding up made different."""
    found: Floats = np.round((taken * np.where(taken > 0, cost, 0.0)).sum(axis=1), 6)
    return found
