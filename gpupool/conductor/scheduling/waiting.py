"""Why claims wait, and when there is to be room; a project reads of no claims but its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.policy import Policy
from gpupool.allocator.reasons import Reasons
from gpupool.allocator.scheduling import Scheduler
from gpupool.allocator.shortage import AGAIN
from gpupool.allocator.waits import Room, Wait
from gpupool.conductor.capacity.pool_views import Views
from gpupool.model.claim import AMOUNT_MAX, Claim
from gpupool.model.clock import Clock
from gpupool.model.reason import NONE, Reason, moment

# For so many claims, the first in line, it is found again every so many seconds why they wait, for the
# others once. Reasons count what is free, which changes with every claim that starts or ends: whoever
# reads one wants it to stand still, and there may be thousands of claims.
_FIRST = 100
_STANDS = 10.0
# For so many it is found when others can be preempted for them, which costs as much as preemption does.
_PREEMPTING = 3


@dataclass(frozen=True)
class QueueState:
    """What a pool's queue knows after a pass: what waits and runs, and what Placement refused."""

    scheduler: Scheduler
    claims: Mapping[str, Claim]
    shares: FairShare
    policy: Policy
    refused: Mapping[str, Reason]


class WaitReasons:
    """Finds why the claims of one pool wait."""

    def __init__(self, clock: Clock, views: Views, pool_id: str) -> None:
        self._clock, self._views, self._pool_id = clock, views, pool_id
        # When it was found last why a claim waits, on the monotonic clock.
        self._found: dict[str, float] = {}

    def forget(self, claim_id: str) -> None:
        """Forget a claim that is not in the pool's queue any more."""
        self._found.pop(claim_id, None)

    def news(self, look: QueueState) -> dict[Reason, list[str]]:
        """Return the claims of which another reason is to be shown than is, by that reason."""
        now = self._clock.monotonic()
        waits = look.scheduler.waits(look.shares, now)
        due = [each for each in waits if self._is_due(look.claims.get(each.claim_id), each, now)]
        with self._views.lock:
            reasons = look.scheduler.reasons(self._views.of(self._pool_id))
            found = [(each, self._reason(look, reasons, each, now)) for each in due]
        news: dict[Reason, list[str]] = {}
        for wait, reason in found:
            self._found[wait.claim_id] = now
            if look.claims[wait.claim_id].state_reason != reason.text:
                news.setdefault(reason, []).append(wait.claim_id)
        return news

    def _is_due(self, claim: Claim | None, wait: Wait, now: float) -> bool:
        """Return whether it is to be found now why a claim waits."""
        if claim is None or not claim.state_reason:
            return claim is not None
        return wait.position <= _FIRST and now >= self._found.get(claim.id, now - _STANDS) + _STANDS

    def _reason(self, look: QueueState, reasons: Reasons, wait: Wait, now: float) -> Reason:
        why, refusal = reasons.of(wait.claim_id), look.refused.get(wait.claim_id, NONE)
        if why.text == AGAIN:
            found = refusal or why
        else:
            found = why.and_(refusal).and_(self._prospect(look, wait, now))
        claim = look.claims[wait.claim_id]
        # What its project has to know of a claim that was bound once, until it is bound again.
        return found.and_(Reason(claim.state_reason, claim.state_detail).why_again())

    def _prospect(self, look: QueueState, wait: Wait, now: float) -> Reason:
        """Return when a claim finds room, where that is planned."""
        if wait.room is None:
            return NONE
        if wait.room == Room.LEAVING:
            return Reason("room is being made for it now")
        starts_at = None if wait.starts_at is None else self._clock.moment(wait.starts_at)
        preempts_at = self._preempts_at(look, wait, now)
        if preempts_at is not None and (starts_at is None or preempts_at < starts_at):
            when = moment(preempts_at)
            return Reason(f"room comes free at {when}, when preemptible claims have run long enough")
        if starts_at is None:
            return Reason("the claims that hold what it needs have no end time")
        return ends(look.claims[wait.claim_id], look.claims.get(wait.after or ""), starts_at)

    def _preempts_at(self, look: QueueState, wait: Wait, now: float) -> datetime | None:
        """Return when claims that have not run long enough make room for one that is first in line."""
        if wait.position > _PREEMPTING:
            return None
        young = look.scheduler.young(wait.claim_id, look.shares, look.policy, now)
        old = [self._old_at(look, name) for name in young]
        last = max((each for each in old if each is not None), default=None)
        # All of them have to go; one that is not bound yet has no moment.
        if last is None or None in old or last <= self._clock.now():
            return None
        return last

    def _old_at(self, look: QueueState, name: str) -> datetime | None:
        """Return when a claim, or a vGPU of an elastic one, has run long enough to be taken apart."""
        known, rules = look.scheduler.occupancy.get(name), look.scheduler.rules
        if known is None:
            return None
        least = min(rules.min_run_times.get(known.project_id, rules.min_run_time), AMOUNT_MAX)
        claim = look.claims.get(name)
        if claim is None:
            return self._clock.moment(known.bound_at + least)
        return claim.bound_at + timedelta(seconds=least) if claim.bound_at else None


def ends(claim: Claim, after: Claim | None, starts_at: datetime) -> Reason:
    """Return when a claim finds room because others end, ``after`` last, where that is known.

    Its project is told of claims of its own; of others only when they end.
    """
    if after is None:
        return Reason(f"room comes free at {moment(starts_at)}")
    # The moment that the claim says stands still; what is derived of it by clocks does not.
    when = moment(after.lease_end or starts_at)
    detail = f"claim {after.id} of project {after.project_id} ends at {when}"
    if after.project_id != claim.project_id:
        return Reason(f"room comes free at {when}", detail)
    what = "lease" if after.time_limit is None else "time limit"
    return Reason(f"room comes free at {when}, when the {what} of claim {after.label} ends", detail)
