"""Passes: one visit to each claim that waits, in order, and what is decided about it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from gpupool.allocator import elastic, filters
from gpupool.allocator.claims import Running, Waiting
from gpupool.allocator.debts import MOST, Debts
from gpupool.allocator.decisions import Decided, Preempt, QueueRules, Start
from gpupool.allocator.demand import Demand
from gpupool.allocator.elastic import Elastic
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.order import Kind, Line, Standing, Walk
from gpupool.allocator.pass_cache import Memory
from gpupool.allocator.plan import Plan
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


class Queue(Protocol):
    """What a pass has of the queue, see ``scheduling.Scheduler``."""

    rules: QueueRules
    line: Line
    occupancy: Occupancy
    elastic: Elastic
    reservations: dict[str, Reservation]

    def contenders(self) -> set[str]:
        """Return the projects with claims that would start now if nothing else were there."""

    def walk(self, shares: FairShare, now: float) -> Walk:
        """Return a walk through the claims that wait, in order."""

    def standing(self, shares: FairShare, now: float) -> Standing:
        """Return how much of its part each project has had."""


class Pass:
    """One pass: what was decided so far."""

    def __init__(  # noqa: PLR0917 - all that a pass is about
        self,
        scheduler: Queue,
        memory: Memory,
        shares: FairShare,
        policy: Policy,
        now: float,
        served: defaultdict[int, set[str]],
    ) -> None:
        self._scheduler, self._rules, self._memory = scheduler, scheduler.rules, memory
        self._occupancy, self._view = scheduler.occupancy, scheduler.occupancy.view
        self._shares, self._policy, self._now = shares, policy, now
        self.kept = Kept(self._occupancy)
        # Reservations of the last pass, for claims of this level whose turn is still to come.
        self._pending: dict[str, Reservation] = {}
        self._level: int | None = None
        # Projects of which claims were started now, by level; and those of that level.
        self._served_by_level = served
        self._served: set[str] = set()
        # Claims that have room kept for them in this pass only.
        self._passing: set[str] = set()
        self._unpaid = 0
        owed = scheduler.line.projects() if self._rules.fair and self._rules.reservations else ()
        self._debts = Debts(shares, self._occupancy, owed, now)
        self._behind = memory.behind(None)
        self._preemption: Preemption | None = None
        # Of these no claim can have others make room for it.
        self._hopeless: set[tuple[Kind, int, str]] = set()
        self._started: list[str] = []
        self.decided: list[Decided] = []
        # What elastic claims got beside that.
        self.grown: dict[str, list[Plan]] = {}
        self.settled = False

    @property
    def lasting(self) -> dict[str, Reservation]:
        """The reservations that the next pass begins with."""
        kept = self.kept.reservations
        return {each.claim_id: each for each in kept if each.claim_id not in self._passing}

    def run(self, last: bool) -> None:
        """Visit the claims that wait, in order; elastic ones grow if it is ``last`` or ``settled``."""
        walk, may_grow = self._scheduler.walk(self._shares, self._now), False
        try:
            for claim in walk:
                kind = self._scheduler.line.kind(claim.claim_id)
                mine = self._turn(claim)
                planned = self._find(claim, kind, mine)
                if planned is not None:
                    self._start(claim, self._roomiest(claim, mine, planned))
                elif not self._pass_over(claim, kind, mine, walk):
                    break
            else:
                may_grow = True
            self.settled = self.lasting == self._scheduler.reservations
            if may_grow and (last or self.settled):
                self._grow()
        finally:
            self.kept.lift()
        for claim_id in self._started:
            self._scheduler.line.remove(claim_id)

    def _turn(self, claim: Waiting) -> Reservation | None:
        """Return the claim's reservation; those of its level that come after it are pending."""
        line = self._scheduler.line
        level = line.level(claim.claim_id)
        if level != self._level:
            self._level, self._served = level, self._served_by_level[level]
            self._pending = {
                claim_id: each
                for claim_id, each in self._scheduler.reservations.items()
                if claim_id in line and line.level(claim_id) == level
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
        # Most find none whatever is kept: that is cheaper to see than what is kept for all others.
        if self._find_in(kind, self._memory.full, kept=False) is None:
            return None
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

    def _roomiest(self, claim: Waiting, mine: Reservation | None, planned: Plan) -> Plan:
        """Return where an elastic claim has more room to grow, if it starts where nothing is kept."""
        if claim.max_count is None or mine is not None:
            return planned
        self.kept.apply()
        if not fits(self._view, claim.demand, planned):
            return planned

        def search(demand: Demand) -> Plan | None:
            return find(self._view, Kind(demand, claim.refused_by), self._policy)

        return elastic.roomiest(self._view, claim.demand, claim.max_count, planned, search)

    def _grow(self) -> None:
        """Let claims that may have more take what is left beside what is kept for others."""
        known = self._scheduler.elastic
        if not known.may_grow():
            return
        self.kept.apply()
        standing = self._scheduler.standing(self._shares, self._now)
        for claim_id, more in known.grow(self._view, self._policy, standing, self._behind, self._now):
            self._occupancy.put(more)
            self.grown.setdefault(claim_id, []).append(more.plan)

    def _ends_in_time(self, time_limit: float | None, until: float) -> bool:
        return time_limit is not None and self._now + time_limit <= until

    def _start(self, claim: Waiting, planned: Plan) -> None:
        self._view.take(claim.demand, planned)
        if self._preemption is not None:
            self._preemption.take(claim.demand, planned)
        started = Running(
            claim_id=claim.claim_id,
            project_id=claim.project_id,
            demand=claim.demand,
            plan=planned,
            priority=claim.priority,
            bound_at=self._now,
            ends_at=None if claim.time_limit is None else self._now + claim.time_limit,
            preemptible=claim.preemptible,
            max_count=claim.max_count,
        )
        self._occupancy.put(started)
        if claim.max_count is not None:
            self._scheduler.elastic.put(started, [])
        self._started.append(claim.claim_id)
        self._served.add(claim.project_id)
        min_count = None if claim.max_count is None else claim.demand.count
        self.decided.append(Start(claim_id=claim.claim_id, plan=planned, min_count=min_count))

    def _pass_over(self, claim: Waiting, kind: Kind, mine: Reservation | None, walk: Walk) -> bool:
        """Do what can be done for a claim that found no room; return whether others may go first."""
        if not filters.ever(self._view, kind.demand):
            walk.drop()
            return True
        served = self._renew_paid(mine) or self._preempt(claim, kind) or self._reserve(claim, mine)
        if not self._rules.backfill:
            return False
        if not served and (
            kind in self._memory.full or not self._ends_in_time(walk.shortest, self.kept.until)
        ):
            walk.drop()
        most = self._rules.reservations + self._debts.most
        if not self._occupancy.preemptible and self._unpaid >= most:
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
        """Preempt others to make room for the claim; return whether that is enough."""
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
        self._scheduler.elastic.leave(found.claim_ids)
        self.decided.append(Preempt(claim_id=claim.claim_id, victims=found.claim_ids))
        reservation = reservation_of(claim, found.plan, -NEVER, paid=True)
        self._keep(reservation)
        self._ahead().keep(reservation)
        return True

    def _ahead(self) -> Preemption:
        """Return the pool as it will be when all have left that are leaving."""
        if self._preemption is None:
            # Room is kept in a fork of the view, so it may not be taken out of the view too.
            self.kept.lift()
            self._preemption = Preemption(
                self._occupancy,
                self._shares,
                self._policy,
                projects=self._scheduler.contenders() | self._occupancy.rates.keys(),
                min_run_time=self._rules.min_run_time,
                min_run_times=self._rules.min_run_times,
                now=self._now,
            )
            for each in self.kept.reservations:
                self._preemption.keep(each)
            self._keep_pending()
        return self._preemption

    def _keep_pending(self) -> None:
        """Add pending claims for which others are taken apart: the room is theirs."""
        if self._preemption is not None:
            for each in self._pending.values():
                if each.paid:
                    self._preemption.keep(each)

    def _reserve(self, claim: Waiting, mine: Reservation | None) -> bool:
        """Keep room for the claim if it is among the first; return whether it is kept."""
        most = self._rules.reservations + self._debts.more(claim.project_id, self.kept.reservations)
        is_kept = mine is not None and not mine.paid
        if not self._rules.backfill or (self._unpaid >= most and not is_kept):
            return False
        before, after, found = self.kept.reservations, list(self._pending.values()), mine
        self.kept.lift()
        own_last = self._debts.is_large(claim.project_id)
        if mine is None or mine.paid:
            found = reserve(claim, self._occupancy, [*before, *after], self._policy, own_last)
        elif self._started or not self._memory.is_same(mine):
            found = renew(mine, claim, self._occupancy, before, after, self._policy, own_last)
        if found is None:
            self._stop_reserving(claim, [*before, *after])
            return False
        if not is_kept and self._comes_after(claim.project_id):
            self._passing.add(claim.claim_id)
        self._unpaid += 1
        self._keep(found)
        if self._preemption is not None:
            self._preemption.keep(found)
        return True

    def _comes_after(self, project_id: str) -> bool:
        """Return whether another project would still be before this one with a claim that comes soon.

        Of that project claims were started in this pass, so more may be on their way, from which room
        for this one would be kept.
        """
        standing = self._scheduler.standing(self._shares, self._now)
        mine = standing(project_id)
        return any(standing(other) < mine for other in self._served - {project_id})

    def _stop_reserving(self, claim: Waiting, kept: Sequence[Reservation]) -> None:
        """Keep no more room in this pass if only room kept for projects that come later is in the way.

        The claim could never have room kept for it if the next of theirs had it again and again.
        """
        standing = self._scheduler.standing(self._shares, self._now)
        mine = standing(claim.project_id)
        earlier = [each for each in kept if standing(each.project_id) <= mine]
        if len(earlier) < len(kept) and reserve(claim, self._occupancy, earlier, self._policy):
            self._unpaid = MOST + self._rules.reservations

    def _keep(self, reservation: Reservation) -> None:
        self.kept.add(reservation)
        self._behind = self._memory.behind(reservation)
