"""Scheduling: which waiting claims start now, which running ones make room, what others wait for.

One pass visits the waiting claims in order (see ``order``) and starts each that finds room. The first
that finds none gets a reservation (see ``reservation``). Claims after it fill in behind: they start only
where that is in nobody's way. A claim with a reservation goes first among those of its priority, and is
in the way of no other of them that has one: so only a higher priority puts one off. A large gang under
an endless stream of small claims starts at latest when the claims have ended that ran on its devices
when it became first in line, and no claim of higher priority came.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gpupool.allocator import filters
from gpupool.allocator.claims import Running, Waiting
from gpupool.allocator.demand import Demand
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.memory import Memory
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.order import Kind, Line, Walk
from gpupool.allocator.plan import Plan, no_room
from gpupool.allocator.policy import Policy
from gpupool.allocator.preemption import Preemption
from gpupool.allocator.reservation import (
    NEVER,
    Kept,
    Reservation,
    find,
    fits,
    renew,
    reservation_of,
    reserve,
)
from gpupool.allocator.view import PoolView

__all__ = [
    "Preempt",
    "QueueRules",
    "Running",
    "Scheduler",
    "Start",
    "Wait",
    "Waiting",
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
        self._memory = Memory()

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
        self._memory.look(view, self.occupancy, self.reservations)
        one = _Pass(self, self._memory, shares, policy, now)
        decided = one.run()
        self.reservations = {each.claim_id: each for each in one.kept.reservations}
        self._memory.keep(view, self.occupancy)
        return decided

    def waits(self, view: PoolView, shares: FairShare, now: float) -> list[Wait]:
        """Return all claims that wait, in order, each with the reason, as of the last ``decide``."""
        reasons: dict[Kind, str] = {}
        found: list[Wait] = []
        for claim in self.walk(shares, now):
            kind = self.line.kind(claim.claim_id)
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
        found = no_room(view, kind.demand)
        # The last pass may not have come as far as this kind.
        if kind in self._memory.full or not found.filters[-1][1]:
            return found.reason
        return "claims before it go first"


class _Pass:
    """One pass: what was decided so far."""

    def __init__(
        self, scheduler: Scheduler, memory: Memory, shares: FairShare, policy: Policy, now: float
    ) -> None:
        self._scheduler, self._rules, self._memory = scheduler, scheduler.rules, memory
        self._occupancy, self._view = scheduler.occupancy, scheduler.occupancy.view
        self._shares, self._policy, self._now = shares, policy, now
        self.kept = Kept(self._occupancy)
        # What was kept last time for claims of the priority that is visited, whose turn comes still.
        self._pending: dict[str, Reservation] = {}
        self._priority: int | None = None
        self._unpaid = 0
        self._behind = memory.behind(None)
        self._preemption: Preemption | None = None
        # Of these no claim can have others make room for it.
        self._hopeless: set[tuple[Kind, int, str]] = set()
        self._started: list[str] = []
        self._decided: list[Start | Preempt] = []

    def run(self) -> list[Start | Preempt]:
        """Visit the claims that wait, in order."""
        walk = self._scheduler.walk(self._shares, self._now)
        try:
            for claim in walk:
                kind = self._scheduler.line.kind(claim.claim_id)
                mine = self._turn(claim)
                planned = self._find(claim, kind, mine)
                if planned is not None:
                    self._start(claim, planned)
                elif not self._pass_over(claim, kind, mine, walk):
                    break
        finally:
            self.kept.lift()
        for claim_id in self._started:
            self._scheduler.line.remove(claim_id)
        return self._decided

    def _turn(self, claim: Waiting) -> Reservation | None:
        """Return the claim's reservation; those of its priority that come after it are pending."""
        if claim.priority != self._priority:
            self._priority = claim.priority
            line, known = self._scheduler.line, self._scheduler.reservations
            waits = {claim_id: line.get(claim_id) for claim_id in known}
            self._pending = {
                claim_id: known[claim_id]
                for claim_id, other in waits.items()
                if other is not None and other.priority == claim.priority
            }
            self._keep_pending()
        mine = self._pending.pop(claim.claim_id, None)
        if mine is not None and mine.paid and self._preemption is not None:
            self._preemption.drop(mine)
        return mine

    def _find(self, claim: Waiting, kind: Kind, mine: Reservation | None) -> Plan | None:
        """Return where the claim starts now: beside what is kept, or there too if it ends in time."""
        if kind in self._memory.full:
            return None
        if mine is not None and self._pending:
            return self._find_among(claim, kind, mine)
        if self.kept.reservations:
            found = None if kind in self._behind else self._find_in(kind, self._behind, kept=True)
            if found is not None or not self._ends_in_time(claim.time_limit, self.kept.until):
                return found
        return self._find_in(kind, self._memory.full, kept=False)

    def _find_in(self, kind: Kind, blocked: set[Kind], kept: bool) -> Plan | None:
        """Return a place in the view, less what is kept if it is ``kept``; or remember there is none."""
        if kept:
            self.kept.apply()
        else:
            self.kept.lift()
        found = find(self._view, kind, self._policy)
        if found is None:
            blocked.add(kind)
        return found

    def _find_among(self, claim: Waiting, kind: Kind, mine: Reservation) -> Plan | None:
        """Return the same for a claim with a reservation while others of its priority are pending."""
        if not self._started and self._memory.is_same(mine):
            return None
        self.kept.lift()
        others = Kept(self._occupancy)
        for each in (*self.kept.reservations, *self._pending.values()):
            others.add(each)
        others.apply()
        try:
            found = find(self._view, kind, self._policy)
        finally:
            others.lift()
        if found is None and self._ends_in_time(claim.time_limit, others.until):
            found = find(self._view, kind, self._policy)
        if found is not None:
            return found
        # Those that are pending were promised their places with this one there.
        self.kept.apply()
        return mine.plan if fits(self._view, mine.demand, mine.plan) else None

    def _ends_in_time(self, time_limit: float | None, until: float) -> bool:
        return time_limit is not None and self._now + time_limit <= until

    def _start(self, claim: Waiting, planned: Plan) -> None:
        self._view.take(claim.demand, planned)
        if self._preemption is not None:
            self._preemption.take(claim.demand, planned)
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
        self._started.append(claim.claim_id)
        self._decided.append(Start(claim_id=claim.claim_id, plan=planned))

    def _pass_over(self, claim: Waiting, kind: Kind, mine: Reservation | None, walk: Walk) -> bool:
        """Do what can be done for a claim that found no room; return whether others may go first."""
        if not _is_possible(self._view, kind.demand):
            walk.drop()
            return True
        served = self._renew_paid(mine) or self._preempt(claim, kind) or self._reserve(claim, mine)
        if not self._rules.backfill:
            return False
        if not served and (
            kind in self._memory.full or not self._ends_in_time(walk.shortest, self.kept.until)
        ):
            walk.drop()
        if not self._occupancy.preemptible and self._unpaid >= self._rules.reservations:
            # There is nothing to be done for those that find no room either.
            walk.closed = self._memory.full
        return True

    def _renew_paid(self, mine: Reservation | None) -> bool:
        """Keep on keeping room that others were taken apart for; return whether it is there."""
        if mine is None or not mine.paid or not fits(self._ahead().view, mine.demand, mine.plan):
            return False
        self._keep(mine)
        self._ahead().keep(mine)
        return True

    def _preempt(self, claim: Waiting, kind: Kind) -> bool:
        """Have others make room for the claim; return whether they do."""
        key = kind, claim.priority, claim.project_id
        if not self._occupancy.preemptible or key in self._hopeless:
            return False
        found = self._ahead().victims(claim)
        if found is None:
            self._hopeless.add(key)
            return False
        for claim_id in found.claim_ids:
            victim = self._occupancy.get(claim_id)
            if victim is not None:
                self._occupancy.put(replace(victim, leaving=True))
        self._decided.append(Preempt(claim_id=claim.claim_id, victims=found.claim_ids))
        reservation = reservation_of(claim, found.plan, -NEVER, paid=True)
        self._keep(reservation)
        self._ahead().keep(reservation)
        return True

    def _ahead(self) -> Preemption:
        """Return the pool as it will be when all have left that are leaving."""
        if self._preemption is None:
            # What is kept is taken out of a fork of the view: it may not be out of the view too.
            self.kept.lift()
            self._preemption = Preemption(
                self._occupancy,
                self._shares,
                self._policy,
                projects=self._scheduler.line.projects() | self._occupancy.rates.keys(),
                min_run_time=self._rules.min_run_time,
                now=self._now,
            )
            for each in self.kept.reservations:
                self._preemption.keep(each)
            self._keep_pending()
        return self._preemption

    def _keep_pending(self) -> None:
        """Have pending claims be there for which others are taken apart: the room is theirs."""
        if self._preemption is not None:
            for each in self._pending.values():
                if each.paid:
                    self._preemption.keep(each)

    def _reserve(self, claim: Waiting, mine: Reservation | None) -> bool:
        """Keep room for the claim if it is among the first; return whether it is kept."""
        if not self._rules.backfill or self._unpaid >= self._rules.reservations:
            return False
        before, after, found = self.kept.reservations, list(self._pending.values()), mine
        self.kept.lift()
        if mine is None or mine.paid:
            found = reserve(claim, self._occupancy, [*before, *after], self._policy)
        elif self._started or not self._memory.is_same(mine):
            found = renew(mine, claim, self._occupancy, before, after, self._policy)
        if found is None:
            return False
        self._unpaid += 1
        self._keep(found)
        if self._preemption is not None:
            self._preemption.keep(found)
        return True

    def _keep(self, reservation: Reservation) -> None:
        self.kept.add(reservation)
        self._behind = self._memory.behind(reservation)


def _is_possible(view: PoolView, demand: Demand) -> bool:
    """Return whether the pool could hold a claim if it were empty and in order."""
    return bool(view.remember(("ever", demand), lambda: filters.ever(view, demand)))


def _known(view: PoolView, reservation: Reservation) -> bool:
    """Return whether all that a reservation is of is in the view."""
    planned = reservation.plan
    hosts = planned.host is None or planned.host in view.host_index
    return hosts and all(device_id in view.device_index for device_id in planned.device_ids)


def _alike(project_id: str) -> float:  # noqa: ARG001 - nobody is first
    return 0.0
