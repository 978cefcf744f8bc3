"""The queue of a pool as it is shown: who waits, why, and when it starts."""

from collections.abc import Callable

from gpupool.allocator.reasons import Reasons
from gpupool.allocator.waits import Wait
from gpupool.conductor.capacity.pool_views import Views
from gpupool.conductor.scheduling import consumption
from gpupool.conductor.scheduling.pool_queue import PoolQueue, wall
from gpupool.conductor.shared import Shared
from gpupool.conductor.transaction import Transactions
from gpupool.db import pools
from gpupool.model.pool import Pool
from gpupool.model.queue import QueueEntry
from gpupool.model.reason import Reason


class QueueListing:
    """Lists queues; ``make`` returns the queue of a pool, of which nothing is known yet.

    It costs as much as the queue is long, and many may ask: those who ask at once share an answer.
    """

    def __init__(
        self, transactions: Transactions, views: Views, make: Callable[[Pool], PoolQueue]
    ) -> None:
        self._transactions, self._views, self._make = transactions, views, make
        self._shown: Shared[list[QueueEntry]] = Shared()

    def show(self, pool_id: str) -> list[QueueEntry]:
        """Return the claims that wait for a pool, in order; NotFound for a pool that does not exist."""
        with self._transactions.reader() as session:
            pool = pools.get(session, pool_id)
        return self._shown.get(pool_id, lambda: self._entries(pool))

    def forget(self, pool_id: str) -> None:
        """Forget a pool that is deleted."""
        self._shown.forget(pool_id)

    def _entries(self, pool: Pool) -> list[QueueEntry]:
        now = self._transactions.clock.monotonic()
        queue = self._make(pool)
        queue.look()
        # This conductor may not be the one that serves the queue, and reads views again when it does.
        self._views.refresh()
        with self._views.lock:
            view = self._views.of(pool.id).fork()
        scheduler, shares = queue.scheduler, consumption.of_pool(self._transactions, pool.id)
        # What it would decide, on a view of its own: so it tells for whom room will be kept, until when.
        scheduler.decide(view, shares, queue.policy, now, wall(self._transactions.clock))
        reasons = scheduler.reasons(view)
        return [_entry(queue, each, reasons) for each in scheduler.waits(shares, now)]


def _entry(queue: PoolQueue, wait: Wait, reasons: Reasons) -> QueueEntry:
    claim = queue.claims[wait.claim_id]
    why = Reason(claim.state_reason, claim.state_detail) or reasons.of(claim.id)
    return QueueEntry(
        claim_id=claim.id,
        project_id=claim.project_id,
        position=wait.position,
        reason=why.text,
        detail=why.detail,
        starts_at=queue.moment(wait),
    )
