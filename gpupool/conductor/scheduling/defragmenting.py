"""Defragmentation: vGPUs change their device, so that less of what is free is of no use.

How one moves is in ``claims.moving``.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from gpupool.allocator import defragment as allocator
from gpupool.allocator.claims import Running
from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.policies import FragmentationGradientDescent
from gpupool.conductor.capacity.pool_views import Views
from gpupool.conductor.claims.moving import Moving
from gpupool.conductor.isolation import isolated
from gpupool.conductor.transaction import Transactions
from gpupool.db import claims, pools, vgpus
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.proposed_move import ProposedMove
from gpupool.model.states import ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu

LOG = logging.getLogger(__name__)
# Moves of one request that names no limit.
_LIMIT = 100
_HOUR = 3600.0


class Defragmenting:
    """Proposes moves, and makes them by ``moving``."""

    def __init__(self, transactions: Transactions, views: Views, moving: Moving) -> None:
        self._transactions, self._views, self._moving = transactions, views, moving
        # When moves were made by policy, on the monotonic clock, by pool.
        self._moved: dict[str, list[float]] = {}

    def defragment(self, pool_id: str, dry_run: bool, limit: int | None) -> list[ProposedMove]:
        """Return the moves that gain room in a pool, the most first; unless ``dry_run``, begin them.

        NotFound for a pool that does not exist. What is not begun says why.
        """
        proposed = self._propose(pool_id, _LIMIT if limit is None else limit)
        return proposed if dry_run else self._begin(proposed)

    def by_policy(self) -> None:
        """Begin moves in pools that allow some every hour by themselves."""
        now = time.monotonic()
        with self._transactions.reader() as session:
            known = pools.list_(session)
        for gone in self._moved.keys() - {pool.id for pool in known}:
            del self._moved[gone]
        for pool in known:
            made = [moment for moment in self._moved.get(pool.id, []) if moment > now - _HOUR]
            left = pool.moves_per_hour - len(made)
            if left <= 0:
                continue
            with isolated(f"pool {pool.name} is not defragmented now"):
                begun = self.defragment(pool.id, False, left)
                made += [now] * sum(each.applied for each in begun)
            self._moved[pool.id] = made

    def _propose(self, pool_id: str, limit: int) -> list[ProposedMove]:
        with self._transactions.reader() as session:
            pools.get(session, pool_id)
            bound = claims.list_(session, {"pool_id": pool_id, "state": ClaimState.BOUND})
            newest = [("created_at", "desc")]
            window = self._transactions.conf.allocator.mix_window
            recent = claims.list_(session, {"pool_id": pool_id}, newest, limit=window)
            rows: dict[str, list[Vgpu]] = {}
            for vgpu in vgpus.list_(session, {"claim_id": [each.id for each in bound]}):
                rows.setdefault(vgpu.claim_id, []).append(vgpu)
        mix = Mix([Demand.of(claim) for claim in reversed(recent)], window)
        self._views.refresh()
        with self._views.lock:
            view = self._views.of(pool_id).fork()
        at = {device_id: view.hosts[host] for device_id, (host, _) in view.device_index.items()}
        running = [_running(claim, rows[claim.id], at) for claim in bound if _is_whole(claim, rows, at)]
        found = allocator.moves(view, running, FragmentationGradientDescent(mix), limit)
        ids = {(vgpu.claim_id, vgpu.index): vgpu.id for held in rows.values() for vgpu in held}
        return [
            ProposedMove(
                claim_id=each.claim_id,
                vgpu_id=ids[each.claim_id, each.index],
                from_device=each.source,
                to_device=each.target,
                gain=each.gain,
                cost_mib=each.cost_mib,
            )
            for each in found
        ]

    def _begin(self, proposed: Sequence[ProposedMove]) -> list[ProposedMove]:
        """Return the moves, begun or with the reason why not; after an Unavailable none is tried."""
        tried: list[ProposedMove] = []
        for move in proposed:
            try:
                self._moving.move(move.vgpu_id, move.to_device)
            except errors.Unavailable as exc:
                return tried + [replace(each, reason=str(exc)) for each in proposed[len(tried) :]]
            except errors.GpupoolError as exc:
                tried.append(replace(move, reason=str(exc)))
            except Exception:
                LOG.exception("vGPU %s is not moved", move.vgpu_id)
                tried.append(replace(move, reason="it failed; the conductor's log says why"))
            else:
                tried.append(replace(move, applied=True))
        return tried


def _is_whole(claim: Claim, rows: dict[str, list[Vgpu]], at: dict[str, str]) -> bool:
    """Return whether a claim has exactly its vGPUs, all of them where the view knows it."""
    held = rows.get(claim.id, [])
    there = [vgpu for vgpu in held if vgpu.state == VgpuState.ACTIVE and vgpu.device_id in at]
    return len(there) == len(held) == claim.count


def _running(claim: Claim, held: list[Vgpu], at: dict[str, str]) -> Running:
    ordered = sorted(held, key=lambda vgpu: vgpu.index)
    shares = tuple(vgpu.share for vgpu in ordered)
    return Running(
        claim_id=claim.id,
        project_id=claim.project_id,
        demand=Demand.of(claim),
        # Programs stay where they are.
        plan=Plan(host=at[shares[0].device_id], shares=shares),
        priority=claim.priority,
        bound_at=0.0,
        ends_at=None,
        preemptible=claim.preemptible,
    )
