"""What the queue of a pool leaves alone for a while, by the monotonic clock."""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from gpupool.model.reason import Reason


class Cooldown:
    """Devices that Placement refused though they had room, and claims that could not grow."""

    def __init__(self) -> None:
        # All by when they are over; of a device also how often its provider had been written, and of a
        # claim what Placement said.
        self._devices: dict[str, tuple[float, int]] = {}
        self._reasons: dict[str, tuple[float, Reason]] = {}
        self._full: dict[str, float] = {}

    def refuse(self, device_id: str, until: float, writes: int) -> None:
        """Keep a device, which is reserved in Placement or not there, from being chosen.

        ``writes`` is how often its provider has been written: it may be about to be written again.
        """
        self._devices[device_id] = until, writes

    def explain(self, claim_id: str, reason: Reason, until: float) -> None:
        """Keep what Placement said of a claim."""
        self._reasons[claim_id] = until, reason

    def keep_full(self, claim_ids: Iterable[str], until: float) -> None:
        """Keep claims from growing whose projects may have no more."""
        self._full.update((claim_id, until) for claim_id in claim_ids)

    def expire(self, now: float, writes: Callable[[str], int]) -> list[str]:
        """Drop what is over, and devices with a provider written since; return claims that may grow."""
        self._devices = {
            device: (until, before)
            for device, (until, before) in self._devices.items()
            if until > now and writes(device) == before
        }
        self._reasons = {claim: said for claim, said in self._reasons.items() if said[0] > now}
        over = [claim_id for claim_id, until in self._full.items() if until <= now]
        for claim_id in over:
            del self._full[claim_id]
        return over

    def devices(self) -> AbstractSet[str]:
        """Return the devices that are not to be chosen."""
        return self._devices.keys()

    def reasons(self) -> dict[str, Reason]:
        """Return what Placement said, by claim."""
        return {claim_id: reason for claim_id, (_, reason) in self._reasons.items()}

    def is_full(self, claim_id: str) -> bool:
        """Return whether a claim is not to grow."""
        return claim_id in self._full
