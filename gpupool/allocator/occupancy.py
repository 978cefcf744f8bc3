"""Occupancy: the claims that have a place in a pool, and the pool as it will be without some of them."""

from collections.abc import Iterable, Iterator, Sequence

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
# One row for each claim; ``movable`` while it may be taken apart for others, ``width`` in devices,
# ``loses`` is the work that is lost then, not a number for all since it was bound.
_CLAIM = np.dtype(
    [
        ("movable", np.bool_),
        ("priority", np.int64),
        ("rate", np.int64),
        ("bound", np.float64),
        ("project", np.int64),
        ("width", np.int64),
        ("loses", np.float64),
    ]
)
# The claim of rows that are not in use.
_NOBODY = -1


class _Table:
    """Rows that come and go in place; those not in use are as ``blank`` says."""

    def __init__(self, blank: NDArray[np.void]) -> None:
        self._blank = blank
        self.rows = np.repeat(blank, 0)
        self._unused: list[int] = []

    def add(self, values: Sequence[tuple[object, ...]]) -> list[int]:
        """Add rows and return their numbers."""
        if len(self._unused) < len(values):
            size = len(self.rows)
            more = max(size, len(values), 64)
            self.rows = np.concatenate([self.rows, np.repeat(self._blank, more)])
            self._unused += range(size + more - 1, size - 1, -1)
        numbers = [self._unused.pop() for _ in values]
        self.rows[numbers] = np.array(values, dtype=self.rows.dtype)
        return numbers

    def remove(self, numbers: list[int]) -> None:
        """Remove rows by number."""
        self.rows[numbers] = self._blank
        self._unused += numbers


class Occupancy:
    """The running claims of one pool, in arrays beside those of its view.

    ``bind`` says which view; places in it that a claim has and the view does not know are left out.
    ``rates`` is what each project runs, in percent of a device, and ``preemptible`` how many claims
    may be taken apart for others; both without those that are leaving. ``version`` changes with every
    change, ``sooner`` when a claim is known to end sooner than was known before.
    """

    def __init__(self) -> None:
        self._claims: dict[str, Running] = {}
        self.rates: dict[str, int] = {}
        self.preemptible = 0
        self.version = 0
        self.sooner = 0
        self._view: PoolView | None = None
        self._projects: dict[str, int] = {}
        self._clear()

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
        """Fill the arrays from ``view``, which is remembered: it may change in place."""
        if view is not self._view:
            self._view = view
            self._clear()
            for claim in self:
                self._write(claim)

    def put(self, claim: Running) -> None:
        """Add a claim, or change the one with its id."""
        before = self._claims.get(claim.claim_id)
        self.sooner += before is not None and _ends(claim) < _ends(before)
        self.remove(claim.claim_id)
        self._claims[claim.claim_id] = claim
        self._count(claim, 1)
        if self._view is not None:
            self._write(claim)

    def remove(self, claim_id: str) -> None:
        """Remove a claim, if it is here."""
        claim = self._claims.pop(claim_id, None)
        if claim is None:
            return
        self._count(claim, -1)
        number = self._numbers.pop(claim_id, None)
        if number is not None:
            rows = self._shares_of.pop(number)
            for row, place in zip(rows, self._places_of(rows), strict=True):
                self._rows_at[place].remove(row)
            self._shares.remove(rows)
            self._table.remove([number])
            self._with_parts.discard(number)
            del self._names[number]

    def ends(self) -> Floats:
        """Return the moments at which claims end at latest, ascending, each once.

        Claims that are leaving end at minus infinity, those nobody knows of are left out.
        """
        ends = self.rows["ends"][self.rows["claim"] != _NOBODY]
        return np.unique(ends[ends < np.inf])

    def until(self, moment: float) -> Flags:
        """Return which rows are of claims that end at ``moment`` or before it; infinity is all."""
        return (self.rows["claim"] != _NOBODY) & (self.rows["ends"] <= moment)

    def of(self, claim_ids: Iterable[str]) -> Flags:
        """Return which rows are of these claims."""
        found = np.zeros(len(self.rows), dtype=np.bool_)
        for number in (self._numbers.get(claim_id, _NOBODY) for claim_id in claim_ids):
            found[self._shares_of.get(number, [])] = True
        return found

    def of_numbers(self, claims: Flags) -> Flags:
        """Return which rows are of claims whose flag, by number, is set; later ones have none."""
        wanted = np.zeros(len(self.claims) + 1, dtype=np.bool_)
        wanted[: len(claims)] = claims
        # The last stands for nobody, whose number is -1.
        return wanted[self.rows["claim"]]

    def on(self, places: Iterable[Place]) -> Flags:
        """Return which rows are of devices in ``places``, with slot -1 of programs on that host."""
        found = np.zeros(len(self.rows), dtype=np.bool_)
        for place in places:
            found[list(self._rows_at.get(place, ()))] = True
        return found

    def ids(self, rows: Flags) -> list[str]:
        """Return the claims that ``rows`` are of, each once, by id."""
        return sorted(self.name(int(number)) for number in np.unique(self.rows["claim"][rows]))

    def name(self, number: int) -> str:
        """Return the id of the claim with a number in ``rows``."""
        return self._names[number]

    def project(self, project_id: str) -> int:
        """Return the number in ``claims`` of a project."""
        return self._projects.setdefault(project_id, len(self._projects))

    @property
    def rows(self) -> NDArray[np.void]:
        """What is taken: one row for each vGPU and program, of nobody those with claim -1."""
        return self._shares.rows

    @property
    def claims(self) -> NDArray[np.void]:
        """The claims by number; those of no claim are not movable."""
        return self._table.rows

    def amounts(self, rows: Flags, guaranteed: bool = False) -> dict[Place, tuple[int, int]]:
        """Return compute and memory (CPU and host memory in slot -1) of ``rows``, added up by place.

        ``guaranteed``: only of guaranteed claims, on devices.
        """
        if guaranteed:
            rows = rows & (self.rows["guaranteed"] | (self.rows["slot"] < 0))
        found: dict[Place, tuple[int, int]] = {}
        for row in self.rows[rows]:
            place = int(row["host"]), int(row["slot"])
            compute, memory = found.get(place, (0, 0))
            found[place] = compute + int(row["compute"]), memory + int(row["memory"])
        return found

    def counts(self, rows: Flags) -> Amounts:
        """Return how many of ``rows`` are of each device (hosts x slots)."""
        chosen = self.rows[rows & (self.rows["slot"] >= 0)]
        found = np.zeros(self.view.exists.shape, dtype=np.int64)
        np.add.at(found, (chosen["host"], chosen["slot"]), 1)
        return found

    @property
    def is_bound(self) -> bool:
        """Whether ``bind`` was called."""
        return self._view is not None

    @property
    def view(self) -> PoolView:
        """The view that the arrays are about; ``bind`` comes first."""
        if self._view is None:
            raise RuntimeError("not bound to a view")
        return self._view

    def without(self, rows: Flags, view: PoolView | None = None) -> PoolView:
        """Return the view, or a fork of it, as it would be if what ``rows`` have were free."""
        found = (self.view if view is None else view).fork()
        chosen = self.rows[rows]
        of_devices = chosen["slot"] >= 0
        devices, programs = chosen[of_devices], chosen[~of_devices]
        places = devices["host"], devices["slot"]
        found.compute.give(places, devices["compute"], devices["guaranteed"])
        found.memory.give(places, devices["memory"], devices["guaranteed"])
        np.add.at(found.cpu_free, programs["host"], programs["compute"])
        np.add.at(found.host_memory_free, programs["host"], programs["memory"])
        self._release_parts(found, devices["claim"])
        return found

    def _release_parts(self, view: PoolView, numbers: Amounts) -> None:
        if not self._with_parts:
            return
        for number in self._with_parts.intersection(np.unique(numbers).tolist()):
            for share in self._claims[self._names[number]].plan.shares:
                place = view.device_index.get(share.device_id)
                if place is not None and share.part is not None:
                    view.give_part(place, share.part)

    def _clear(self) -> None:
        """Remove all rows."""
        nobody = np.zeros(1, dtype=_ROW)
        nobody["claim"] = _NOBODY
        self._shares, self._table = _Table(nobody), _Table(np.zeros(1, dtype=_CLAIM))
        # Numbers of the rows of a claim, by its own number; claims by number and numbers by claim.
        self._shares_of: dict[int, list[int]] = {}
        self._rows_at: dict[Place, set[int]] = {}
        self._names: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._with_parts: set[int] = set()

    def _write(self, claim: Running) -> None:
        row = (
            claim.preemptible and not claim.leaving,
            claim.priority,
            claim.rate,
            claim.bound_at,
            self.project(claim.project_id),
            len(set(claim.plan.device_ids)),
            np.nan if claim.loses is None else claim.loses,
        )
        (number,) = self._table.add([row])
        self._names[number], self._numbers[claim.claim_id] = claim.claim_id, number
        rows = self._shares_of[number] = self._shares.add(self._taken(number, claim))
        for taken, place in zip(rows, self._places_of(rows), strict=True):
            self._rows_at.setdefault(place, set()).add(taken)
        if any(share.part for share in claim.plan.shares):
            self._with_parts.add(number)

    def _places_of(self, rows: list[int]) -> list[Place]:
        chosen = self.rows[rows]
        return list(zip(chosen["host"].tolist(), chosen["slot"].tolist(), strict=True))

    def _taken(self, number: int, claim: Running) -> list[tuple[object, ...]]:
        demand, taken = claim.demand, claim.plan
        start = (number, _ends(claim), demand.qos == Qos.GUARANTEED)
        rows: list[tuple[object, ...]] = []
        for share in taken.shares:
            place = self.view.device_index.get(share.device_id)
            if place is not None:
                rows.append((*start, *place, share.compute, share.memory_mib))
        host = None if taken.host is None else self.view.host_index.get(taken.host)
        if host is not None:
            rows.append((*start, host, -1, demand.cpu_milli, demand.host_memory_mib))
        return rows

    def _count(self, claim: Running, sign: int) -> None:
        self.version += 1
        if claim.leaving:
            return
        self.preemptible += sign * claim.preemptible
        rate = self.rates.get(claim.project_id, 0) + sign * claim.rate
        self.rates[claim.project_id] = rate
        if not rate:
            del self.rates[claim.project_id]


def _ends(claim: Running) -> float:
    """Return when a claim ends at latest: at once if it is leaving."""
    if claim.leaving:
        return float("-inf")
    return float("inf") if claim.ends_at is None else claim.ends_at
