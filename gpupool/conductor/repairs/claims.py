"""Repairs of claims, and of the vGPUs and attachments that they have."""

from collections.abc import Callable, Iterable
from datetime import timedelta

from sqlalchemy.orm import Session

from gpupool.conductor.claims import binding, health, releasing
from gpupool.conductor.claims.abandoned import Abandoned
from gpupool.conductor.claims.releasing import Releasing
from gpupool.conductor.claims.resizing import Resizing
from gpupool.conductor.isolation import isolated
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.conductor.under_way import UnderWay
from gpupool.db import attachments, claims, hosts, inconsistencies, times, vgpus
from gpupool.model.reason import Reason
from gpupool.model.states import HOLDING, AttachmentState, ClaimState, HostState, VgpuState
from gpupool.model.vgpu import Vgpu


class ClaimRepairs:
    """Finishes or undoes what was begun with claims and nobody goes on with."""

    def __init__(
        self,
        transactions: Transactions,
        abandoned: Abandoned,
        resizing: Resizing,
        releasing: Releasing,
        under_way: UnderWay,
    ) -> None:
        self._transactions, self._abandoned = transactions, abandoned
        self._resizing, self._releasing, self._under_way = resizing, releasing, under_way

    def end_allocating(self) -> None:
        """Complete or undo claims that a conductor of an older release left allocating."""
        limit = timedelta(seconds=self._transactions.conf.conductor.allocating_timeout)
        with self._transactions.reader() as session:
            left = claims.stale(session, ClaimState.ALLOCATING, times.now(session) - limit)
        for claim in left:
            with isolated(f"claim {claim.id} stays allocating"):
                self._abandoned.end_one(claim)

    def end_binding(self) -> None:
        """End what waits for a host that is down, lacks a vGPU, or has all of them and was not told."""
        self._repair_each(_end_binding, inconsistencies.binding)

    def end_growing(self) -> None:
        """Drop vGPUs by which a claim was to grow, and that a conductor left planned."""
        limit = timedelta(seconds=self._transactions.conf.conductor.allocating_timeout)
        with self._transactions.reader() as session:
            found = vgpus.growing(session)
            since = times.now(session) - limit
        for planned, owner in found:
            old = planned.created_at is not None and planned.created_at < since
            if not (old if owner is None else self._under_way.is_left(owner, planned.claim_id)):
                continue
            with isolated(f"the growth of claim {planned.claim_id} is not undone now"):
                self._resizing.undo([planned])

    def end_releasing(self) -> None:
        """End releasing claims with vGPUs that nobody takes away, or with none left."""
        self._repair_each(_end_releasing, inconsistencies.releasing)

    def remove_leftovers(self) -> None:
        """Take away vGPUs of claims that hold nothing, and attachments of claims that are not bound."""
        self._repair_each(_remove_vgpus, inconsistencies.kept_vgpus)
        self._repair_each(_remove_attachments, inconsistencies.kept_attachments)

    def drop_from_down_hosts(self) -> None:
        """Drop what is to leave a host that is down: it won't say that it has."""
        with self._transactions.reader() as session:
            down = {host.id for host in hosts.list_(session, {"state": HostState.DOWN})}
            gone = vgpus.list_(session, {"host_id": down, "state": VgpuState.REMOVING})
            detached = attachments.list_(session, {"host_id": down, "state": AttachmentState.REMOVING})
        self._repair_each(_forget_attachment, lambda _: [each.id for each in detached])
        for vgpu in gone:
            with isolated(f"vGPU {vgpu.id} is dropped later"):
                self._drop(vgpu)

    def _drop(self, vgpu: Vgpu) -> None:
        if self._transactions.commit(_is_down, vgpu.host_id):
            self._releasing.drop([vgpu])

    def write_health(self) -> None:
        """Write again the health of claims."""
        self._repair_each(_write_health, inconsistencies.health)

    def _repair_each(
        self,
        repair: Callable[[Transaction, str], None],
        find: Callable[[Session], Iterable[str]],
    ) -> None:
        """Call ``repair`` for each of those that ``find`` names, in a transaction of its own."""
        with self._transactions.reader() as session:
            found = find(session)
        for each in found:
            with isolated(f"{repair.__name__} {each}"):
                self._transactions.commit(repair, each)


def _end_binding(transaction: Transaction, claim_id: str) -> None:
    session = transaction.session
    claim = claims.get(session, claim_id)
    held = [each for each in vgpus.list_(session, {"claim_id": claim_id}) if each.counted]
    if claim.state not in {ClaimState.BINDING, ClaimState.BOUND}:
        return
    if len(held) != claim.count:
        reason = Reason(f"it has {len(held)} of {claim.count} vGPUs left; it starts anew")
        releasing.start(transaction, claim, ClaimState.QUEUED, reason)
    elif claim.state == ClaimState.BINDING and (down := _down(transaction, held)):
        releasing.start(transaction, claim, ClaimState.QUEUED, _went_down(down))
    else:
        binding.bind_active(transaction, [claim_id])


def _went_down(host: str) -> Reason:
    return Reason("its host went down before it was bound; it starts anew", f"host {host} went down")


def _down(transaction: Transaction, held: list[Vgpu]) -> str | None:
    """Return the name of a host of ``held`` that is down."""
    ids = {vgpu.host_id for vgpu in held}
    found = hosts.list_(transaction.session, {"id": ids, "state": HostState.DOWN})
    return found[0].name if found else None


def _end_releasing(transaction: Transaction, claim_id: str) -> None:
    claim = claims.get(transaction.session, claim_id)
    if claim.state != ClaimState.RELEASING:
        return
    held = vgpus.list_(transaction.session, {"claim_id": claim_id})
    releasing.remove_vgpus(transaction, held)
    if not held:
        releasing.finish(transaction, [claim_id])


def _remove_vgpus(transaction: Transaction, claim_id: str) -> None:
    held = vgpus.list_(transaction.session, {"claim_id": claim_id})
    if claims.get(transaction.session, claim_id).state not in HOLDING:
        releasing.remove_vgpus(transaction, held)


def _remove_attachments(transaction: Transaction, claim_id: str) -> None:
    if claims.get(transaction.session, claim_id).state != ClaimState.BOUND:
        for attachment in attachments.list_(transaction.session, {"claim_id": claim_id}):
            releasing.remove_attachment(transaction, attachment)


def _forget_attachment(transaction: Transaction, attachment_id: str) -> None:
    session = transaction.session
    for attachment in attachments.list_(session, {"id": attachment_id}):
        if _is_down(transaction, attachment.host_id):
            attachments.delete(session, attachment_id)


def _is_down(transaction: Transaction, host_id: str) -> bool:
    """Return whether a host is down still: if it came back, its reports say what it has."""
    # Writing locks the row: a report that comes now waits.
    return hosts.update(transaction.session, host_id).state == HostState.DOWN


def _write_health(transaction: Transaction, host_id: str) -> None:
    # A report that comes now waits, and writes what it knows after this.
    if transaction.hold([host_id]):
        health.write(transaction, host_id)
