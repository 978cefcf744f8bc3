"""What a conductor is doing now, so that nobody else ends it, and what nobody goes on with."""

import threading
from collections import Counter
from collections.abc import Iterable

from gpupool.conductor.peers import Peers


class UnderWay:
    """The growing claims and the moves of one conductor; for all threads."""

    def __init__(self, conductor_id: str, peers: Peers) -> None:
        self._id, self._peers = conductor_id, peers
        self._lock = threading.Lock()
        self._names: Counter[str] = Counter()

    def begin(self, names: Iterable[str]) -> None:
        """Note that this conductor goes on with these, each once more."""
        with self._lock:
            self._names.update(names)

    def end(self, names: Iterable[str]) -> None:
        """Note that it has ended with these, each once."""
        with self._lock:
            self._names.subtract(names)
            self._names = +self._names

    def is_left(self, owner: str, name: str) -> bool:
        """Return whether nobody goes on with what the conductor ``owner`` began."""
        if owner != self._id:
            return self._peers.gone(owner)
        with self._lock:
            return name not in self._names
