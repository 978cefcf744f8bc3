"""Claims that end by the clock: their lease is over, or their time limit."""

from datetime import datetime

from gpupool.conductor.claims import releasing
from gpupool.conductor.isolation import isolated
from gpupool.conductor.tenure import Tenure
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import claims
from gpupool.model.claim import Claim
from gpupool.model.reason import Reason, span
from gpupool.model.states import ClaimState


def expire(transactions: Transactions, tenure: Tenure) -> None:
    """End every claim whose lease has ended, or that was bound for as long as its time limit.

    None ends before the clock is known to be right, which tells when claims were bound that were so
    when this conductor started.
    """
    with transactions.reader() as session:
        bound = claims.bound(session)
        overdue = claims.overdue(session, transactions.clock.now()) if transactions.clock.steady else []
    tenure.look({claim_id: at for claim_id, (at, _) in bound.items()})
    if not transactions.clock.steady:
        return
    for claim in overdue:
        with isolated(f"claim {claim.id} does not expire now"):
            transactions.commit(_end_lease, claim)
    for claim_id, (at, limit) in bound.items():
        if limit is not None and tenure.seconds(claim_id, at) >= limit:
            with isolated(f"claim {claim_id} does not expire now"):
                transactions.commit(_end_time, claim_id, at)


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
