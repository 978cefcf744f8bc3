"""What projects have used of a pool: charged when a claim stops being bound, in that transaction."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from oslo_utils import timeutils
from sqlalchemy.orm import Session

from gpupool.allocator.fairshare import FairShare, Usage
from gpupool.db import consumption
from gpupool.model.claim import Claim


def seconds(moment: datetime) -> float:
    """Return a time of the database as seconds since 1970, the clock of the queue's decisions."""
    return moment.replace(tzinfo=UTC).timestamp()


def charge(session: Session, over: Iterable[Claim], half_life: float) -> None:
    """Charge projects for what claims that are over have had since they were bound, if they were."""
    by_project: dict[tuple[str, str], list[Claim]] = {}
    for claim in over:
        if claim.bound_at is not None:
            by_project.setdefault((claim.pool_id, claim.project_id), []).append(claim)
    now = timeutils.utcnow()
    # In one order, so that two who charge the same projects don't wait for each other.
    for pool_id, project_id in sorted(by_project):
        held = consumption.hold(session, pool_id, project_id)
        account = FairShare(half_life)
        account.restore({project_id: Usage(float(held[0]), seconds(held[1]))})
        for claim in by_project[pool_id, project_id]:
            rate = claim.count * claim.compute
            account.charge(project_id, rate, seconds(claim.bound_at or now), seconds(now))
        used = round(account.used(project_id, seconds(now)))
        consumption.put(session, pool_id, project_id, used, now)


def shares(session: Session, pool_id: str, half_life: float, weights: Mapping[str, float]) -> FairShare:
    """Return the shares of a pool's projects, with what was charged so far."""
    account = FairShare(half_life, weights)
    kept = consumption.of_pool(session, pool_id)
    account.restore({each: Usage(float(used), seconds(at)) for each, (used, at) in kept.items()})
    return account
