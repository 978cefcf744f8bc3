"""Does in Placement what reports and operators left to be done.

It is done in a thread of its own: Placement may be slow or gone, and reports must be answered then too.
What is lost with a conductor the reconciler finds.
"""

from collections.abc import Collection

from gpupool.conductor.claims import moving, releasing
from gpupool.conductor.context import Parts
from gpupool.conductor.isolation import isolated
from gpupool.conductor.transaction import Transaction
from gpupool.db import devices, hosts, pools
from gpupool.model import errors


def settle(parts: Parts, under_way: Collection[str] = ()) -> bool:
    """Do what was noted, giving back first; what Placement does not take now stays noted.

    So does what is of claims that are ``under_way`` to Placement, as it would be written there after it
    was given back. Return whether there is such.
    """
    if not parts.dependencies.answer():
        return False
    host_ids, noted = parts.left.take()
    gone = [vgpu for vgpu in noted if vgpu.claim_id not in under_way]
    later = [vgpu for vgpu in noted if vgpu.claim_id in under_way]
    parts.left.add([], later)
    try:
        # What was refused for good comes again with the host's next report.
        with isolated("what left its host is given back later"):
            releasing.drop(parts, gone)
            gone = []
        moving.end_arrived(parts)
        for host_id in sorted(host_ids):
            with isolated("providers of a host follow later"):
                _follow(parts, host_id)
            host_ids.remove(host_id)
    except errors.Unavailable as exc:
        parts.left.add(host_ids, gone)
        parts.dependencies.failed(exc)
    return bool(later)


def _follow(parts: Parts, host_id: str) -> None:
    with parts.database.reader() as session:
        found = hosts.list_(session, {"id": host_id})
        owned = devices.list_(session, {"host_id": host_id})
        of_pool = {host.id: pools.get(session, host.pool_id) for host in found}
    for host in found:
        parts.inventory.follow(host, of_pool[host.id], owned)
    known = parts.inventory.verified(device.id for device in owned if not device.in_placement)
    if known:
        parts.commit(_note, known)


def _note(transaction: Transaction, device_ids: Collection[str]) -> None:
    devices.note_in_placement(transaction.session, device_ids, there=True)
