"""A cache that keeps the values of the keys that were used last."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Each = TypeVar("Each")


class Recent(Generic[Each]):
    """Keeps up to ``most`` things by key, and forgets the one that was not used for longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[Hashable, Each] = {}

    def get(self, key: Hashable, make: Callable[[], Each]) -> Each:
        """Return what is kept for ``key``; it is made where there is nothing."""
        found = self._kept.pop(key, None)
        if found is None:
            found = make()
            if len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
        self._kept[key] = found
        return found

    def fork(self) -> "Recent[Each]":
        """Return one that keeps as many and has nothing yet."""
        return Recent(self._most)
