"""Fair share: what each project has used of a pool of late, and what its part of the pool is."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What a project had used at a moment: percent of a device times seconds, decayed up to then."""

    used: float
    at: float


class FairShare:
    """Usage of the projects of one pool, which halves every ``half_life_s`` seconds.

    Usage is the integral of what a project has (percent of a device, all vGPUs added) over time, each
    moment weighed by 2^(-age / half-life). It is kept in closed form, one number a project. Times are
    seconds of any clock that all calls share. ``weights`` say how large a project's part is compared
    to others', 1 for those not named.
    """

    def __init__(self, half_life_s: float, weights: Mapping[str, float] | None = None) -> None:
        self._weights = dict(weights or {})
        if not half_life_s > 0 or any(not weight > 0 for weight in self._weights.values()):
            raise ValueError("half-life and weights have to be above 0")
        self._decay = math.log(2) / half_life_s
        self._usages: dict[str, Usage] = {}

    def weight(self, project_id: str) -> float:
        """Return the project's weight."""
        return self._weights.get(project_id, 1.0)

    def charge(self, project_id: str, rate: float, start: float, end: float) -> None:
        """Charge for ``rate`` (percent of a device) from ``start`` to ``end``, in any order of time."""
        if end <= start:
            return
        before = self._usages.get(project_id, Usage(0.0, end))
        at = max(before.at, end)
        added = rate / self._decay * -math.expm1(-self._decay * (end - start))
        added *= math.exp(-self._decay * (at - end))
        self._usages[project_id] = Usage(self.used(project_id, at) + added, at)

    def used(self, project_id: str, now: float) -> float:
        """Return the usage at ``now``, or at the last charge if that is later; percent-seconds."""
        usage = self._usages.get(project_id)
        if usage is None:
            return 0.0
        return usage.used * math.exp(-self._decay * max(now - usage.at, 0.0))

    def standing(self, project_id: str, now: float, rate: float) -> float:
        """Return how much a project has had of its part, running ``rate`` now; the lowest is next.

        What runs counts with what it would be charged for in the long run, as much as the same rate in
        all the past: so a project that has just started many claims is not next again.
        """
        return (self.used(project_id, now) + rate / self._decay) / self.weight(project_id)

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
