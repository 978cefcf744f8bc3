"""Order: whose turn it is, among the claims that wait."""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from weakref import WeakValueDictionary

from gpupool.allocator.claims import Waiting
from gpupool.allocator.demand import Demand

# How much of its part each project has had, see FairShare.standing; the lowest is next.
Standing = Callable[[str], float]


@dataclass(frozen=True, eq=False)
class Kind:
    """What decides whether and where a claim finds room; claims that wait in one line share theirs."""

    demand: Demand
    refused_by: frozenset[str] = frozenset()


class Bucket:
    """Claims of one kind, project and priority, from the oldest on."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.claims: list[tuple[float, str, Waiting]] = []
        self._shortest: float | None = None

    @property
    def shortest(self) -> float:
        """The lowest time limit of them, infinite when none has one."""
        if self._shortest is None:
            self._shortest = min(_limit(claim) for *_, claim in self.claims)
        return self._shortest

    def add(self, claim: Waiting) -> None:
        """Add a claim that is not here."""
        insort(self.claims, _entry(claim))
        if self._shortest is not None:
            self._shortest = min(self._shortest, _limit(claim))

    def remove(self, claim: Waiting) -> None:
        """Remove a claim that is here."""
        del self.claims[bisect_left(self.claims, _entry(claim))]
        if self._shortest == _limit(claim):
            self._shortest = None


class Line:
    """The claims that wait for one pool.

    Their order: the highest priority, then the project that has had least of its part, then the oldest
    claim, then the lowest id.
    """

    def __init__(self) -> None:
        self._claims: dict[str, Waiting] = {}
        self._kinds: dict[str, Kind] = {}
        self._known: WeakValueDictionary[tuple[Demand, frozenset[str]], Kind] = WeakValueDictionary()
        # By priority, project and kind.
        self._buckets: dict[int, dict[str, dict[Kind, Bucket]]] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, claim_id: str) -> bool:
        return claim_id in self._claims

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._claims.values())

    def get(self, claim_id: str) -> Waiting | None:
        """Return the claim, None when it does not wait."""
        return self._claims.get(claim_id)

    def kind(self, claim_id: str) -> Kind:
        """Return the kind of a claim that waits."""
        return self._kinds[claim_id]

    def add(self, claim: Waiting) -> None:
        """Have a claim wait; in place of the one with its id, if there is one."""
        self.remove(claim.claim_id)
        self._claims[claim.claim_id] = claim
        key = claim.demand, claim.refused_by
        kind = self._kinds[claim.claim_id] = self._known.setdefault(key, Kind(*key))
        projects = self._buckets.setdefault(claim.priority, {})
        kinds = projects.setdefault(claim.project_id, {})
        kinds.setdefault(kind, Bucket(kind)).add(claim)

    def remove(self, claim_id: str) -> None:
        """Have a claim wait no longer, if it does."""
        claim = self._claims.pop(claim_id, None)
        if claim is None:
            return
        kind = self._kinds.pop(claim_id)
        projects = self._buckets[claim.priority]
        kinds = projects[claim.project_id]
        kinds[kind].remove(claim)
        if not kinds[kind].claims:
            del kinds[kind]
        if not kinds:
            del projects[claim.project_id]
        if not projects:
            del self._buckets[claim.priority]

    def projects(self) -> set[str]:
        """Return the projects that have claims here."""
        return {project for projects in self._buckets.values() for project in projects}

    def walk(self, standing: Standing, first: Sequence[str] = ()) -> "Walk":
        """Return a walk through all claims; those of ``first`` come before others of their priority."""
        early = [claim for claim_id in first if (claim := self.get(claim_id)) is not None]
        return Walk(self._buckets, standing, early)


class Walk:
    """One walk through a line that does not change meanwhile.

    ``standing`` is asked again for a project each time one of its claims was visited: when it rises
    because a claim got its place, others come before the project's next claim. Kinds in ``closed``,
    to which the visitor adds, are left out.
    """

    def __init__(
        self,
        buckets: dict[int, dict[str, dict[Kind, Bucket]]],
        standing: Standing,
        early: Sequence[Waiting],
    ) -> None:
        self._buckets = buckets
        self._standing = standing
        self._early = early
        self._visited = {claim.claim_id for claim in early}
        self.closed: AbstractSet[Kind] = frozenset()
        self._dropped = False
        self._current: Bucket | None = None

    def __iter__(self) -> Iterator[Waiting]:
        for priority in sorted(self._buckets, reverse=True):
            self._current = None
            yield from (claim for claim in self._early if claim.priority == priority)
            yield from self._of(self._buckets[priority])

    @property
    def shortest(self) -> float:
        """The lowest time limit among the claims that ``drop`` would drop; infinite when not known."""
        return float("inf") if self._current is None else self._current.shortest

    def drop(self) -> None:
        """Leave out the claims of the kind, project and priority of the one visited last."""
        self._dropped = True

    def _of(self, projects: dict[str, dict[Kind, Bucket]]) -> Iterator[Waiting]:
        turns = [_Turn(project, kinds) for project, kinds in projects.items()]
        heap = [turn.rank(self._standing(turn.project)) for turn in turns]
        heapq.heapify(heap)
        while heap:
            *_, turn = heapq.heappop(heap)
            claim, self._current, self._dropped = turn.claim, turn.bucket, False
            if self._current.kind in self.closed:
                self._dropped = True
            elif claim.claim_id not in self._visited:
                yield claim
            turn.advance(self._dropped)
            if turn.left:
                heapq.heappush(heap, turn.rank(self._standing(turn.project)))


class _Turn:
    """The claims of one project and priority that were not visited, from the oldest on."""

    def __init__(self, project: str, kinds: dict[Kind, Bucket]) -> None:
        self.project = project
        self._heads = [(*bucket.claims[0][:2], 0, bucket) for bucket in kinds.values()]
        heapq.heapify(self._heads)

    @property
    def left(self) -> bool:
        """Whether there is one."""
        return bool(self._heads)

    @property
    def bucket(self) -> Bucket:
        """The bucket of the oldest."""
        return self._heads[0][-1]

    @property
    def claim(self) -> Waiting:
        """The oldest."""
        *_, number, bucket = self._heads[0]
        return bucket.claims[number][-1]

    def rank(self, standing: float) -> tuple[float, float, str, "_Turn"]:
        """Return what the project's next claim is compared by; ids keep turns from being compared."""
        created_at, claim_id, *_ = self._heads[0]
        return standing, created_at, claim_id, self

    def advance(self, drop: bool) -> None:
        """Go on to the next claim, of another kind when the rest of this one is dropped."""
        *_, number, bucket = self._heads[0]
        if drop or number + 1 == len(bucket.claims):
            heapq.heappop(self._heads)
        else:
            heapq.heapreplace(self._heads, (*bucket.claims[number + 1][:2], number + 1, bucket))


def _entry(claim: Waiting) -> tuple[float, str, Waiting]:
    return claim.created_at, claim.claim_id, claim


def _limit(claim: Waiting) -> float:
    return float("inf") if claim.time_limit is None else claim.time_limit
