"""Debts: for how many claims room is kept because their projects are owed much, and on which devices."""

from collections.abc import Iterable, Sequence

from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.reservation import Reservation

# For so much that a project is owed (see FairShare.behind) room is kept for one more claim of it, and
# for how many more at most.
_STEP = 0.005
MOST = 7
# A project that is owed so much has room kept on devices of others: to wait for its own claims gives it
# no more than it has. To empty devices leaves them idle meanwhile, so it is not done for less.
_LARGE = 0.03


class Debts:
    """What the ``projects`` that wait are owed at ``now`` (seconds), in one pass.

    Smaller claims of others may fill in for ever where large ones find no room, and room that is kept
    for one large claim at a time may be too little for their project's part. So the more a project is
    owed, the more of its claims have room kept.
    """

    def __init__(
        self, shares: FairShare, occupancy: Occupancy, projects: Iterable[str], now: float
    ) -> None:
        self._shares, self._rates = shares, occupancy.rates
        self._size = float(occupancy.view.compute.total.sum())
        self._behind = {each: shares.behind(each, now, self._size) for each in projects}
        self._sharing = self._behind.keys() | self._rates.keys()
        self.most = max((self._steps(each) for each in self._behind), default=0)

    def more(self, project_id: str, kept: Sequence[Reservation]) -> int:
        """Return for how many more claims of a project than the rules say room is kept.

        None once the project runs, or has ``kept``, its part of the pool: what it is owed beyond that
        comes to it with time, and to empty more devices only leaves them idle.
        """
        found = self._steps(project_id)
        if not found:
            return 0
        has = sum(each.rate for each in kept if each.project_id == project_id)
        part = self._size * self._shares.part(project_id, self._sharing)
        return found if self._rates.get(project_id, 0) + has < part else 0

    def is_large(self, project_id: str) -> bool:
        """Return whether room for the project's claims is rather kept on devices of others."""
        return self._behind.get(project_id, 0.0) > _LARGE

    def _steps(self, project_id: str) -> int:
        return max(min(int(self._behind.get(project_id, 0.0) / _STEP), MOST), 0)
