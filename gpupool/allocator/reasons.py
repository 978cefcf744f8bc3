"""Reasons: why claims of a pool's queue wait; it is found once for all claims of one kind."""

from collections.abc import Collection

from gpupool.allocator.order import Kind, Line
from gpupool.allocator.planning import no_room
from gpupool.allocator.view import PoolView
from gpupool.model.reason import Reason

BEHIND = Reason("claims before it in the queue go first")


class Reasons:
    """Reasons as of one view and one pass; ``full`` are the kinds that found no room at all in it.

    A reason costs as much as some plans, so a caller asks only for those that it shows.
    """

    def __init__(self, view: PoolView, line: Line, full: Collection[Kind]) -> None:
        self._view, self._line, self._full = view, line, full
        self._known: dict[Kind, Reason] = {}

    def of(self, claim_id: str) -> Reason:
        """Return why a claim that waits does so."""
        kind = self._line.kind(claim_id)
        if kind not in self._known:
            self._known[kind] = self._find(kind)
        return self._known[kind]

    def _find(self, kind: Kind) -> Reason:
        found = no_room(self._view, kind.demand)
        # The last pass may not have come as far as this kind.
        if kind in self._full or not found.filters[-1][1]:
            return found.reason
        return BEHIND
