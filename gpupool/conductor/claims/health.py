"""The health of claims: whether their hosts report and their devices work."""

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from gpupool.conductor.transaction import Transaction
from gpupool.db import claims, devices, hosts, vgpus
from gpupool.model.claim import ClaimHealth
from gpupool.model.states import DeviceHealth, HostState
from gpupool.model.vgpu import Vgpu


def write(transaction: Transaction, host_id: str) -> None:
    """Show on every claim with vGPUs on a host what is the matter with the hosts and devices of it.

    The caller holds the host, so that nobody writes meanwhile what was the matter before.
    """
    session = transaction.session
    ids = {vgpu.claim_id for vgpu in vgpus.list_(session, {"host_id": host_id})}
    held = vgpus.list_(session, {"claim_id": ids})
    down = hosts.list_(session, {"id": {vgpu.host_id for vgpu in held}, "state": HostState.DOWN})
    broken = devices.list_(
        session,
        {
            "id": {vgpu.device_id for vgpu in held},
            "health": set(DeviceHealth) - {DeviceHealth.OK},
        },
    )
    silent, failed = {host.id for host in down}, {device.id for device in broken}
    of_claim = defaultdict(list)
    for vgpu in held:
        of_claim[vgpu.claim_id].append(vgpu)
    # In the order in which others hold several claims.
    for claim in sorted(claims.list_(session, {"id": ids}), key=lambda one: one.id):
        health = _health(of_claim[claim.id], silent, failed)
        if claim.health != health:
            claims.update(session, claim.id, health=health)


def _health(held: Iterable[Vgpu], silent: AbstractSet[str], failed: AbstractSet[str]) -> ClaimHealth:
    of_claim = list(held)
    if any(vgpu.host_id in silent for vgpu in of_claim):
        return ClaimHealth.HOST_DOWN
    if any(vgpu.device_id in failed for vgpu in of_claim):
        return ClaimHealth.DEVICE_FAILED
    return ClaimHealth.OK
