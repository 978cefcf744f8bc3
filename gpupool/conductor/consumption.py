"""What projects have used of a pool: charged when a claim stops being bound, in that transaction."""

from collections.abc import Mapping
from datetime import UTC, datetime

from oslo_utils import timeutils
from sqlalchemy.orm import Session

from gpupool.allocator.fairshare import FairShare, Usage
from gpupool.db import consumption
from gpupool.model.claim import Claim


def seconds(moment: datetime) -> float:
    """Return a time of the database as seconds since 1970, the clock of the queue's decisions."""
    return moment.replace(tzinfo=UTC).timestamp()


def charge(session: Session, claim: Claim, half_life: float) -> None:
    """Charge the project for what ``claim`` has had since it was bound; nothing if it never was."""
    if claim.bound_at is None:
        return
    held = consumption.hold(session, claim.pool_id, claim.project_id)
    account = FairShare(half_life)
    if held is not None:
        account.restore({claim.project_id: Usage(float(held[0]), seconds(held[1]))})
    now = timeutils.utcnow()
    rate = claim.count * claim.compute
    account.charge(claim.project_id, rate, seconds(claim.bound_at), seconds(now))
    used = round(account.used(claim.project_id, seconds(now)))
    consumption.put(session, claim.pool_id, claim.project_id, used, now)


def shares(session: Session, pool_id: str, half_life: float, weights: Mapping[str, float]) -> FairShare:
    """Return the shares of a pool's projects, with what was charged so far."""
    account = FairShare(half_life, weights)
    kept = consumption.of_pool(session, pool_id)
    account.restore({each: Usage(float(used), seconds(at)) for each, (used, at) in kept.items()})
    return account
