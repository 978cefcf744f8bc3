"""Claims: made, changed, released, expired. How they bind: ``binding``; how they end: ``releasing``."""

from dataclasses import asdict, replace
from datetime import datetime

from oslo_context.context import RequestContext

from gpupool.conductor.claims import leases, quota, releasing, validation
from gpupool.conductor.claims.limits import OfProject
from gpupool.conductor.context import Parts
from gpupool.conductor.isolation import isolated
from gpupool.conductor.transaction import Transaction
from gpupool.db import claims, times
from gpupool.model import errors
from gpupool.model.claim import Claim, ClaimChange, ClaimRequest
from gpupool.model.pool import Pool
from gpupool.model.reason import NONE, Reason, span
from gpupool.model.states import ENDED, ClaimState


def create(parts: Parts, ctxt: RequestContext, claim_id: str, request: ClaimRequest) -> Claim:
    """Return the new claim, queued; with the id of one that is there already, that one.

    Raises Invalid for everything that can never bind, OverQuota for what the project may not hold,
    Unavailable when Placement or Keystone is needed to know.
    """
    if not ctxt.project_id:
        raise errors.Invalid("a claim needs a project; the request is for none")
    try:
        claim = checked(parts, ctxt, claim_id, request)
        created = parts.commit(_create, claim, parts.limits.of(claim.project_id))
    except errors.GpupoolError:
        # What has come twice may not be possible any more.
        with parts.database.reader() as session:
            found = claims.list_(session, {"id": claim_id})
        if not found:
            raise
        created = found[0]
    if created.project_id != ctxt.project_id:
        raise errors.Conflict(f"claim id {claim_id} is taken")
    return created


def checked(parts: Parts, ctxt: RequestContext, claim_id: str, request: ClaimRequest) -> Claim:
    """Return the claim that is to be, which is not stored yet; raises as ``create``, but OverQuota."""
    with parts.database.reader() as session:
        profile = validation.find_profile(session, request.profile) if request.profile else None
        request = validation.from_profile(request, profile)
        options = parts.conf.conductor
        if request.sessions is None:
            request = replace(request, sessions=options.sessions_per_vgpu)
        validation.check_sizes(request, options.max_sessions_per_vgpu)
        pool = validation.find_pool(session, request.pool)
        host = validation.check_place(session, request, pool)
    validation.check_lease(request.lease_end, parts.clock.now())
    required, forbidden = request.required_traits or (), request.forbidden_traits or ()
    validation.check_apart(required, forbidden)
    validation.check_known(parts.placement, (*required, *forbidden))
    claim = validation.claim_of(
        request,
        claim_id=claim_id,
        project_id=ctxt.project_id or "",
        user_id=ctxt.user_id or "",
        request_id=ctxt.request_id or "",
        pool_id=pool.id,
        profile_id=profile.id if profile else None,
        host=host,
    )
    # No transaction is open: whoever decides about the queue may hold the view for long.
    if claim.partition:
        claim = validation.with_sizes(claim, pool, parts.views)
    _check_possible(parts, claim, pool)
    return claim


def _check_possible(parts: Parts, claim: Claim, pool: Pool) -> None:
    try:
        validation.check_possible(claim, pool, parts.views)
    except errors.Invalid:
        if not (claim.required_traits or claim.forbidden_traits):
            raise
        # An operator may have changed the providers' traits since they were read.
        parts.inventory.learn(claim.required_traits, claim.forbidden_traits)
        validation.check_possible(claim, pool, parts.views)


def _create(transaction: Transaction, claim: Claim, limits: OfProject) -> Claim:
    quota.check(transaction.session, claim, limits)
    transaction.wake_queue()
    return claims.create(transaction.session, claim)


def update(transaction: Transaction, claim_id: str, change: ClaimChange) -> Claim:
    """Return the claim with ``change`` made; Conflict when it has ended or is about to."""
    claim = claims.get(transaction.session, claim_id)
    if claim.state in ENDED | {ClaimState.RELEASING}:
        raise errors.Conflict(f"claim {claim_id} is {claim.state}; it can't be changed any more")
    if change.remove_lease and change.lease_end is not None:
        raise errors.Invalid(f"lease_end is {change.lease_end} and remove_lease is set; allowed: one")
    changes = {name: value for name, value in asdict(change).items() if value is not None}
    if changes.pop("remove_lease") or change.lease_end is not None:
        changes |= leases.asked(claim, change.lease_end)
    if change.priority is not None:
        validation.check_priority(change.priority)
        transaction.wake_queue()
    validation.check_lease(change.lease_end, times.now(transaction.session))
    if not changes:
        return claim
    if claim.state == ClaimState.BOUND and claim.attempts:
        # An elastic one, which may grow again.
        changes |= {**claims.UNREFUSED, **NONE.fields()}
    return claims.update(transaction.session, claim_id, expected_generation=claim.generation, **changes)


def release(transaction: Transaction, claim_id: str) -> Claim:
    """Return the claim, releasing or released; Conflict when it was already."""
    claim = claims.get(transaction.session, claim_id)
    if claim.state in ENDED:
        raise errors.Conflict(f"claim {claim_id} is {claim.state} already")
    if claim.state != ClaimState.RELEASING:
        return releasing.start(transaction, claim, ClaimState.RELEASED)
    if claim.release_to in ENDED:
        raise errors.Conflict(f"claim {claim_id} is releasing already, to become {claim.release_to}")
    # It was to be queued again.
    return claims.update(
        transaction.session,
        claim_id,
        expected_generation=claim.generation,
        release_to=ClaimState.RELEASED,
        **NONE.fields(),
    )


def expire(parts: Parts) -> None:
    """End every claim whose lease has ended, or that was bound for as long as its time limit.

    None ends before the clock is known to be right, which tells when claims were bound that were so
    when this conductor started.
    """
    with parts.database.reader() as session:
        bound = claims.bound(session)
        overdue = claims.overdue(session, parts.clock.now()) if parts.clock.steady else []
    parts.tenure.look({claim_id: at for claim_id, (at, _) in bound.items()})
    if not parts.clock.steady:
        return
    for claim in overdue:
        with isolated(f"claim {claim.id} does not expire now"):
            parts.commit(_end_lease, claim)
    for claim_id, (at, limit) in bound.items():
        if limit is not None and parts.tenure.seconds(claim_id, at) >= limit:
            with isolated(f"claim {claim_id} does not expire now"):
                parts.commit(_end_time, claim_id, at)


def _end_lease(transaction: Transaction, overdue: Claim) -> None:
    claim = claims.get(transaction.session, overdue.id)
    # Otherwise another conductor was faster, or the next look sees what has changed.
    if claim.generation == overdue.generation:
        reason = Reason(f"its lease ended at {claim.lease_end:%Y-%m-%d %H:%M:%S} UTC")
        releasing.start(transaction, claim, ClaimState.EXPIRED, reason)


def _end_time(transaction: Transaction, claim_id: str, bound_at: datetime) -> None:
    claim = claims.get(transaction.session, claim_id)
    if claim.state == ClaimState.BOUND and claim.bound_at == bound_at:
        reason = Reason(f"it was bound for its time limit of {span(claim.time_limit or 0)}")
        releasing.start(transaction, claim, ClaimState.EXPIRED, reason)
