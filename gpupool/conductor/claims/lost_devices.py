"""What becomes of bound claims whose device stays failed or missing, or whose host stays down.

The health that is written on a claim tells that something is lost; how long it has been so is counted
by each conductor, as with silent hosts: what is back in time, or flaps faster, costs a claim nothing. A
host that lies about its devices can take the claims on it apart, as it can by refusing their vGPUs;
those that queue again try other hosts first.
"""

import logging

from gpupool.conductor.claims import releasing, resizing
from gpupool.conductor.isolation import isolated
from gpupool.conductor.silence import Silence
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import claims, devices, hosts, vgpus
from gpupool.model.claim import Claim, ClaimHealth, OnDeviceLost
from gpupool.model.reason import Reason
from gpupool.model.states import ClaimState, DeviceHealth, HostState

LOG = logging.getLogger(__name__)
_BECOMES = {OnDeviceLost.REQUEUE: ClaimState.QUEUED, OnDeviceLost.FAIL: ClaimState.FAILED}


def end_claims(transactions: Transactions, counted: Silence) -> None:
    """Queue again or fail every bound claim that asked for it and has lost a device for long enough."""
    filters = {
        "state": ClaimState.BOUND,
        "on_device_lost": list(_BECOMES),
        "health": list(set(ClaimHealth) - {ClaimHealth.OK}),
    }
    with transactions.reader() as session:
        found = {claim.id: claim for claim in claims.list_(session, filters)}
    # Every change of its health is one of its generation, also one that nobody saw between two looks.
    for claim_id in counted.look({claim.id: claim.generation for claim in found.values()}):
        with isolated(f"claim {claim_id}, which has lost a device, is not ended now"):
            transactions.commit(_end, found[claim_id])


def _end(transaction: Transaction, judged: Claim) -> None:
    session = transaction.session
    claim = claims.get(session, judged.id)
    # Otherwise its device is back, or another conductor was faster.
    if claim.generation != judged.generation or claim.state != ClaimState.BOUND:
        return
    held = [each for each in vgpus.list_(session, {"claim_id": claim.id}) if each.counted]
    on = {host.id: host for host in hosts.list_(session, {"id": {each.host_id for each in held}})}
    down = {host_id for host_id, host in on.items() if host.state == HostState.DOWN}
    broken = {
        device.id: f"device {on[device.host_id].name}/{device.key} is {device.health}"
        for device in devices.list_(session, {"id": {each.device_id for each in held}})
        if device.health != DeviceHealth.OK
    }
    away = [each for each in held if each.host_id in down or each.device_id in broken]
    if not away:
        return
    first = away[0]
    lost = f"host {on[first.host_id].name} is down" if first.host_id in down else broken[first.device_id]
    if resizing.give_up(transaction, claim.id, {each.id for each in away}, Reason(lost)):
        return
    # It tries others first, should it queue again.
    refused_by = {*claim.refused_by, *(on[each.host_id].name for each in away)}
    claim = claims.update(
        session,
        claim.id,
        expected_generation=claim.generation,
        refused_by=tuple(sorted(refused_by)),
    )
    LOG.warning("claim %s has lost %d of %d vGPUs: %s", claim.id, len(away), claim.count, lost)
    reason = Reason(f"it lost a device: {lost}")
    releasing.start(transaction, claim, _BECOMES[claim.on_device_lost], reason)
