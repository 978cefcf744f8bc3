"""Occupancy: the claims that have a place in a pool, and the pool as it will be without some of them."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from gpupool.allocator.claims import Running
from gpupool.allocator.view import Amounts, Flags, Place, PoolView
from gpupool.model.claim import Qos

Floats = NDArray[np.float64]
# One row for each vGPU, and one (slot -1) for the program: CPU and memory of its host.
_ROW = np.dtype(
    [
        ("claim", np.int64),
        ("ends", np.float64),
        ("guaranteed", np.bool_),
        ("host", np.int64),
        ("slot", np.int64),
        ("compute", np.int64),
        ("memory", np.int64),
    ]
)
# The claim of rows that are not in use.
_NOBODY = -1


class Occupancy:
    """The running claims of one pool, in arrays beside those of its view.

    ``bind`` says which view; places in it that a claim has and the view does not know are left out.
    ``rates`` is what each project runs, in percent of a device, and ``preemptible`` how many claims
    may be taken apart for others; both without those that are leaving.
    """

    def __init__(self) -> None:
        self._claims: dict[str, Running] = {}
        self.rates: dict[str, int] = {}
        self.preemptible = 0
        self._view: PoolView | None = None
        self._rows: NDArray[np.void] = np.zeros(0, dtype=_ROW)
        self._unused: list[int] = []
        self._rows_of: dict[str, list[int]] = {}
        self._names: dict[int, str] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, claim_id: str) -> bool:
        return claim_id in self._claims

    def __iter__(self) -> Iterator[Running]:
        return iter(self._claims.values())

    def get(self, claim_id: str) -> Running | None:
        """Return the claim, None when it has no place."""
        return self._claims.get(claim_id)

    def bind(self, view: PoolView) -> None:
        """Have the arrays be about ``view``, which is remembered: it may change in place."""
        if view is not self._view:
            self._view, claims = view, list(self)
            self._rows, self._unused = np.zeros(0, dtype=_ROW), []
            self._rows_of, self._names = {}, {}
            for claim in claims:
                self._write(claim)

    def put(self, claim: Running) -> None:
        """Add a claim, or change the one with its id."""
        self.remove(claim.claim_id)
        self._claims[claim.claim_id] = claim
        self._count(claim, 1)
        if self._view is not None:
            self._write(claim)

    def remove(self, claim_id: str) -> None:
        """Remove a claim, if it is here."""
        claim = self._claims.pop(claim_id, None)
        if claim is not None:
            self._count(claim, -1)
            rows = self._rows_of.pop(claim_id, [])
            if rows:
                del self._names[int(self._rows["claim"][rows[0]])]
            self._rows["claim"][rows] = _NOBODY
            self._unused += rows

    def ends(self) -> Floats:
        """Return the moments at which claims end at latest, ascending, each once.

        Claims that are leaving end at minus infinity, those nobody knows of are left out.
        """
        ends = self._rows["ends"][self._rows["claim"] != _NOBODY]
        return np.unique(ends[ends < np.inf])

    def until(self, moment: float) -> Flags:
        """Return which rows are of claims that end at ``moment`` or before it; infinity is all."""
        return (self._rows["claim"] != _NOBODY) & (self._rows["ends"] <= moment)

    def of(self, claim_ids: Iterable[str]) -> Flags:
        """Return which rows are of these claims."""
        found = np.zeros(len(self._rows), dtype=np.bool_)
        for claim_id in claim_ids:
            found[self._rows_of.get(claim_id, [])] = True
        return found

    def on(self, places: Iterable[Place]) -> Flags:
        """Return which rows are of devices in ``places``, with slot -1 of programs on that host."""
        wanted = np.array(list(places), dtype=np.int64).reshape(-1, 2)
        width = self.view.slots + 1
        at = self._rows["host"] * width + self._rows["slot"]
        return (self._rows["claim"] != _NOBODY) & np.isin(at, wanted[:, 0] * width + wanted[:, 1])

    def ids(self, rows: Flags) -> list[str]:
        """Return the claims that ``rows`` are of, each once, by id."""
        return sorted(self._names[int(claim)] for claim in np.unique(self._rows["claim"][rows]))

    def amounts(self, rows: Flags, guaranteed: bool = False) -> dict[Place, tuple[int, int]]:
        """Return compute and memory (CPU and host memory in slot -1) of ``rows``, added up by place.

        ``guaranteed``: only of guaranteed claims, on devices.
        """
        if guaranteed:
            rows = rows & (self._rows["guaranteed"] | (self._rows["slot"] < 0))
        found: dict[Place, tuple[int, int]] = {}
        for row in self._rows[rows]:
            place = int(row["host"]), int(row["slot"])
            compute, memory = found.get(place, (0, 0))
            found[place] = compute + int(row["compute"]), memory + int(row["memory"])
        return found

    def counts(self, rows: Flags) -> Amounts:
        """Return how many of ``rows`` are of each device (hosts x slots)."""
        chosen = self._rows[rows & (self._rows["slot"] >= 0)]
        found = np.zeros(self.view.exists.shape, dtype=np.int64)
        np.add.at(found, (chosen["host"], chosen["slot"]), 1)
        return found

    @property
    def view(self) -> PoolView:
        """The view that the arrays are about; ``bind`` comes first."""
        if self._view is None:
            raise RuntimeError("not bound to a view")
        return self._view

    def without(self, rows: Flags) -> PoolView:
        """Return the view as it would be if what ``rows`` have were free."""
        found = self.view.fork()
        chosen = self._rows[rows]
        of_devices = chosen["slot"] >= 0
        devices, programs = chosen[of_devices], chosen[~of_devices]
        places = devices["host"], devices["slot"]
        found.compute.give(places, devices["compute"], devices["guaranteed"])
        found.memory.give(places, devices["memory"], devices["guaranteed"])
        np.add.at(found.cpu_free, programs["host"], programs["compute"])
        np.add.at(found.host_memory_free, programs["host"], programs["memory"])
        self._release_parts(found, devices["claim"])
        return found

    def _release_parts(self, view: PoolView, claims: Amounts) -> None:
        for name in (self._names[int(claim)] for claim in np.unique(claims)):
            taken = self._claims[name].plan
            for device_id, part in zip(taken.device_ids, taken.parts, strict=False):
                place = view.device_index.get(device_id)
                if place is not None:
                    view.parts[place] = view.parts[place] - {part}

    def _write(self, claim: Running) -> None:
        rows = self._rows_for(claim)
        if not rows:
            return
        if len(self._unused) < len(rows):
            self._grow(len(rows))
        chosen = [self._unused.pop() for _ in rows]
        self._rows[chosen] = np.array(rows, dtype=_ROW)
        self._rows_of[claim.claim_id] = chosen
        self._names[rows[0][0]] = claim.claim_id

    def _rows_for(self, claim: Running) -> list[tuple[int, float, bool, int, int, int, int]]:
        self._last += 1
        demand, taken = claim.demand, claim.plan
        ends = float("inf") if claim.ends_at is None else claim.ends_at
        start = (self._last, float("-inf") if claim.leaving else ends, demand.qos == Qos.GUARANTEED)
        rows = []
        for number, device_id in enumerate(taken.device_ids):
            size = taken.sizes[number] if taken.sizes else (demand.compute, demand.memory_mib)
            place = self.view.device_index.get(device_id)
            if place is not None:
                rows.append((*start, *place, *size))
        host = None if taken.host is None else self.view.host_index.get(taken.host)
        if host is not None:
            rows.append((*start, host, -1, demand.cpu_milli, demand.host_memory_mib))
        return rows

    def _grow(self, least: int) -> None:
        size = len(self._rows)
        more = np.zeros(max(size, least, 64), dtype=_ROW)
        more["claim"] = _NOBODY
        self._rows = np.concatenate([self._rows, more])
        self._unused += range(size, len(self._rows))

    def _count(self, claim: Running, sign: int) -> None:
        if claim.leaving:
            return
        self.preemptible += sign * claim.preemptible
        rate = self.rates.get(claim.project_id, 0) + sign * claim.rate
        self.rates[claim.project_id] = rate
        if not rate:
            del self.rates[claim.project_id]
