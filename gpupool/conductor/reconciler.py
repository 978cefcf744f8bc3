"""The reconciler: one small function for each kind of difference that a crash or a hand may leave.

Each is harmless when there is no difference, and when another conductor repairs the same.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta

from oslo_utils import timeutils

from gpupool.conductor import binding, defragmenting, health, ledger, releasing
from gpupool.conductor.isolation import isolated
from gpupool.conductor.parts import Parts, Transaction
from gpupool.db import attachments, claims, devices, hosts, pools, vgpus
from gpupool.db.vgpus import BESIDE
from gpupool.model import errors
from gpupool.model.attachment import Attachment
from gpupool.model.claim import Claim
from gpupool.model.device import Device
from gpupool.model.states import (
    HOLDING,
    AttachmentState,
    ClaimState,
    HostState,
    VgpuState,
)
from gpupool.model.vgpu import Vgpu

LOG = logging.getLogger(__name__)


def reconcile(parts: Parts) -> None:
    """Repair every kind of difference; one that fails does not keep the others."""
    for repair in REPAIRS:
        try:
            repair(parts)
        except errors.GpupoolError as exc:
            LOG.warning("%s: goes on next time: %s", repair.__name__, exc)
        except Exception:
            LOG.exception("%s failed", repair.__name__)


def _repair_each(
    parts: Parts, repair: Callable[[Transaction, str], None], found: Iterable[Claim | Attachment]
) -> None:
    """Have ``repair`` mend every one of ``found`` in a transaction of its own."""
    for each in found:
        with isolated(f"{repair.__name__} {each.id}"):
            parts.commit(repair, each.id)


def end_allocating(parts: Parts) -> None:
    """Complete or undo claims that a conductor left between their rows and Placement."""
    limit = timedelta(seconds=parts.conf.conductor.allocating_timeout)
    with parts.database.reader() as session:
        left = claims.stale(session, ClaimState.ALLOCATING, timeutils.utcnow() - limit)
    for claim in left:
        with isolated(f"claim {claim.id} stays allocating"):
            _end_allocating(parts, claim)


def _end_allocating(parts: Parts, claim: Claim) -> None:
    with parts.database.reader() as session:
        planned = vgpus.list_(session, {"claim_id": claim.id})
    left = binding.Planned(claim=claim, vgpus=tuple(planned))
    if planned and all(_agreed(parts, vgpu) for vgpu in planned):
        LOG.warning("claim %s was left allocating: goes on", claim.id)
        binding.hand_over(parts, [left])
    else:
        LOG.warning("claim %s was left allocating: goes back", claim.id)
        binding.undo(parts, [(left, "a conductor stopped while it allocated")])


def _agreed(parts: Parts, vgpu: Vgpu) -> bool:
    allocation = parts.allocations.get_allocation(vgpu.id)
    return allocation is not None and allocation.resources == releasing.grant(vgpu).resources()


def end_binding(parts: Parts) -> None:
    """End what waits for a host that is down, lacks a vGPU, or has all of them and was not told."""
    with parts.database.reader() as session:
        found = claims.list_(session, {"state": [ClaimState.BINDING, ClaimState.BOUND]})
    _repair_each(parts, _end_binding, found)


def _end_binding(transaction: Transaction, claim_id: str) -> None:
    session = transaction.session
    claim = claims.get(session, claim_id)
    held = [each for each in vgpus.list_(session, {"claim_id": claim_id}) if each.index < BESIDE]
    if claim.state not in {ClaimState.BINDING, ClaimState.BOUND}:
        return
    if len(held) != claim.count:
        reason = f"it has {len(held)} of {claim.count} vGPUs left"
        releasing.start(transaction, claim, ClaimState.QUEUED, reason)
    elif claim.state == ClaimState.BINDING and (down := _down(transaction, held)):
        releasing.start(transaction, claim, ClaimState.QUEUED, f"host {down} went down")
    else:
        binding.bind_active(transaction, [claim_id])


def _down(transaction: Transaction, held: list[Vgpu]) -> str | None:
    """Return the name of a host of ``held`` that is down."""
    ids = {vgpu.host_id for vgpu in held}
    found = hosts.list_(transaction.session, {"id": ids, "state": HostState.DOWN})
    return found[0].name if found else None


def end_moving(parts: Parts) -> None:
    """Undo moves that a conductor left prepared."""
    limit = timedelta(seconds=parts.conf.conductor.allocating_timeout)
    with parts.database.reader() as session:
        left = vgpus.left_beside(session, timeutils.utcnow() - limit)
    for beside in left:
        with isolated(f"the move of claim {beside.claim_id} is not undone now"):
            defragmenting.drop(parts, beside)


def end_releasing(parts: Parts) -> None:
    """End releasing claims with vGPUs that nobody takes away, or with none left."""
    with parts.database.reader() as session:
        found = claims.list_(session, {"state": ClaimState.RELEASING})
    _repair_each(parts, _end_releasing, found)


def _end_releasing(transaction: Transaction, claim_id: str) -> None:
    claim = claims.get(transaction.session, claim_id)
    if claim.state != ClaimState.RELEASING:
        return
    held = vgpus.list_(transaction.session, {"claim_id": claim_id})
    releasing.remove_vgpus(transaction, held)
    if not held:
        releasing.finish(transaction, [claim_id])


def remove_leftovers(parts: Parts) -> None:
    """Take away vGPUs of claims that hold nothing, and attachments of claims that are not bound."""
    with parts.database.reader() as session:
        held = {vgpu.claim_id for vgpu in vgpus.list_(session)}
        attached = {attachment.claim_id for attachment in attachments.list_(session)}
        ended = claims.list_(session, {"id": held, "state": set(ClaimState) - HOLDING})
        unbound = claims.list_(session, {"id": attached, "state": set(ClaimState) - {ClaimState.BOUND}})
    _repair_each(parts, _remove_vgpus, ended)
    _repair_each(parts, _remove_attachments, unbound)


def _remove_vgpus(transaction: Transaction, claim_id: str) -> None:
    held = vgpus.list_(transaction.session, {"claim_id": claim_id})
    if claims.get(transaction.session, claim_id).state not in HOLDING:
        releasing.remove_vgpus(transaction, held)


def _remove_attachments(transaction: Transaction, claim_id: str) -> None:
    if claims.get(transaction.session, claim_id).state != ClaimState.BOUND:
        for attachment in attachments.list_(transaction.session, {"claim_id": claim_id}):
            releasing.remove_attachment(transaction, attachment)


def drop_from_down_hosts(parts: Parts) -> None:
    """Drop vGPUs and attachments that are to leave a host that is down: it won't say that they have."""
    with parts.database.reader() as session:
        down = {host.id for host in hosts.list_(session, {"state": HostState.DOWN})}
        gone = vgpus.list_(session, {"host_id": down, "state": VgpuState.REMOVING})
        detached = attachments.list_(session, {"host_id": down, "state": AttachmentState.REMOVING})
    _repair_each(parts, _forget_attachment, detached)
    for vgpu in gone:
        with isolated(f"vGPU {vgpu.id} is dropped later"):
            _drop(parts, vgpu)


def _forget_attachment(transaction: Transaction, attachment_id: str) -> None:
    session = transaction.session
    for attachment in attachments.list_(session, {"id": attachment_id}):
        if _is_down(transaction, attachment.host_id):
            attachments.delete(session, attachment_id)


def _drop(parts: Parts, vgpu: Vgpu) -> None:
    if parts.commit(_is_down, vgpu.host_id):
        releasing.drop(parts, [vgpu])


def _is_down(transaction: Transaction, host_id: str) -> bool:
    """Return whether a host is down still: if it came back, its reports say what it has."""
    # Writing locks the row: a report that comes now waits.
    return hosts.update(transaction.session, host_id).state == HostState.DOWN


def write_providers(parts: Parts) -> None:
    """Write again what is missing or was changed by hand: provider, inventory, traits, aggregate."""
    with parts.database.reader() as session:
        owned: dict[str, list[Device]] = {}
        for device in devices.list_(session):
            owned.setdefault(device.host_id, []).append(device)
        known = {host: owned.get(host.id, []) for host in hosts.list_(session)}
        of_all = pools.list_(session)
    for name in parts.inventory.verify(known, of_all):
        LOG.info("providers of host %s differed: written again", name)


def remove_providers(parts: Parts) -> None:
    """Remove providers of devices that nobody knows any more."""
    # In this order: a device's row is written before its provider.
    provided = parts.inventory.provided()
    with parts.database.reader() as session:
        known = {device.id for device in devices.list_(session)}
    for device_id in provided - known:
        with isolated(f"provider {device_id} belongs to no device"):
            parts.inventory.remove(device_id)
            LOG.warning("provider %s belonged to no device: removed", device_id)


def write_health(parts: Parts) -> None:
    """Write again the health of claims."""
    with parts.database.reader() as session:
        found = {vgpu.host_id for vgpu in vgpus.list_(session)}
    for host_id in found:
        with isolated(f"health of claims on host {host_id}"):
            parts.commit(_write_health, host_id)


def _write_health(transaction: Transaction, host_id: str) -> None:
    # A report that comes now waits, and writes what it knows after this.
    if transaction.hold([host_id]):
        health.write(transaction, host_id)


def compare_ledger(parts: Parts) -> None:
    """Repair allocations without vGPU, vGPUs without allocation, and other sizes: see ``ledger``."""
    books = ledger.read(parts)
    ledger.give_back_orphans(parts, books)
    ledger.correct(parts, books)


REPAIRS: tuple[Callable[[Parts], None], ...] = (
    end_allocating,
    end_binding,
    end_moving,
    end_releasing,
    remove_leftovers,
    drop_from_down_hosts,
    write_health,
    write_providers,
    remove_providers,
    compare_ledger,
    defragmenting.by_policy,
)
