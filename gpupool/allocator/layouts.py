"""How the vGPUs of a gang are laid out on devices: shared out evenly, or packed on the fewest.

Arrays have one row a host and one column a slot: ``room`` is how many vGPUs a slot can take, ``cost``
what one there costs, NEVER where there is no room. Every row has room for all that are to be laid out.
"""

import numpy as np

from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.view import Amounts

NEVER = np.inf


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


def fewest(room: Amounts, cost: Floats, count: int) -> Amounts:
    """Return as few hosts as can be that hold ``count``: the last of them the one that costs least.

    They have room for ``count`` together.
    """
    # Hosts, too, are taken as a whole until one alone holds all that is left.
    of_host = room.sum(axis=1)
    largest = -np.sort(-of_host)
    left = count + largest - largest.cumsum()
    last = int((largest >= left).argmax())
    candidates = np.flatnonzero(of_host >= largest[last])
    order = np.lexsort((*_weight(room[candidates], cost[candidates]), -of_host[candidates]))
    if left[last] == largest[last]:
        return candidates[order[: last + 1]]
    whole = candidates[order[:last]]
    of_host[whole] = 0
    rows = np.flatnonzero(of_host >= left[last])
    taken = pack(room[rows], cost[rows], int(left[last]))
    return np.append(whole, rows[np.lexsort(_weight(taken, cost[rows]))[0]])


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


def _weight(taken: Amounts, cost: Floats) -> tuple[Floats, Amounts]:
    """Return by what hosts are compared, the less important first: price and number of devices."""
    return price(taken, cost), (taken > 0).sum(axis=1)
