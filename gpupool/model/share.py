"""A share: what one vGPU has of one device."""

from typing import Any, NamedTuple


class Part(NamedTuple):
    """One part of a device that is cut into parts: its kind, and the slice at which it starts."""

    kind: str
    place: int


class Share(NamedTuple):
    """``compute`` percent and ``memory_mib`` MiB of one device; ``part`` is None where it is cut freely.

    ``device_id`` is the device's id; on the device's own host, its key.
    """

    device_id: str
    compute: int
    memory_mib: int
    part: Part | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields by name, as the row of a vGPU has them."""
        return self._asdict()
