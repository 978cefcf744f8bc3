"""When a claim ends by itself: the lease that was asked for, and how long it may stay bound.

While a claim with a time limit is bound, ``lease_end`` is the sooner of both, and what was asked for is
kept beside it: a claim that is queued again gets its whole time anew.
"""

from datetime import datetime, timedelta
from typing import Any

from gpupool.model import errors
from gpupool.model.claim import Claim


def at_bound(claim: Claim, now: datetime) -> dict[str, Any]:
    """Return what changes on a claim that is bound at ``now``."""
    if claim.time_limit is None:
        return {}
    return _limited(claim.lease_end, now, claim.time_limit)


def asked(claim: Claim, lease_end: datetime | None) -> dict[str, Any]:
    """Return what changes on a claim for which a lease until ``lease_end`` is asked, None for no end.

    Raises Conflict when the claim is bound and its time limit ends it before.
    """
    if claim.time_limit is None or claim.bound_at is None:
        return {"lease_end": lease_end}
    limit = claim.bound_at + timedelta(seconds=claim.time_limit)
    if lease_end is not None and lease_end > limit:
        raise errors.Conflict(
            f"lease_end is {lease_end}; allowed: to {limit}, "
            f"for the claim's time limit of {claim.time_limit} s ends it then"
        )
    return _limited(lease_end, claim.bound_at, claim.time_limit)


def _limited(lease_end: datetime | None, bound_at: datetime, time_limit: int) -> dict[str, Any]:
    latest = bound_at + timedelta(seconds=time_limit)
    sooner = latest if lease_end is None else min(lease_end, latest)
    return {"lease_end": sooner, "asked_lease_end": lease_end}
