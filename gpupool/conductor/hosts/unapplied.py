"""What becomes of a host that reports and does not apply what it should have.

How long a vGPU has waited to be made or removed is counted by each conductor, look by look, as with
silent hosts. A host that is late takes no new vGPUs until it has applied all there is; the claims that
it should have had are queued again. Nobody used their vGPUs, so these are given back at once: no other
claim gets their room before the host has said that it removed them. What programs may have used stays
accounted for as long as the host does not say that it is gone.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable

from gpupool.conductor.claims import refusals, releasing, resizing
from gpupool.conductor.claims.refusals import Refusal
from gpupool.conductor.isolation import isolated
from gpupool.conductor.leader_notifier import LeaderNotifier
from gpupool.conductor.providers.outbox import Outbox
from gpupool.conductor.silence import Silence
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import hosts, vgpus
from gpupool.model.host import Host
from gpupool.model.states import VgpuState
from gpupool.model.vgpu import Vgpu

LOG = logging.getLogger(__name__)


def close_hosts(
    transactions: Transactions, outbox: Outbox, notifier: LeaderNotifier, counted: Silence
) -> None:
    """Close every host that is late with a vGPU, and open those that have applied all since."""
    with transactions.reader() as session:
        waiting = {vgpu.id: vgpu for vgpu in vgpus.unapplied(session)}
        closed = {host.id: host for host in hosts.not_applying(session)}
        unused = vgpus.leaving_unused(session, closed.keys()) if closed else []
    late = counted.look({each.id: (each.state, each.generation) for each in waiting.values()})
    of_host = defaultdict(set)
    if transactions.conf.conductor.apply_timeout:
        for vgpu_id in late:
            of_host[waiting[vgpu_id].host_id].add(vgpu_id)
    for host_id, late_ids in of_host.items():
        planned = any(waiting[each].state == VgpuState.PLANNED for each in late_ids)
        with isolated(f"host {host_id}, which does not apply what it should have, is not closed now"):
            if planned or host_id not in closed:
                transactions.commit(_close, host_id, late_ids)
    for host in closed.values():
        with isolated(f"host {host.name} is not opened now"):
            if host.id not in of_host and host.applied_generation >= host.generation:
                transactions.commit(_open, host)
    if unused:
        outbox.add([], unused)
        notifier.notify()


def _close(transaction: Transaction, host_id: str, late_ids: Collection[str]) -> None:
    """Close a host unless it has applied meanwhile what it was late with."""
    session = transaction.session
    held = transaction.hold([host_id])
    waiting = vgpus.unapplied(session, host_id=host_id)
    if host_id not in held or not any(vgpu.id in late_ids for vgpu in waiting):
        return
    host = held[host_id]
    timeout = transaction.conf.conductor.apply_timeout
    why = f"it reports, and for {timeout} s has not made or removed vGPUs as it should"
    LOG.warning("host %s gets no new vGPUs until it applies what it should have: %s", host.name, why)
    hosts.update(session, host_id, unapplied_reason=why)
    transaction.revise(host_id)
    _refuse(transaction, host, (vgpu for vgpu in waiting if vgpu.state == VgpuState.PLANNED))
    for claim_id in sorted({each.claim_id for each in waiting if each.state == VgpuState.REMOVING}):
        releasing.note_kept(transaction, claim_id)


def _refuse(transaction: Transaction, host: Host, planned: Iterable[Vgpu]) -> None:
    """Take apart the claims of vGPUs that a host does not make, as if it had refused them."""
    of_claim = defaultdict(list)
    for vgpu in planned:
        of_claim[vgpu.claim_id].append(vgpu)
    attempts = transaction.conf.conductor.binding_attempts
    for claim_id, missing in sorted(of_claim.items()):
        error = "it reports, and does not make what it should have"
        ids = tuple(vgpu.id for vgpu in missing)
        refusal = Refusal(error, True, missing[0].device_id, ids)
        if not resizing.give_up_refused(transaction, claim_id, host.name, refusal):
            refusals.take_apart(transaction, claim_id, host.name, refusal, attempts)


def _open(transaction: Transaction, judged: Host) -> None:
    host = transaction.hold([judged.id]).get(judged.id)
    if host is None or host.applied_generation < host.generation:
        return
    LOG.info("host %s has applied what it should have: it takes new vGPUs again", host.name)
    hosts.update(transaction.session, host.id, unapplied_reason="")
    transaction.revise(host.id)
    transaction.wake_queue()
