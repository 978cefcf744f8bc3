"""Ends claims that are allocating and nobody goes on with: their conductor is gone, or met an error.

Placement says what becomes of them: all is granted, and they go on; or not, and they are queued again.
Should their conductor be there after all, each of the two finds what the other has done.
"""

import logging
from collections.abc import Collection

from gpupool.conductor.claims import binding, releasing
from gpupool.conductor.context import Parts
from gpupool.conductor.isolation import isolated
from gpupool.db import claims, vgpus
from gpupool.model.claim import Claim
from gpupool.model.reason import Reason
from gpupool.model.states import ClaimState
from gpupool.model.vgpu import Vgpu

LOG = logging.getLogger(__name__)
_STOPPED = Reason(
    "the service was interrupted while it granted devices; they are looked for again",
    "a conductor stopped while it allocated",
)


def end(parts: Parts, under_way: Collection[str], leads: bool) -> None:
    """End claims of this conductor that are not ``under_way``, and if it leads those of conductors gone.

    ``under_way`` was read before this began, by the thread that alone begins to bind claims here.
    """
    with parts.database.reader() as session:
        owners = claims.allocating(session)
        left = [each for each, owner in owners.items() if _is_left(parts, each, owner, under_way, leads)]
        found = claims.list_(session, {"id": left, "state": ClaimState.ALLOCATING}) if left else []
    for claim in found:
        with isolated(f"claim {claim.id} stays allocating"):
            end_one(parts, claim)


def _is_left(
    parts: Parts, claim_id: str, owner: str | None, under_way: Collection[str], leads: bool
) -> bool:
    if owner == parts.id:
        return claim_id not in under_way
    return leads and owner is not None and parts.peers.gone(owner)


def is_left_growing(parts: Parts, claim_id: str, owner: str) -> bool:
    """Return whether nobody goes on with the growth of a claim that a conductor planned."""
    return claim_id not in parts.moving if owner == parts.id else parts.peers.gone(owner)


def end_one(parts: Parts, claim: Claim) -> None:
    """Continue an allocating claim if Placement granted all of it, else queue it again."""
    with parts.database.reader() as session:
        planned = vgpus.list_(session, {"claim_id": claim.id})
    left = binding.Planned(claim=claim, vgpus=tuple(planned))
    if planned and all(_agreed(parts, vgpu) for vgpu in planned):
        LOG.warning("claim %s was left allocating: goes on", claim.id)
        binding.hand_over(parts, [left])
    else:
        LOG.warning("claim %s was left allocating: goes back", claim.id)
        binding.undo(parts, [(left, _STOPPED)])


def _agreed(parts: Parts, vgpu: Vgpu) -> bool:
    allocation = parts.allocations.get_allocation(vgpu.id)
    return allocation is not None and allocation.resources == releasing.grant(vgpu).resources()
