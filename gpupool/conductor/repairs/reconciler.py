"""The reconciler: one small function for each kind of difference that a crash or a hand may leave.

Each is harmless when there is no difference, and when another conductor repairs the same.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

from sqlalchemy.orm import Session

from gpupool.conductor.claims import abandoned, binding, health, moving, releasing, resizing
from gpupool.conductor.context import Parts
from gpupool.conductor.isolation import isolated
from gpupool.conductor.repairs import audit
from gpupool.conductor.scheduling import defragmenting
from gpupool.conductor.transaction import Transaction
from gpupool.db import (
    attachments,
    claims,
    devices,
    hosts,
    inconsistencies,
    pools,
    services,
    times,
    vgpus,
)
from gpupool.model import errors
from gpupool.model.device import Device
from gpupool.model.reason import Reason
from gpupool.model.states import (
    HOLDING,
    AttachmentState,
    ClaimState,
    HostState,
    VgpuState,
)
from gpupool.model.vgpu import Vgpu

LOG = logging.getLogger(__name__)
# For how long a process that was killed is shown.
_PURGED = timedelta(hours=1)


def reconcile(parts: Parts) -> None:
    """Repair every kind of difference; one that fails does not keep the others.

    What needs Placement waits while that is known to be away.
    """
    for repair in REPAIRS:
        if repair in _ASK_PLACEMENT and not parts.dependencies.placement.answers():
            continue
        try:
            repair(parts)
        except errors.Unavailable as exc:
            parts.dependencies.failed(exc)
        except errors.GpupoolError as exc:
            LOG.warning("%s: goes on next time: %s", repair.__name__, exc)
        except Exception:
            LOG.exception("%s failed", repair.__name__)


def _repair_each(
    parts: Parts,
    repair: Callable[[Transaction, str], None],
    find: Callable[[Session], Iterable[str]],
) -> None:
    """Call ``repair`` for each of those that ``find`` names, in a transaction of its own."""
    with parts.database.reader() as session:
        found = find(session)
    for each in found:
        with isolated(f"{repair.__name__} {each}"):
            parts.commit(repair, each)


def end_allocating(parts: Parts) -> None:
    """Complete or undo claims that a conductor of an older release left between rows and Placement."""
    limit = timedelta(seconds=parts.conf.conductor.allocating_timeout)
    with parts.database.reader() as session:
        left = claims.stale(session, ClaimState.ALLOCATING, times.now(session) - limit)
    for claim in left:
        with isolated(f"claim {claim.id} stays allocating"):
            abandoned.end_one(parts, claim)


def end_binding(parts: Parts) -> None:
    """End what waits for a host that is down, lacks a vGPU, or has all of them and was not told."""
    _repair_each(parts, _end_binding, inconsistencies.binding)


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


def end_moving(parts: Parts) -> None:
    """Undo moves that a conductor left planned, and give back what those that ended left."""
    moving.end_left(parts)
    moving.end_arrived(parts)


def end_growing(parts: Parts) -> None:
    """Drop vGPUs by which a claim was to grow, and that a conductor left planned."""
    limit = timedelta(seconds=parts.conf.conductor.allocating_timeout)
    with parts.database.reader() as session:
        found = vgpus.growing(session)
        since = times.now(session) - limit
    for planned, owner in found:
        old = planned.created_at is not None and planned.created_at < since
        if not (old if owner is None else abandoned.is_left_growing(parts, planned.claim_id, owner)):
            continue
        with isolated(f"the growth of claim {planned.claim_id} is not undone now"):
            resizing.undo(parts, [planned])


def end_releasing(parts: Parts) -> None:
    """End releasing claims with vGPUs that nobody takes away, or with none left."""
    _repair_each(parts, _end_releasing, inconsistencies.releasing)


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
    _repair_each(parts, _remove_vgpus, inconsistencies.kept_vgpus)
    _repair_each(parts, _remove_attachments, inconsistencies.kept_attachments)


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
    _repair_each(parts, _forget_attachment, lambda _: [each.id for each in detached])
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


def compare_providers(parts: Parts) -> None:
    """Remove providers of devices that nobody knows; write what is missing or was changed by hand."""
    # In this order: a device's row is written before its provider.
    providers = parts.inventory.providers()
    with parts.database.reader() as session:
        owned: dict[str, list[Device]] = {}
        for device in devices.list_(session):
            owned.setdefault(device.host_id, []).append(device)
        known = {host: owned.get(host.id, []) for host in hosts.list_(session)}
        of_all = pools.list_(session)
    for device_id in providers.keys() - {device.id for each in known.values() for device in each}:
        with isolated(f"provider {device_id} belongs to no device"):
            parts.inventory.remove(device_id)
            LOG.warning("provider %s belonged to no device: removed", device_id)
    for name in parts.inventory.verify(known, of_all, providers):
        LOG.info("providers of host %s differed: written again", name)
    _note_in_placement(parts, [device for each in known.values() for device in each], providers)


def _note_in_placement(parts: Parts, known: list[Device], providers: Mapping[str, object]) -> None:
    """Write of which devices Placement has the provider, where the database says otherwise."""
    there = providers.keys() | parts.inventory.verified(device.id for device in known)
    for wanted in (True, False):
        wrong = [
            device.id
            for device in known
            if device.in_placement != wanted and (device.id in there) == wanted
        ]
        if wrong:
            parts.commit(_write_in_placement, wrong, wanted)


def _write_in_placement(transaction: Transaction, device_ids: list[str], there: bool) -> None:
    devices.note_in_placement(transaction.session, device_ids, there)


def write_health(parts: Parts) -> None:
    """Write again the health of claims."""
    _repair_each(parts, _write_health, inconsistencies.health)


def _write_health(transaction: Transaction, host_id: str) -> None:
    # A report that comes now waits, and writes what it knows after this.
    if transaction.hold([host_id]):
        health.write(transaction, host_id)


def purge_services(parts: Parts) -> None:
    """Delete rows of processes that were killed long ago: the others delete their own."""
    with parts.database.reader() as session:
        older_than = times.now(session) - _PURGED
        if not services.seen_before(session, older_than):
            return
    with parts.database.writer() as session:
        services.purge(session, older_than)


def compare_ledger(parts: Parts) -> None:
    """Repair allocations without vGPU, vGPUs without allocation, and other sizes: see ``ledger``."""
    books = audit.read(parts)
    audit.give_back_orphans(parts, books)
    audit.correct(parts, books)


REPAIRS: tuple[Callable[[Parts], None], ...] = (
    end_allocating,
    end_binding,
    end_moving,
    end_growing,
    end_releasing,
    remove_leftovers,
    drop_from_down_hosts,
    write_health,
    compare_providers,
    compare_ledger,
    defragmenting.by_policy,
    purge_services,
)
_ASK_PLACEMENT = frozenset(
    {
        end_allocating,
        end_moving,
        end_growing,
        drop_from_down_hosts,
        compare_providers,
        compare_ledger,
        defragmenting.by_policy,
    }
)
