"""A rotation of things that are checked again and again, the least recently checked first."""

import threading
from collections.abc import Iterable
from collections.abc import Set as AbstractSet


class Rotation:
    """Chooses at most ``most`` at a time, those first that had no turn for longest; for all threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._last: dict[str, int] = {}
        self._turn = 0
        self._lock = threading.Lock()

    def hurry(self, names: Iterable[str]) -> None:
        """Put ``names`` among the next that are chosen."""
        with self._lock:
            for name in names:
                self._last.pop(name, None)

    def choose(self, names: AbstractSet[str]) -> list[str]:
        """Return those of ``names`` whose turn it is, and forget all others that are not among them."""
        with self._lock:
            self._turn += 1
            self._last = {name: turn for name, turn in self._last.items() if name in names}
            chosen = sorted(names, key=lambda name: (self._last.get(name, 0), name))[: self._most]
            self._last.update(dict.fromkeys(chosen, self._turn))
            return chosen
