"""Ends claims that are allocating and nobody goes on with: their conductor is gone, or met an error.

Placement says what becomes of them: all is granted, and they go on; or not, and they are queued again.
Should their conductor be there after all, each of the two finds what the other has done.
"""

import logging
from collections.abc import Collection

from gpupool.conductor.claims import releasing
from gpupool.conductor.claims.binding import Binding, Planned
from gpupool.conductor.isolation import isolated
from gpupool.conductor.peers import Peers
from gpupool.conductor.transaction import Transactions
from gpupool.db import claims, vgpus
from gpupool.model.claim import Claim
from gpupool.model.reason import Reason
from gpupool.model.states import ClaimState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.allocations import Allocations

LOG = logging.getLogger(__name__)
_STOPPED = Reason(
    "the service was interrupted while it granted devices; they are looked for again",
    "a conductor stopped while it allocated",
)


class Abandoned:
    """Ends them for one conductor."""

    def __init__(
        self,
        transactions: Transactions,
        allocations: Allocations,
        binding: Binding,
        peers: Peers,
    ) -> None:
        self._transactions, self._allocations = transactions, allocations
        self._binding, self._peers = binding, peers

    def end(self, under_way: Collection[str], leads: bool) -> None:
        """End claims of this conductor that are not ``under_way``, and if it leads those of others gone.

        ``under_way`` was read before this began, by the thread that alone begins to bind claims here.
        """
        with self._transactions.reader() as session:
            owners = claims.allocating(session)
            left = [
                each for each, owner in owners.items() if self._is_left(each, owner, under_way, leads)
            ]
            found = claims.list_(session, {"id": left, "state": ClaimState.ALLOCATING}) if left else []
        for claim in found:
            with isolated(f"claim {claim.id} stays allocating"):
                self.end_one(claim)

    def _is_left(
        self, claim_id: str, owner: str | None, under_way: Collection[str], leads: bool
    ) -> bool:
        if owner == self._transactions.id:
            return claim_id not in under_way
        return leads and owner is not None and self._peers.gone(owner)

    def end_one(self, claim: Claim) -> None:
        """Continue an allocating claim if Placement granted all of it, else queue it again."""
        with self._transactions.reader() as session:
            planned = vgpus.list_(session, {"claim_id": claim.id})
        left = Planned(claim=claim, vgpus=tuple(planned))
        if planned and all(self._agreed(vgpu) for vgpu in planned):
            LOG.warning("claim %s was left allocating: goes on", claim.id)
            self._binding.hand_over([left])
        else:
            LOG.warning("claim %s was left allocating: goes back", claim.id)
            self._binding.undo([(left, _STOPPED)])

    def _agreed(self, vgpu: Vgpu) -> bool:
        allocation = self._allocations.get_allocation(vgpu.id)
        return allocation is not None and allocation.resources == releasing.grant(vgpu).resources()
