"""Scheduling: which waiting claims start now, which running ones make room, what others wait for.

One pass visits the waiting claims in order (see ``order``) and starts each that finds room. The first
that finds none gets a reservation (see ``reservation``). Claims after it fill in behind: they start only
where that is in nobody's way. A claim with a reservation goes first among those of its priority, and is
in the way of no other of them that has one: so only a higher priority puts one off. A large gang under
an endless stream of small claims starts at latest when the claims have ended that ran on its devices
when it became first in line, and no claim of higher priority came.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from gpupool.allocator import elastic, filters
from gpupool.allocator.claims import Running, Waiting
from gpupool.allocator.decisions import Decided, Grow, Preempt, QueueRules, Start
from gpupool.allocator.elastic import Elastic
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.order import Line, Standing, Walk
from gpupool.allocator.pass_cache import Memory
from gpupool.allocator.passes import Pass
from gpupool.allocator.policy import Policy
from gpupool.allocator.preemption import Preemption
from gpupool.allocator.reasons import Reasons
from gpupool.allocator.reservation import Reservation, is_known
from gpupool.allocator.view import PoolView
from gpupool.allocator.waits import Wait, wait_of

__all__ = [
    "Grow",
    "Preempt",
    "QueueRules",
    "Running",
    "Scheduler",
    "Start",
    "Wait",
    "Waiting",
]


# So many passes at most decide together.
_PASSES = 8


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
        self.elastic = Elastic()
        self.reservations: dict[str, Reservation] = {}
        self._memory = Memory()

    def wait(self, claim: Waiting) -> None:
        """Add a waiting claim; one that had a place loses it."""
        known = self.line.get(claim.claim_id)
        if known == claim:
            return
        self.forget(claim.claim_id)
        self.line.add(claim)

    def run(self, claim: Running, more: Sequence[Running] = ()) -> None:
        """Add a running claim, or change what is known of it; it waits no more.

        ``more`` is each vGPU that an elastic one has beyond its minimum, or that leaves it.
        """
        if claim.claim_id in self.line:
            self.forget(claim.claim_id)
        for name in self.elastic.remove(claim.claim_id):
            self.occupancy.remove(name)
        if more or claim.max_count is not None:
            self.elastic.put(claim, more)
        for each in (claim, *more):
            if self.occupancy.get(each.claim_id) != each:
                self.occupancy.put(each)

    def forget(self, claim_id: str) -> None:
        """Remove a claim, whether it waits or runs."""
        self.line.remove(claim_id)
        for name in (claim_id, *self.elastic.remove(claim_id)):
            self.occupancy.remove(name)
        self.reservations.pop(claim_id, None)

    def sync(self, waiting: Iterable[Waiting], running: Iterable[Running]) -> None:
        """Replace all claims by these waiting and running ones."""
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
        """Charge projects for ``start`` to ``end``, as if what runs and waits now had all that time.

        A project that waits only for what is not to be had now, as of a host that is down, is owed
        nothing for that time: nobody has what it would have.
        """
        bound = self.occupancy.is_bound
        size = float(self.occupancy.view.compute.total.sum()) if bound else math.inf
        shares.charge(self.occupancy.rates, start, end, self.contenders(), size)

    def contenders(self) -> set[str]:
        """Return the projects with claims that would start now if nothing else were there."""
        if not self.occupancy.is_bound:
            return self.line.projects()
        return self.line.projects(lambda kind: filters.now(self.occupancy.view, kind.demand))

    def decide(
        self,
        view: PoolView,
        shares: FairShare,
        policy: Policy,
        now: float,
        wall: float | None = None,
    ) -> list[Decided]:
        """Return what starts, grows and makes room; ``wall`` is now by the clock of ``created_at``.

        A pass that changes what is kept may leave room for claims which it had visited before, so
        another follows it.
        Starts are taken out of ``view`` and run from now on, victims count as leaving. A caller that
        can't do it gives the room back to the view, and calls ``wait`` or ``run`` with what is so.
        """
        self.occupancy.bind(view)
        if self.rules.ageing > 0:
            self.line.age((now if wall is None else wall) - self.rules.ageing)
        served: defaultdict[int, set[str]] = defaultdict(set)
        decided: list[Decided] = []
        for left in reversed(range(_PASSES)):
            one = self._pass(view, shares, policy, now, served, last=not left)
            decided += one.decided
            if one.settled:
                break
        return elastic.with_growth(decided, one.grown)

    def _pass(  # noqa: PLR0917 - all that a pass is about
        self,
        view: PoolView,
        shares: FairShare,
        policy: Policy,
        now: float,
        served: defaultdict[int, set[str]],
        last: bool,
    ) -> Pass:
        """Run one pass and return it; claims grow if it is ``last`` or changes no reservation."""
        self.reservations = {
            claim_id: each for claim_id, each in self.reservations.items() if is_known(view, each)
        }
        self._memory.look(view, self.occupancy, self.reservations)
        one = Pass(self, self._memory, shares, policy, now, served)
        one.run(last)
        self.reservations = one.lasting
        self._memory.keep(view, self.occupancy, settled=one.settled)
        return one

    def waits(self, shares: FairShare, now: float) -> list[Wait]:
        """Return all claims that wait, in order, as of the last ``decide``; ``reasons`` says why."""
        found: list[Wait] = []
        for position, claim in enumerate(self.walk(shares, now), start=1):
            mine = self.reservations.get(claim.claim_id)
            found.append(wait_of(claim, position, mine, self.occupancy, now))
        return found

    def reasons(self, view: PoolView) -> Reasons:
        """Return why claims wait, as of the last ``decide`` and ``view``."""
        return Reasons(view, self.line, self._memory.full)

    def young(self, claim_id: str, shares: FairShare, policy: Policy, now: float) -> tuple[str, ...]:
        """Return running claims that would make room for one that waits, had they run long enough.

        It costs as much as preemption does, so it is for the first in line.
        """
        claim = self.line.get(claim_id)
        if claim is None or not self.occupancy.preemptible:
            return ()
        projects = self.contenders() | self.occupancy.rates.keys()
        ahead = Preemption(self.occupancy, shares, policy, projects=projects, min_run_time=0.0, now=now)
        found = ahead.victims(claim)
        return found.claim_ids if found else ()

    def walk(self, shares: FairShare, now: float) -> Walk:
        """Return a walk through the claims that wait, in order."""
        return self.line.walk(self.standing(shares, now), list(self.reservations))

    def standing(self, shares: FairShare, now: float) -> Standing:
        """Return how much of its part each project has had, with what it runs whenever it is asked."""
        if not self.rules.fair:
            return _alike
        return lambda project_id: shares.standing(
            project_id, now, self.occupancy.rates.get(project_id, 0)
        )


def _alike(project_id: str) -> float:  # noqa: ARG001 - nobody is first
    return 0.0
