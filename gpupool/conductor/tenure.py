"""For how long claims have been bound, by one conductor's monotonic clock."""

from collections.abc import Mapping
from datetime import datetime

from gpupool.model.clock import Clock


class Tenure:
    """Measures from when it first saw a claim bound. For all threads.

    Only of what was bound before it first looked does it believe ``bound_at``, as the clock tells it
    when that is steady: what the clock showed before may have been wrong.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked: float | None = None
        # By claim its bound_at, and when that was by the monotonic clock.
        self._since: dict[str, tuple[datetime, float]] = {}
        # Those that were bound before the first look, until the clock is steady.
        self._unsure: dict[str, datetime] = {}

    def look(self, bound: Mapping[str, datetime]) -> None:
        """Take ``bound_at`` of every claim that is bound now, by id."""
        now = self._clock.monotonic()
        if self._looked is None:
            self._unsure = dict(bound)
        self._since = {each: (at, self._begun(each, at, now)) for each, at in bound.items()}
        self._looked = now
        if self._clock.steady:
            self._unsure = {}

    def seconds(self, claim_id: str, bound_at: datetime) -> float:
        """Return for how long a claim has been bound."""
        now = self._clock.monotonic()
        return now - self._begun(claim_id, bound_at, now)

    def _begun(self, claim_id: str, bound_at: datetime, now: float) -> float:
        known = self._since.get(claim_id)
        unsure = self._looked is None or self._unsure.get(claim_id) == bound_at
        if known and known[0] == bound_at and not unsure:
            return known[1]
        begun = min(self._clock.at(bound_at), now)
        # Otherwise it was not bound at the last look.
        return begun if unsure or self._looked is None else max(begun, self._looked)
