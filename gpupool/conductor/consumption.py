"""What projects have used of a pool: charged when a claim stops being bound, in that transaction."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from gpupool.allocator.fairshare import FairShare, Usage
from gpupool.conductor.tenure import Tenure
from gpupool.db import consumption, times
from gpupool.model.claim import Claim
from gpupool.model.clock import Clock


def seconds(moment: datetime) -> float:
    """Return a time of the database as seconds since 1970."""
    return moment.replace(tzinfo=UTC).timestamp()


def charge(session: Session, over: Iterable[Claim], tenure: Tenure, half_life: float) -> None:
    """Charge projects for what claims that are over have had since they were bound, if they were."""
    by_project: dict[tuple[str, str], list[Claim]] = {}
    for claim in over:
        if claim.bound_at is not None:
            by_project.setdefault((claim.pool_id, claim.project_id), []).append(claim)
    at = times.now(session)
    now = seconds(at)
    # In one order, so that two who charge the same projects don't wait for each other.
    for pool_id, project_id in sorted(by_project):
        held = consumption.hold(session, pool_id, project_id)
        account = FairShare(half_life)
        account.restore({project_id: _usage(held, now)})
        for claim in by_project[pool_id, project_id]:
            lasted = tenure.seconds(claim.id, claim.bound_at or at)
            account.charge(project_id, claim.count * claim.compute, now - lasted, now)
        consumption.put(session, pool_id, project_id, round(account.used(project_id, now)), at)


def _usage(used: consumption.Used, now: float) -> Usage:
    """Return usage as it was kept; of a time to come, on a clock that was set back, as of ``now``."""
    return Usage(float(used[0]), min(seconds(used[1]), now))


def shares(
    session: Session, pool_id: str, clock: Clock, half_life: float, weights: Mapping[str, float]
) -> FairShare:
    """Return the shares of a pool's projects, with what was charged so far, by the monotonic clock."""
    account = FairShare(half_life, weights)
    now = clock.monotonic()
    kept = consumption.of_pool(session, pool_id)
    account.restore(
        {each: Usage(float(used), min(clock.at(at), now)) for each, (used, at) in kept.items()}
    )
    return account
