"""Attachments: a claim made usable on the host of its vGPUs."""

import secrets

from gpupool.conductor.claims import releasing
from gpupool.conductor.transaction import Transaction
from gpupool.db import attachments, claims, hosts, vgpus
from gpupool.model import errors
from gpupool.model.attachment import Attachment, AttachmentRequest
from gpupool.model.claim import Claim
from gpupool.model.host import Host
from gpupool.model.report import LISTS_MAX
from gpupool.model.states import AttachmentState, ClaimState, HostState

_TICKET_BYTES = 32
MOST_OF_HOST = LISTS_MAX["attachments"]


def create(
    transaction: Transaction, attachment_id: str, request: AttachmentRequest, at_most: int
) -> Attachment:
    """Return the new attachment, pending; with the id of one that the claim has already, that one.

    Conflict unless the claim is bound, its host up, and it has less than ``at_most`` attachments;
    Invalid for any other host.
    """
    session = transaction.session
    if existing := attachments.list_(session, {"id": attachment_id}):
        return _same(existing[0], request)
    host = _host_of(transaction, request)
    # The host is locked from here: the claim can't be released before the commit.
    generation = transaction.touch(host.id)
    claim = _bound(transaction, request.claim_id)
    _check_count(transaction, claim, host, at_most)
    attachment = Attachment(
        id=attachment_id,
        claim_id=claim.id,
        project_id=claim.project_id,
        host_id=host.id,
        kind=request.kind,
        state=AttachmentState.PENDING,
        ticket=secrets.token_urlsafe(_TICKET_BYTES),
        generation=generation,
    )
    return _same(attachments.create(session, attachment), request)


def _same(attachment: Attachment, request: AttachmentRequest) -> Attachment:
    if attachment.claim_id != request.claim_id:
        raise errors.Conflict(f"attachment id {attachment.id} is taken")
    return attachment


def _check_count(transaction: Transaction, claim: Claim, host: Host, at_most: int) -> None:
    """Raise Conflict when there are ``at_most``; one that is being removed is on its host still.

    Nor may a host have more than it can report: that report would be refused, and the host be down.
    """
    count = len(attachments.list_(transaction.session, {"claim_id": claim.id}))
    if count >= at_most:
        raise errors.Conflict(
            f"claim {claim.id} has {count} attachments; allowed: up to {at_most}, [conductor] "
            "max_attachments_per_claim; delete those that no program uses any more"
        )
    if attachments.count(transaction.session, {"host_id": host.id}) >= MOST_OF_HOST:
        raise errors.Conflict(
            f"host {host.name} has {MOST_OF_HOST} attachments, which is as many as it can have; one has "
            "to be deleted first"
        )


def _bound(transaction: Transaction, claim_id: str) -> Claim:
    claim = claims.get(transaction.session, claim_id)
    if claim.state != ClaimState.BOUND:
        raise errors.Conflict(f"claim {claim_id} is {claim.state}; only a bound claim can be attached")
    return claim


def _host_of(transaction: Transaction, request: AttachmentRequest) -> Host:
    """Return the host of the claim's vGPUs, where the program has to be too."""
    session = transaction.session
    claim = _bound(transaction, request.claim_id)
    host = hosts.get(session, vgpus.list_(session, {"claim_id": claim.id})[0].host_id)
    if request.host not in {None, host.name, host.id}:
        raise errors.Invalid(
            f"host is {request.host}; allowed: {host.name}, where the vGPUs of claim {claim.id} are"
        )
    if host.state != HostState.UP:
        raise errors.Conflict(f"host {host.name} is {host.state}; it can take no attachment now")
    return host


def delete(transaction: Transaction, attachment_id: str) -> None:
    """Ask an attachment's host to remove it; nothing happens if that is under way."""
    attachment = attachments.get(transaction.session, attachment_id)
    releasing.remove_attachment(transaction, attachment)
