"""Fair share: what each project was due of a pool of late, what it is owed, and whose turn it is.

The reference is a pool whose devices can be divided as finely as one likes. There the project that has
used least for its weight gets everything until it has caught up, and projects that are level get parts
by weight, so that those which always wait come to their weights exactly. The real pool grants whole
claims, one after another. What a project would have had of the reference and did not get is owed to it,
and is not forgotten while it waits: usage that only decays forgives every claim part of its cost, and
the longer and larger a claim is, the greater that part.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

# What runs counts for so much of a half-life in advance: a project that has just started a claim is not
# next again at once. That shifts standings by a bounded amount, so it does not change long-run shares.
_AHEAD = 0.05
# For so many half-lives of its part of the pool a project may be owed, and of the whole pool owe.
_BOUND = 2


@dataclass(frozen=True)
class Usage:
    """What a project was due at a moment, and owed of that; percent of a device times seconds.

    ``used`` is what it would have had of a pool that can be divided freely, decayed up to ``at``.
    ``owed`` is below 0 for a project that had more than that.
    """

    used: float
    at: float
    owed: float = 0.0


class FairShare:
    """Usage of the projects of one pool, which halves every ``half_life_s`` seconds.

    Usage is the integral of what a project was due (percent of a device, all vGPUs added) over time,
    each moment weighed by 2^(-age / half-life). What is owed decays likewise, but not while the project
    waits. It is bounded: at most the project's part of the pool for two half-lives is owed to it, and it
    owes at most the whole pool for two, so that a claim which finds no room for months does not entitle
    its project to months of the pool. Times are seconds of any clock that all calls share. ``weights``
    say how large a project's part is compared to others', 1 for those not named.
    """

    def __init__(self, half_life_s: float, weights: Mapping[str, float] | None = None) -> None:
        self._weights = dict(weights or {})
        if not half_life_s > 0 or any(not weight > 0 for weight in self._weights.values()):
            raise ValueError("half-life and weights have to be above 0")
        self._half_life = half_life_s
        self._decay = math.log(2) / half_life_s
        self._usages: dict[str, Usage] = {}

    def weight(self, project_id: str) -> float:
        """Return the project's weight."""
        return self._weights.get(project_id, 1.0)

    def charge(
        self,
        rates: Mapping[str, float],
        start: float,
        end: float,
        waiting: Collection[str] = (),
        size: float = math.inf,
    ) -> None:
        """Charge projects for their ``rates`` (percent of a device) from ``start`` to ``end``.

        ``waiting`` are the projects that had claims waiting then: each could have used all there was.
        ``size`` is what the pool has, percent of a device.
        """
        lasted = end - start
        # What a second of that time counts at its end, on average, times the seconds.
        weighed = -math.expm1(-self._decay * lasted) / self._decay
        if not weighed > 0:
            return
        active = sorted({*rates, *waiting})
        had = {each: rates.get(each, 0.0) * weighed for each in active}
        limits = {each: math.inf if each in waiting else had[each] for each in active}
        levels = {each: self.used(each, end) / self.weight(each) for each in active}
        due = self._divide(sum(had.values()), levels, limits)
        most = size * self._half_life * _BOUND
        for each in active:
            owed = self.owed(each, start if each in waiting else end)
            owed += (due[each] - had[each]) / weighed * lasted
            owed = min(max(owed, -most), most * self.part(each, active))
            self._usages[each] = Usage(self.used(each, end) + due[each], end, owed)

    def used(self, project_id: str, now: float) -> float:
        """Return what a project was due by ``now``, or by the last charge if that is later."""
        usage = self._usages.get(project_id)
        return 0.0 if usage is None else usage.used * self._left(usage, now)

    def owed(self, project_id: str, now: float) -> float:
        """Return what a project is owed at ``now`` if it has not waited since the last charge."""
        usage = self._usages.get(project_id)
        return 0.0 if usage is None else usage.owed * self._left(usage, now)

    def standing(self, project_id: str, now: float, rate: float) -> float:
        """Return how much a project that runs ``rate`` now has had of its part; the lowest is next.

        That is what it was due less what it is owed, and a while ahead of what it runs.
        """
        had = self.used(project_id, now) - self.owed(project_id, now)
        return (had + rate * _AHEAD * self._half_life) / self.weight(project_id)

    def behind(self, project_id: str, now: float, size: float) -> float:
        """Return what a project is owed, in parts of what the pool gives in a half-life.

        ``size`` is what the pool has, percent of a device. Below 0 for a project that had too much.
        """
        return self.owed(project_id, now) / max(size * self._half_life, 1.0)

    def part(self, project_id: str, projects: Iterable[str]) -> float:
        """Return the project's part, 0 to 1, of a pool that it shares with ``projects``."""
        total = sum(self.weight(each) for each in sorted({project_id, *projects}))
        return self.weight(project_id) / total

    def usages(self) -> dict[str, Usage]:
        """Return all usages, to be kept."""
        return dict(self._usages)

    def restore(self, usages: Mapping[str, Usage]) -> None:
        """Take usages that were kept in place of all there are."""
        self._usages = dict(usages)

    def _left(self, usage: Usage, now: float) -> float:
        """Return which part is left at ``now`` of what was kept."""
        return math.exp(-self._decay * max(now - usage.at, 0.0))

    def _divide(
        self, total: float, levels: Mapping[str, float], limits: Mapping[str, float]
    ) -> dict[str, float]:
        """Return by project its part of ``total``, at most its limit; the lowest levels rise first.

        A project's level rises by what it gets over its weight.
        """
        ends = {each: levels[each] + limits[each] / self.weight(each) for each in levels}
        steps = [(levels[each], self.weight(each)) for each in levels]
        steps += [(end, -self.weight(each)) for each, end in ends.items() if end < math.inf]
        level, width, left = 0.0, 0.0, total
        for at, change in sorted(steps):
            rise = (at - level) * width
            if rise >= left:
                break
            level, width, left = at, width + change, left - rise
        if width > 0:
            level += left / width
        return {
            each: min(limits[each], max(level - levels[each], 0.0) * self.weight(each))
            for each in levels
        }
