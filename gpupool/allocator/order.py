"""Order: whose turn it is, among the claims that wait."""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from weakref import WeakValueDictionary

from gpupool.allocator.claims import Waiting
from gpupool.allocator.demand import Demand
from gpupool.model.claim import PRIORITY_DEFAULT

# The highest level that age gives: the highest priority that every project may ask for. More would bring
# old claims of one that may use a higher priority before those of others.
_RAISED_MOST = PRIORITY_DEFAULT
# A claim with what it is ordered by: when it was made, and its id.
_Entry = tuple[float, str, Waiting]
# How much of its part each project has had, see FairShare.standing; the lowest is next.
Standing = Callable[[str], float]


@dataclass(frozen=True, eq=False)
class Kind:
    """What decides whether and where a claim finds room; claims that wait in one line share theirs."""

    demand: Demand
    refused_by: frozenset[str] = frozenset()


class Bucket:
    """Claims of one kind, project and level, from the oldest on."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.claims: list[_Entry] = []
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

    Their order: the highest level, then the project that has had least of its part, then the oldest
    claim, then the lowest id. A claim's level is its priority until ``age`` raises it.
    """

    def __init__(self) -> None:
        self._claims: dict[str, Waiting] = {}
        self._kinds: dict[str, Kind] = {}
        # Of those that are raised.
        self._levels: dict[str, int] = {}
        self._known: WeakValueDictionary[tuple[Demand, frozenset[str]], Kind] = WeakValueDictionary()
        # By level, project and kind.
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

    def level(self, claim_id: str) -> int:
        """Return the level of a claim that waits."""
        return self._levels.get(claim_id, self._claims[claim_id].priority)

    def add(self, claim: Waiting) -> None:
        """Add a waiting claim, in place of the one with its id, if there is one."""
        self.remove(claim.claim_id)
        self._claims[claim.claim_id] = claim
        key = claim.demand, claim.refused_by
        self._kinds[claim.claim_id] = self._known.setdefault(key, Kind(*key))
        self._enter(claim)

    def remove(self, claim_id: str) -> None:
        """Remove a claim, if it waits."""
        claim = self._claims.get(claim_id)
        if claim is not None:
            self._leave(claim)
            self._levels.pop(claim_id, None)
            del self._claims[claim_id], self._kinds[claim_id]

    def age(self, before: float) -> None:
        """Raise claims made at ``before`` or earlier that younger ones of their project pass.

        Of each project and kind that is the oldest. It gets the highest level that a younger claim of
        its project has, those above the default priority left out; one that was raised and is not to be
        now goes back to its priority.
        """
        for claim_id in list(self._levels):
            self._move(self._claims[claim_id], None)
        for claim, level in self._passed(before):
            self._move(claim, level)

    def _passed(self, before: float) -> list[tuple[Waiting, int]]:
        """Return the claims to raise, with their levels."""
        found: dict[tuple[str, Kind], tuple[_Entry, int]] = {}
        # By project the newest claim of each level above, from the highest on.
        newest: dict[str, list[tuple[_Entry, int]]] = {}
        for level in sorted(self._buckets, reverse=True):
            for project, kinds in self._buckets[level].items():
                above = newest.setdefault(project, [])
                for kind, bucket in kinds.items():
                    oldest, key = bucket.claims[0], (project, kind)
                    passing = next((high for entry, high in above if entry > oldest), None)
                    older = key not in found or oldest < found[key][0]
                    if passing is not None and oldest[0] <= before and older:
                        found[key] = oldest, passing
                if level <= _RAISED_MOST:
                    above.append((max(bucket.claims[-1] for bucket in kinds.values()), level))
        return [(claim, level) for (*_, claim), level in found.values()]

    def _move(self, claim: Waiting, level: int | None) -> None:
        """Bring a claim to a level, or back to its priority."""
        self._leave(claim)
        if level is None:
            self._levels.pop(claim.claim_id, None)
        else:
            self._levels[claim.claim_id] = level
        self._enter(claim)

    def _enter(self, claim: Waiting) -> None:
        projects = self._buckets.setdefault(self.level(claim.claim_id), {})
        kinds = projects.setdefault(claim.project_id, {})
        kind = self._kinds[claim.claim_id]
        kinds.setdefault(kind, Bucket(kind)).add(claim)

    def _leave(self, claim: Waiting) -> None:
        level, kind = self.level(claim.claim_id), self._kinds[claim.claim_id]
        projects = self._buckets[level]
        kinds = projects[claim.project_id]
        kinds[kind].remove(claim)
        if not kinds[kind].claims:
            del kinds[kind]
        if not kinds:
            del projects[claim.project_id]
        if not projects:
            del self._buckets[level]

    def projects(self, counts: Callable[[Kind], bool] = lambda _: True) -> set[str]:
        """Return the projects that have claims here of a kind that ``counts``."""
        return {
            project
            for projects in self._buckets.values()
            for project, kinds in projects.items()
            if any(counts(kind) for kind in kinds)
        }

    def walk(self, standing: Standing, first: Sequence[str] = ()) -> "Walk":
        """Return a walk through all claims; those of ``first`` come before others of their level."""
        early: dict[int, list[Waiting]] = {}
        for claim in (self.get(claim_id) for claim_id in first):
            if claim is not None:
                early.setdefault(self.level(claim.claim_id), []).append(claim)
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
        early: Mapping[int, Sequence[Waiting]],
    ) -> None:
        self._buckets = buckets
        self._standing = standing
        self._early = early
        self._visited = {claim.claim_id for claims in early.values() for claim in claims}
        self.closed: AbstractSet[Kind] = frozenset()
        self._dropped = False
        self._current: Bucket | None = None

    def __iter__(self) -> Iterator[Waiting]:
        for level in sorted(self._buckets, reverse=True):
            self._current = None
            yield from self._early.get(level, ())
            yield from self._of(self._buckets[level])

    @property
    def shortest(self) -> float:
        """The lowest time limit among the claims that ``drop`` would drop; infinite when not known."""
        return float("inf") if self._current is None else self._current.shortest

    def drop(self) -> None:
        """Leave out the claims of the kind, project and level of the one visited last."""
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
    """The claims of one project and level that were not visited, from the oldest on."""

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


def _entry(claim: Waiting) -> _Entry:
    return claim.created_at, claim.claim_id, claim


def _limit(claim: Waiting) -> float:
    return float("inf") if claim.time_limit is None else claim.time_limit
