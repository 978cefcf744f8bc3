"""Victim costs: what claims that may be taken apart hold of each device, and what room there costs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpupool.allocator.demand import Demand
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.view import Amounts, Flags, Place, PoolView
from gpupool.model.claim import Qos

# A place, what is short there (0: compute, 1: memory), and whether of what is guaranteed.
Row = tuple[Place, int, bool]
# What no number of claims can make room for costs more than all work that was ever lost.
TOO_DEAR = 1e30


class VictimCosts:
    """What ``legal`` claims (flags by number) hold, where taking one apart loses ``lost`` by number."""

    def __init__(self, occupancy: Occupancy, legal: Flags, lost: Floats) -> None:
        rows = occupancy.rows[occupancy.of_numbers(legal)]
        self._width = occupancy.claims["width"].copy()
        self._lost = lost
        # What a claim has of one device in several vGPUs goes together.
        slots = occupancy.view.slots + 1
        places = rows["host"] * slots + rows["slot"] + 1
        width = max(len(occupancy.view.hosts) * slots, 1)
        keys, group = np.unique(rows["claim"] * width + places, return_inverse=True)
        claim, host, slot = keys // width, keys % width // slots, keys % slots - 1
        amounts = np.zeros((len(_LINES), len(keys)), dtype=np.int64)
        for line, (part, only) in enumerate(_LINES):
            np.add.at(amounts[line], group, rows[part] * rows["guaranteed"] if only else rows[part])
        # By place, the cheapest first; those that are equal in all of this may be in any order.
        order = np.lexsort((*-amounts, lost[claim], slot, host))
        self._keys, self._amounts = np.stack([claim, host, slot])[:, order], amounts[:, order]
        self._slots, self._places = slots, (host * slots + slot + 1)[order]

    def costs(self, view: PoolView, demand: Demand, allowed: Flags) -> Floats:
        """Return what work is lost to have room for one vGPU on each device, at most.

        That is if the cheapest claims go one by one; 0 where there is room, beyond measure where there
        will be none. What goes together on several devices is shared out among the vGPUs of ``demand``.
        """
        short = _short(view, demand)
        claim, host, slot = self._keys
        counted = (slot >= 0) & allowed[claim]
        claim, host, slot = claim[counted], host[counted], slot[counted]
        gone = _running_sums(self._amounts[:, counted], host * view.slots + slot)
        enough = (gone >= short[:, host, slot]).all(axis=0)
        share = np.minimum(self._width[claim], max(demand.count, 1))
        lost = _running_sums(np.stack([self._lost[claim] + 0.001]) / share, host * view.slots + slot)[0]
        found = np.where((short > 0).any(axis=0), TOO_DEAR, 0.0)
        # The first that suffices is written last.
        at = np.flatnonzero(enough & (found[host, slot] > 0))[::-1]
        found[host[at], slot[at]] = lost[at]
        return found

    def shortage(
        self, view: PoolView, demand: Demand, wanted: dict[Place, tuple[int, int]]
    ) -> dict[Row, int]:
        """Return what is missing of ``wanted`` at places (CPU and memory of the host in slot -1)."""
        found: dict[Row, int] = {}
        for place, amounts in wanted.items():
            for (part, only), left in _left(view, place).items():
                counts = not only or (demand.qos == Qos.GUARANTEED and place[1] >= 0)
                # A claim that asks for none of it does not care how little there is.
                if counts and amounts[part] and left < amounts[part]:
                    found[place, part, only] = amounts[part] - left
        return found

    def gains(self, short: list[Row], allowed: Flags) -> dict[int, list[int]]:
        """Return how much of each shortage is gone with each of the ``allowed`` claims, by number."""
        found: dict[int, list[int]] = {}
        for row, ((host, slot), part, only) in enumerate(short):
            at = host * self._slots + slot + 1
            start, end = np.searchsorted(self._places, [at, at + 1]).tolist()
            gains = self._amounts[2 * part + only, start:end].tolist()
            for number, gain in zip(self._keys[0, start:end].tolist(), gains, strict=True):
                if allowed[number]:
                    found.setdefault(number, [0] * len(short))[row] = gain
        return found


# What is counted: of all, and of what is guaranteed.
_LINES = (("compute", False), ("compute", True), ("memory", False), ("memory", True))


def _left(view: PoolView, place: Place) -> dict[tuple[int, bool], int]:
    """Return what is left of compute (0) and memory (1) of a place, of all and of the guaranteed."""
    host, slot = place
    if slot < 0:
        return {(0, False): int(view.cpu_free[host]), (1, False): int(view.host_memory_free[host])}
    found = {}
    for part, shares in enumerate((view.compute, view.memory)):
        found[part, False] = int(shares.limit[place] - shares.granted[place])
        found[part, True] = int(shares.total[place] - shares.guaranteed[place])
    return found


def _short(view: PoolView, demand: Demand) -> Amounts:
    """Return what one vGPU lacks on each device, by line of ``_LINES``; not above 0 is nothing."""
    found = []
    for shares, wanted in ((view.compute, demand.compute), (view.memory, demand.memory_mib)):
        found.append(wanted - (shares.limit - shares.granted))
        left = wanted - (shares.total - shares.guaranteed)
        found.append(left if demand.qos == Qos.GUARANTEED else np.full_like(left, -1))
    return np.stack(found)


def _running_sums(lines: NDArray[Any], groups: Amounts) -> NDArray[Any]:
    """Return the sums of each line up to each column, anew for each group of equal neighbours."""
    sums = lines.cumsum(axis=1)
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    before = (sums - lines)[:, first]
    return sums - np.repeat(before, np.diff(first, append=len(groups)), axis=1)
