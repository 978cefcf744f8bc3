"""Claims that make room for others: taken apart as a whole here, by single vGPUs in ``resizing``."""

from gpupool.conductor.claims import releasing
from gpupool.conductor.transaction import Transaction
from gpupool.db import claims
from gpupool.model.claim import Claim, OnPreempt
from gpupool.model.reason import Reason
from gpupool.model.states import ClaimState


def preempt(transaction: Transaction, victim: Claim, waiting: Claim) -> None:
    """Take a claim apart for another one; nothing happens when one of them has changed since."""
    now = claims.generations_of(transaction.session, [victim.id, waiting.id])
    if now != {each.id: each.generation for each in (victim, waiting)}:
        return
    if victim.state != ClaimState.BOUND or not victim.preemptible:
        return
    requeue = victim.on_preempt == OnPreempt.REQUEUE
    release_to = ClaimState.QUEUED if requeue else ClaimState.RELEASED
    releasing.start(transaction, victim, release_to, made_room(victim, waiting))


def made_room(victim: Claim, waiting: Claim) -> Reason:
    """Return why a claim was preempted."""
    detail = f"for claim {waiting.id} of project {waiting.project_id}"
    if victim.project_id == waiting.project_id:
        return Reason(f"it made room for claim {waiting.label}", detail)
    if waiting.priority > victim.priority:
        return Reason("it made room for a claim of higher priority", detail)
    return Reason("it made room for a project that has less than its part of the pool", detail)
