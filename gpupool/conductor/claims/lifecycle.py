"""Claims: made, changed, released. How they bind: ``binding``; how they end: ``releasing``."""

from dataclasses import asdict, replace

from oslo_context.context import RequestContext

from gpupool.conductor.capacity.pool_views import Views
from gpupool.conductor.claims import leases, quota, releasing, validation
from gpupool.conductor.claims.limits import Limits, OfProject
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import claims, times
from gpupool.model import errors
from gpupool.model.claim import Claim, ClaimChange, ClaimRequest
from gpupool.model.pool import Pool
from gpupool.model.reason import NONE
from gpupool.model.states import ENDED, ClaimState
from gpupool.placement.client import PlacementClient


class Claims:
    """Makes claims; ``views`` and ``inventory`` tell whether a pool could ever hold one."""

    def __init__(
        self,
        transactions: Transactions,
        limits: Limits,
        placement: PlacementClient,
        inventory: Inventory,
        views: Views,
    ) -> None:
        self._transactions, self._limits = transactions, limits
        self._placement, self._inventory, self._views = placement, inventory, views

    def create(self, ctxt: RequestContext, claim_id: str, request: ClaimRequest) -> Claim:
        """Return the new claim, queued; with the id of one that is there already, that one.

        Raises Invalid for everything that can never bind, OverQuota for what the project may not hold,
        Unavailable when Placement or Keystone is needed to know.
        """
        if not ctxt.project_id:
            raise errors.Invalid("a claim needs a project; the request is for none")
        try:
            claim = self.checked(ctxt, claim_id, request)
            created = self._transactions.commit(_create, claim, self._limits.of(claim.project_id))
        except errors.GpupoolError:
            # A change that is asked for twice may not be possible the second time.
            with self._transactions.reader() as session:
                found = claims.list_(session, {"id": claim_id})
            if not found:
                raise
            created = found[0]
        if created.project_id != ctxt.project_id:
            raise errors.Conflict(f"claim id {claim_id} is taken")
        return created

    def checked(self, ctxt: RequestContext, claim_id: str, request: ClaimRequest) -> Claim:
        """Return the claim that is to be, which is not stored; raises as ``create``, but OverQuota."""
        with self._transactions.reader() as session:
            profile = validation.find_profile(session, request.profile) if request.profile else None
            request = validation.from_profile(request, profile)
            options = self._transactions.conf.conductor
            if request.sessions is None:
                request = replace(request, sessions=options.sessions_per_vgpu)
            validation.check_sizes(request, options.max_sessions_per_vgpu)
            pool = validation.find_pool(session, request.pool)
            host = validation.check_place(session, request, pool)
        validation.check_lease(request.lease_end, self._transactions.clock.now())
        required, forbidden = request.required_traits or (), request.forbidden_traits or ()
        validation.check_apart(required, forbidden)
        validation.check_known(self._placement, (*required, *forbidden))
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
        # No transaction is open: a pass of the queue may hold the view for long.
        if claim.partition:
            claim = validation.with_sizes(claim, pool, self._views)
        self._check_possible(claim, pool)
        return claim

    def _check_possible(self, claim: Claim, pool: Pool) -> None:
        try:
            validation.check_possible(claim, pool, self._views)
        except errors.Invalid:
            if not (claim.required_traits or claim.forbidden_traits):
                raise
            # An operator may have changed the providers' traits since they were read.
            self._inventory.learn(claim.required_traits, claim.forbidden_traits)
            validation.check_possible(claim, pool, self._views)


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
