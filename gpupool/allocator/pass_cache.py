"""Memory: what a pass of the queue knows from the last one, so that looking again costs little."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.order import Kind
from gpupool.allocator.reservation import Reservation
from gpupool.allocator.view import PoolView


class Memory:
    """Which kinds of claims found no room since more of the view became free the last time.

    ``full``: there was none at all. There may be some for others that is kept for reservations.
    """

    def __init__(self) -> None:
        self.full: set[Kind] = set()
        self._same = False
        # For each pass' reservations, in order, which kinds found none beside it and those before it.
        self._last: list[tuple[Reservation | None, set[Kind]]] = []
        self._now: list[tuple[Reservation | None, set[Kind]]] = []
        self._lasting: object = None
        self._mark = -1
        self._version = -1
        self._sooner = 0
        self._state: list[NDArray[Any]] = []

    def behind(self, reservation: Reservation | None) -> set[Kind]:
        """Return which kinds found no room beside one more reservation; the pass adds to it."""
        number = len(self._now)
        # More reservations leave less room.
        known = set(self._now[-1][1]) if self._now else set()
        if number < len(self._last) and self._last[number][0] == reservation:
            known |= self._last[number][1]
        else:
            # Those after another one are not after the same ones.
            del self._last[number:]
        self._now.append((reservation, known))
        return known

    def is_same(self, reservation: Reservation) -> bool:
        """Return whether all was as it is when the last pass kept room for this and those before it."""
        number = len(self._now)
        return self._same and number < len(self._last) and self._last[number][0] == reservation

    def look(
        self, view: PoolView, occupancy: Occupancy, reservations: Mapping[str, Reservation]
    ) -> None:
        """Forget what may be no longer so, before a pass."""
        # Another object when something of the view changed that does not change with every grant.
        lasting = view.remember(Memory, object)
        hosts, mark = view.changed_since(self._mark)
        lasts = lasting is self._lasting
        self._same = lasts and mark == self._mark and occupancy.version == self._version
        self._same &= [each for each, _ in self._now[1:]] == list(reservations.values())
        if not lasts or any(
            bool((now[hosts] > before[hosts]).any())
            for before, now in zip(self._state, _state(view), strict=True)
        ):
            self.full, self._now = set(), []
        if occupancy.sooner != self._sooner:
            # Less is kept for reservations where more ends before they start.
            self._sooner, self._now = occupancy.sooner, []
        self._last, self._now = self._now, []

    def keep(self, view: PoolView, occupancy: Occupancy, settled: bool) -> None:
        """Remember how all is, after a pass.

        ``settled``: what is kept for reservations is what was kept before. Else those that were looked
        at first in the pass may find earlier places now that later ones have started or moved.
        """
        lasting = view.remember(Memory, object)
        hosts, mark = view.changed_since(self._mark if lasting is self._lasting else -1)
        if lasting is not self._lasting:
            self._state = [each.copy() for each in _state(view)]
        for before, now in zip(self._state, _state(view), strict=True):
            before[hosts] = now[hosts]
        self._lasting, self._mark = lasting, mark
        self._version = occupancy.version if settled else -1


def _state(view: PoolView) -> list[NDArray[Any]]:
    """Return all of which more is room for more, by host."""
    compute, memory = view.compute, view.memory
    of_devices = (compute.free, compute.spare, memory.free, memory.spare, ~view.held)
    return [*of_devices, view.cpu_free, view.host_memory_free]
