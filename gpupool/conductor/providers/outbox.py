"""What reports and operators leave to be done in Placement, until ``flush`` does it."""

import threading
from collections.abc import Iterable

from gpupool.model.vgpu import Vgpu


class Outbox:
    """Hosts whose providers have to follow, and vGPUs that have left their host; for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: set[str] = set()
        self._gone: dict[str, Vgpu] = {}

    def add(self, host_ids: Iterable[str], gone: Iterable[Vgpu] = ()) -> None:
        """Note that the providers of hosts have to follow, and vGPUs that have left theirs."""
        with self._lock:
            self._hosts.update(host_ids)
            self._gone.update((vgpu.id, vgpu) for vgpu in gone)

    def is_empty(self) -> bool:
        """Return whether nothing is noted."""
        with self._lock:
            return not (self._hosts or self._gone)

    def take(self) -> tuple[set[str], list[Vgpu]]:
        """Return what was noted since the last call."""
        with self._lock:
            noted = self._hosts, list(self._gone.values())
            self._hosts, self._gone = set(), {}
            return noted
