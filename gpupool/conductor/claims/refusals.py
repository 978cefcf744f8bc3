"""What becomes of claims of which a host did not make vGPUs, or lost them."""

from dataclasses import dataclass

from gpupool.conductor.claims import releasing
from gpupool.conductor.transaction import Transaction
from gpupool.db import claims
from gpupool.model.claim import Claim, OnDeviceLost
from gpupool.model.reason import Reason
from gpupool.model.states import ClaimState


@dataclass(frozen=True)
class Refusal:
    """Why a host did not make vGPUs of a claim, or lost them; ``host_fault`` as in VgpuReport.

    ``device_id`` is the device of the first of them.
    """

    error: str
    host_fault: bool
    device_id: str
    vgpu_ids: tuple[str, ...]


def take_apart(
    transaction: Transaction, claim_id: str, host: str, refusal: Refusal, attempts: int
) -> None:
    """Take apart a claim that ``host`` could not make, or lost; queue it again unless too many can't.

    ``attempts`` is how many hosts may refuse what the claim asks for before it fails. What is a host's
    own fault never fails a claim, however often it happens, nor does one host by refusing repeatedly. A
    bound claim that asked to fail when it loses a device does so, whoever is at fault.
    """
    claim = claims.get(transaction.session, claim_id)
    if claim.state not in {ClaimState.BINDING, ClaimState.BOUND}:
        return
    counts = not refusal.host_fault and host not in claim.refused_by
    # Of a bound one they are what it was refused beyond what it had, see resizing.
    before = 0 if claim.state == ClaimState.BOUND else claim.attempts
    claim = claims.update(
        transaction.session,
        claim_id,
        expected_generation=claim.generation,
        attempts=before + counts,
        refused_by=tuple(sorted({*claim.refused_by, host})),
    )
    fails = claim.state == ClaimState.BOUND and claim.on_device_lost == OnDeviceLost.FAIL
    again = claim.attempts < attempts and not fails
    release_to = ClaimState.QUEUED if again else ClaimState.FAILED
    releasing.start(transaction, claim, release_to, _why(host, refusal, claim, release_to))


def _why(host: str, refusal: Refusal, claim: Claim, release_to: ClaimState) -> Reason:
    """Return the reason of a claim that a host refused; what is the host's own fault is no tenant's."""
    detail = f"host {host}: {refusal.error}"
    if refusal.host_fault and release_to == ClaimState.QUEUED:
        return Reason("its host could not provide a vGPU of it; other hosts are tried first", detail)
    if release_to == ClaimState.QUEUED:
        return Reason(f"its host refused a vGPU of it: {refusal.error}", detail)
    if claim.state == ClaimState.BOUND and claim.on_device_lost == OnDeviceLost.FAIL:
        return Reason(f"its host lost a vGPU of it: {refusal.error}", detail)
    said = f"the last said: {refusal.error}"
    return Reason(f"{claim.attempts} hosts refused what it asks for; {said}", detail)
