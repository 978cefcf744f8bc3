"""Scheduling: which waiting claims start now, which running ones make room, what others wait for.

One pass visits the waiting claims in order (see ``order``) and starts each that finds room. The first
that finds none gets a reservation (see ``reservation``). Claims after it fill in behind: they start only
where that is in nobody's way, so no reservation is put off. A claim with a reservation goes first among
those of its priority. So a large gang under an endless stream of small claims starts at latest when the
claims have ended that ran on its devices when it became first in line, and no claim of higher priority
came.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from gpupool.allocator import filters
from gpupool.allocator.claims import Running, Waiting
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.order import Kind, Line, Walk, kind_of
from gpupool.allocator.plan import Plan, no_room
from gpupool.allocator.policy import Policy
from gpupool.allocator.preemption import Preemption
from gpupool.allocator.reservation import NEVER, Kept, Reservation, find, renew, reservation_of, reserve
from gpupool.allocator.view import PoolView

__all__ = [
    "Preempt",
    "QueueRules",
    "Running",
    "Scheduler",
    "Start",
    "Wait",
    "Waiting",
    "schedule",
]


@dataclass(frozen=True, kw_only=True)
class QueueRules:
    """How a pool's queue decides.

    Without ``backfill`` nothing starts after the first claim that finds no room; without ``fair`` too
    that is strictly first come, first served, within a priority. ``reservations`` is for how many
    claims room is kept. Claims that ran less than ``min_run_time`` seconds are not taken apart for
    others.
    """

    backfill: bool = True
    reservations: int = 1
    min_run_time: float = 300.0
    fair: bool = True


@dataclass(frozen=True, kw_only=True)
class Start:
    """A claim that starts now."""

    claim_id: str
    plan: Plan


@dataclass(frozen=True, kw_only=True)
class Preempt:
    """Claims to take apart for one that waits: it starts in a later pass, its room is kept."""

    claim_id: str
    victims: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A claim that waits on: its place in line from 1, why, and when it starts at latest if known."""

    claim_id: str
    position: int
    reason: str
    starts_at: float | None = None


Decision = Start | Preempt | Wait


def schedule(  # noqa: PLR0917 - all that one pass is about
    view: PoolView,
    waiting: Iterable[Waiting],
    running: Iterable[Running],
    shares: FairShare,
    rules: QueueRules,
    policy: Policy,
    now: float,
) -> list[Decision]:
    """Decide once for all ``waiting``: what starts is taken out of ``view``. See Scheduler.

    What makes room in one pass starts in a later one: keep a Scheduler where there are several passes.
    """
    scheduler = Scheduler(rules)
    scheduler.sync(waiting, running)
    decided = scheduler.decide(view, shares, policy, now)
    return [*decided, *scheduler.waits(view, shares, now)]


class Scheduler:
    """The queue of one pool, over many passes.

    It is told what waits and what runs, and remembers for whom room is kept and which kinds of claims
    found none, so that a pass in which nothing has changed costs little. The same calls give the same
    decisions. Times are seconds of the caller's clock.
    """

    def __init__(self, rules: QueueRules) -> None:
        self.rules = rules
        self.line = Line()
        self.occupancy = Occupancy()
        self.reservations: dict[str, Reservation] = {}
        self._memory = _Memory()

    def wait(self, claim: Waiting) -> None:
        """Have a claim wait; one that had a place has it no more."""
        known = self.line.get(claim.claim_id)
        if known == claim:
            return
        self.forget(claim.claim_id)
        self.line.add(claim)

    def run(self, claim: Running) -> None:
        """Have a claim run, or change what is known of it; it waits no more."""
        if claim.claim_id in self.line:
            self.forget(claim.claim_id)
        if self.occupancy.get(claim.claim_id) != claim:
            self.occupancy.put(claim)

    def forget(self, claim_id: str) -> None:
        """Have a claim neither wait nor run."""
        self.line.remove(claim_id)
        self.occupancy.remove(claim_id)
        self.reservations.pop(claim_id, None)

    def sync(self, waiting: Iterable[Waiting], running: Iterable[Running]) -> None:
        """Have these claims wait and run, and no others."""
        waits = {claim.claim_id: claim for claim in waiting}
        runs = {claim.claim_id: claim for claim in running}
        known = {claim.claim_id for claim in (*self.line, *self.occupancy)}
        for claim_id in sorted(known - waits.keys() - runs.keys()):
            self.forget(claim_id)
        for claim in waits.values():
            self.wait(claim)
        for present in runs.values():
            self.run(present)

    def charge(self, shares: FairShare, start: float, end: float) -> None:
        """Charge all projects for what they run now, as if they had from ``start`` to ``end``."""
        for project, rate in self.occupancy.rates.items():
            shares.charge(project, rate, start, end)

    def decide(
        self, view: PoolView, shares: FairShare, policy: Policy, now: float
    ) -> list[Start | Preempt]:
        """Return what starts and what makes room.

        Starts are taken out of ``view`` and run from now on, victims count as leaving. A caller that
        can't do it gives the room back to the view, and calls ``wait`` or ``run`` with what is so.
        """
        self.occupancy.bind(view)
        self.reservations = {
            claim_id: each for claim_id, each in self.reservations.items() if _known(view, each)
        }
        self._memory.look(view)
        one = _Pass(self, self._memory, shares, policy, now)
        decided = one.run()
        self.reservations = {each.claim_id: each for each in one.kept.reservations}
        self._memory.keep(view)
        return decided

    def waits(self, view: PoolView, shares: FairShare, now: float) -> list[Wait]:
        """Return all claims that wait, in order, each with the reason, as of the last ``decide``."""
        reasons: dict[Kind, str] = {}
        found: list[Wait] = []
        for claim in self.walk(shares, now):
            kind = kind_of(claim)
            if kind not in reasons:
                reasons[kind] = self._reason(view, kind)
            mine = self.reservations.get(claim.claim_id)
            found.append(
                Wait(
                    claim_id=claim.claim_id,
                    position=len(found) + 1,
                    reason=reasons[kind],
                    starts_at=None
                    if mine is None or mine.starts_at == NEVER
                    else max(mine.starts_at, now),
                )
            )
        return found

    def walk(self, shares: FairShare, now: float) -> Walk:
        """Return a walk through the claims that wait, in order."""
        first = list(self.reservations)

        def standing(project_id: str) -> float:
            return shares.standing(project_id, now, self.occupancy.rates.get(project_id, 0))

        return self.line.walk(standing if self.rules.fair else _alike, first)

    def _reason(self, view: PoolView, kind: Kind) -> str:
        if kind in self._memory.full:
            return no_room(view, kind[0]).reason
        return "claims before it go first"


class _Pass:
    """One pass: what was decided so far."""

    def __init__(
        self, scheduler: Scheduler, memory: "_Memory", shares: FairShare, policy: Policy, now: float
    ) -> None:
        self._scheduler, self._rules, self._memory = scheduler, scheduler.rules, memory
        self._occupancy, self._view = scheduler.occupancy, scheduler.occupancy.view
        self._shares, self._policy, self._now = shares, policy, now
        self.kept = Kept(self._occupancy)
        self._behind = memory.behind_of([])
        self._preemption: Preemption | None = None
        # Of these no claim can have others make room for it.
        self._hopeless: set[tuple[Kind, int, str]] = set()
        self._decided: list[Start | Preempt] = []

    def run(self) -> list[Start | Preempt]:
        """Visit the claims that wait, in order."""
        walk, started = self._scheduler.walk(self._shares, self._now), []
        try:
            for claim in walk:
                planned = self._find(claim)
                if planned is not None:
                    self._start(claim, planned)
                    started.append(claim.claim_id)
                elif not self._pass_over(claim, walk):
                    break
        finally:
            self.kept.lift()
        for claim_id in started:
            self._scheduler.line.remove(claim_id)
        return self._decided

    def _find(self, claim: Waiting) -> Plan | None:
        """Return where the claim starts now."""
        kind = kind_of(claim)
        if kind in self._memory.full:
            return None
        if self._is_in_nobodys_way(claim):
            blocked = self._memory.full
            self.kept.lift()
        elif kind in self._behind:
            return None
        else:
            blocked = self._behind
            self.kept.apply()
        found = find(self._view, kind, self._policy)
        if found is None:
            blocked.add(kind)
        return found

    def _is_in_nobodys_way(self, claim: Waiting) -> bool:
        if not self.kept.reservations:
            return True
        return claim.time_limit is not None and self._now + claim.time_limit <= self.kept.until

    def _start(self, claim: Waiting, planned: Plan) -> None:
        self._view.take(claim.demand, planned)
        self._occupancy.put(
            Running(
                claim_id=claim.claim_id,
                project_id=claim.project_id,
                demand=claim.demand,
                plan=planned,
                priority=claim.priority,
                bound_at=self._now,
                ends_at=None if claim.time_limit is None else self._now + claim.time_limit,
                preemptible=claim.preemptible,
            )
        )
        self._decided.append(Start(claim_id=claim.claim_id, plan=planned))

    def _pass_over(self, claim: Waiting, walk: Walk) -> bool:
        """Do what can be done for a claim that found no room; return whether others may go first."""
        kind = kind_of(claim)
        if not self._memory.is_possible(self._view, kind):
            walk.drop()
            return True
        self.kept.lift()
        served = self._renew_paid(claim) or self._preempt(claim) or self._reserve(claim)
        if not served and (kind in self._memory.full or self._now + walk.shortest > self.kept.until):
            walk.drop()
        return self._rules.backfill

    def _renew_paid(self, claim: Waiting) -> bool:
        """Keep on keeping room that others were taken apart for; return whether it is there."""
        mine = self._scheduler.reservations.get(claim.claim_id)
        if mine is None or not mine.paid:
            return False
        renewed = renew(mine, claim, self._occupancy, self.kept.reservations, self._policy)
        if renewed is None or not renewed.paid:
            return False
        self._keep(renewed)
        return True

    def _preempt(self, claim: Waiting) -> bool:
        """Have others make room for the claim; return whether they do."""
        key = kind_of(claim), claim.priority, claim.project_id
        if not self._occupancy.preemptible or key in self._hopeless:
            return False
        if self._preemption is None:
            projects = self._scheduler.line.projects() | self._occupancy.rates.keys()
            self._preemption = Preemption(
                self._occupancy,
                self._shares,
                self._policy,
                projects=projects,
                min_run_time=self._rules.min_run_time,
                now=self._now,
            )
        found = self._preemption.victims(claim, self.kept.reservations)
        if found is None:
            self._hopeless.add(key)
            return False
        for claim_id in found.claim_ids:
            victim = self._occupancy.get(claim_id)
            if victim is not None:
                self._occupancy.put(replace(victim, leaving=True))
        self._decided.append(Preempt(claim_id=claim.claim_id, victims=found.claim_ids))
        self._keep(reservation_of(claim, found.plan, -NEVER, paid=True))
        return True

    def _reserve(self, claim: Waiting) -> bool:
        """Keep room for the claim if it is among the first; return whether it is kept."""
        unpaid = sum(not each.paid for each in self.kept.reservations)
        if not self._rules.backfill or unpaid >= self._rules.reservations:
            return False
        mine = self._scheduler.reservations.get(claim.claim_id)
        before = self.kept.reservations
        if mine is None:
            found = reserve(claim, self._occupancy, before, self._policy)
        else:
            found = renew(mine, claim, self._occupancy, before, self._policy)
        if found is None:
            return False
        self._keep(replace(found, paid=False))
        return True

    def _keep(self, reservation: Reservation) -> None:
        self.kept.add(reservation)
        self._behind = self._memory.behind_of(self.kept.reservations)


class _Memory:
    """Which kinds of claims found no room since more of the view became free the last time.

    ``full``: there was none at all. There may be some for others that is kept for a reservation.
    """

    def __init__(self) -> None:
        self.full: set[Kind] = set()
        self._behind: dict[tuple[Reservation, ...], set[Kind]] = {}
        self._used: dict[tuple[Reservation, ...], set[Kind]] = {}
        self._lasting: object = None
        self._mark = -1
        self._state: list[NDArray[Any]] = []

    def behind_of(self, reservations: Sequence[Reservation]) -> set[Kind]:
        """Return which kinds found no room beside these reservations; the pass adds to it."""
        key = tuple(reservations)
        # More reservations leave less room.
        known = self._behind.get(key, set()) | self._used.get(key[:-1], set())
        return self._used.setdefault(key, known)

    def is_possible(self, view: PoolView, kind: Kind) -> bool:
        """Return whether the pool could hold a claim of ``kind`` if it were empty and in order."""
        demand, _ = kind
        return bool(view.remember(("ever", demand), lambda: filters.ever(view, demand)))

    def look(self, view: PoolView) -> None:
        """Forget what may be no longer so, before a pass."""
        # Another object when something of the view changed that does not change with every grant.
        lasting = view.remember(_Memory, object)
        if lasting is not self._lasting or self._has_more(view):
            self.full, self._used = set(), {}
        self._behind, self._used = self._used, {}

    def keep(self, view: PoolView) -> None:
        """Remember how the view is, after a pass."""
        lasting = view.remember(_Memory, object)
        hosts, mark = view.changed_since(self._mark if lasting is self._lasting else -1)
        if lasting is not self._lasting:
            self._state = [each.copy() for each in _state(view)]
        for before, now in zip(self._state, _state(view), strict=True):
            before[hosts] = now[hosts]
        self._lasting, self._mark = lasting, mark

    def _has_more(self, view: PoolView) -> bool:
        """Return whether something is free or in order that was not."""
        hosts, _ = view.changed_since(self._mark)
        pairs = zip(self._state, _state(view), strict=True)
        return any(bool((now[hosts] > before[hosts]).any()) for before, now in pairs)


def _state(view: PoolView) -> list[NDArray[Any]]:
    """Return all of which more is room for more, by host."""
    compute, memory = view.compute, view.memory
    of_devices = (compute.free, compute.spare, memory.free, memory.spare, ~view.held)
    return [*of_devices, view.cpu_free, view.host_memory_free]


def _known(view: PoolView, reservation: Reservation) -> bool:
    """Return whether all that a reservation is of is in the view."""
    planned = reservation.plan
    hosts = planned.host is None or planned.host in view.host_index
    return hosts and all(device_id in view.device_index for device_id in planned.device_ids)


def _alike(project_id: str) -> float:  # noqa: ARG001 - nobody is first
    return 0.0
