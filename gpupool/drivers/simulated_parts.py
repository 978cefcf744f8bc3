"""Parts of the reference device: a simulation that keeps to slices, and cuts nothing."""

import threading
from collections.abc import Callable, Collection

from gpupool.drivers.parts import Parts
from gpupool.model import errors, simulated
from gpupool.model.share import Part
from gpupool.model.states import DeviceHealth


class SimulatedParts(Parts):
    """What each device has is kept in memory: after a restart the agent has each made again.

    ``keys`` returns the devices there are.
    """

    def __init__(self, keys: Callable[[], Collection[str]]) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._parts: dict[str, set[Part]] = {}

    def plan(self, device_key: str, part: Part) -> None:
        """See Parts."""
        with self._lock:
            self._check(device_key, part)

    def apply(self, device_key: str, part: Part) -> None:
        """See Parts."""
        with self._lock:
            self._check(device_key, part)
            self._parts.setdefault(device_key, set()).add(part)

    def remove(self, device_key: str, part: Part) -> None:
        """See Parts."""
        with self._lock:
            self._of(device_key).discard(part)

    def health(self, device_key: str, part: Part) -> tuple[DeviceHealth, str]:
        """See Parts."""
        with self._lock:
            if part in self._of(device_key):
                return DeviceHealth.OK, ""
        return DeviceHealth.MISSING, f"device {device_key} has no part {_name(part)}"

    def found(self, device_key: str) -> frozenset[Part]:
        """See Parts."""
        with self._lock:
            return frozenset(self._of(device_key))

    def _of(self, device_key: str) -> set[Part]:
        if device_key not in self._keys():
            raise errors.NotFound(f"there is no device {device_key}")
        return self._parts.get(device_key, set())

    def _check(self, device_key: str, part: Part) -> None:
        there = self._of(device_key)
        if part in there:
            return
        if part.kind not in simulated.KINDS:
            allowed = ", ".join(simulated.KINDS)
            raise errors.Invalid(f"part is {part.kind}; device {device_key} can have: {allowed}")
        last = simulated.SLICES - simulated.KINDS[part.kind]
        if not 0 <= part.place <= last:
            raise errors.Invalid(f"part {part.kind} is to start at {part.place}; allowed: 0 to {last}")
        over = [_name(other) for other in sorted(there) if _slices(other) & _slices(part)]
        if over:
            raise errors.Invalid(f"part {_name(part)} of {device_key} lies over {', '.join(over)}")


def _slices(part: Part) -> set[int]:
    return set(range(part.place, part.place + simulated.KINDS[part.kind]))


def _name(part: Part) -> str:
    return f"{part.kind} at {part.place}"
