"""The queue of every pool: what waits is decided about in passes, and what starts is bound in batches.

How one pool's is decided about is in ``pool_queue``. Placement has the last word: a claim it has no room
for waits for the next round of the pass, which knows more.
"""

import time
from collections.abc import Callable, Sequence

from gpupool.conductor.capacity.pool_views import Views
from gpupool.conductor.dependencies import Dependencies
from gpupool.conductor.isolation import isolated
from gpupool.conductor.scheduling.batches import Batches, Refused
from gpupool.conductor.scheduling.pool_queue import PoolQueue
from gpupool.conductor.transaction import Transactions
from gpupool.db import pools
from gpupool.model import errors
from gpupool.model.pool import Pool
from gpupool.placement.errors import NoCapacity

# Rounds of one pass; each refusal by Placement teaches the next round something.
_ROUNDS = 8
# Seconds after which it is written again why claims wait while there is more to decide.
_PUBLISH_PAUSE = 1.0


class Queue:
    """The queues of all pools, as one conductor knows them.

    ``make`` returns the queue of a pool, of which nothing is known yet. Used by one thread, but for
    ``notify`` and ``under_way``.
    """

    def __init__(
        self,
        transactions: Transactions,
        dependencies: Dependencies,
        views: Views,
        batches: Batches,
        make: Callable[[Pool], PoolQueue],
    ) -> None:
        self._transactions, self._dependencies, self._views = transactions, dependencies, views
        self._batches, self._make = batches, make
        self._pools: dict[str, PoolQueue] = {}
        self._published = 0.0

    def serve(self) -> bool:
        """Start what can start, in every pool; return when all of that has ended, or after a notice.

        Stops early when Placement or the database is not there. Return whether it is to be called again
        at once: something is under way, or there may be room since.
        """
        again = False
        if not self._dependencies.answer():
            return again
        try:
            self._learn(self._batches.ended())
            with self._transactions.reader() as session:
                known = pools.list_(session)
            self._pools = {pool.id: self._pools[pool.id] for pool in known if pool.id in self._pools}
            again = self._serve(known)
            self._publish_reasons()
        except errors.Unavailable as exc:
            self._dependencies.failed(exc)
            self._batches.drain()
        else:
            self._dependencies.worked()
        return again

    def _serve(self, known: Sequence[Pool]) -> bool:
        todo = known
        for _ in range(_ROUNDS):
            begun, ends = time.monotonic(), self._batches.ends
            # Before the claims: the room of one that ends in between is seen later, and not twice.
            with isolated("the views are not read again now"):
                self._views.refresh()
            left = {pool.id for pool in todo if self._begin(pool)}
            # The more there is to do, the longer claims gather: many in one batch cost less each.
            refused = self._batches.wait(ends if left else None, gather=time.monotonic() - begun)
            self._learn(refused)
            again = left | {each.pool_id for each in refused}
            todo = [pool for pool in known if pool.id in again]
            if not todo or self._batches.notified:
                return False
        # Somebody has to see their end, or there may be room for what waited for it.
        return len(self._batches) > 0 or (self._batches.ends > ends and not refused)

    def rest(self) -> None:
        """Forget what was refused: another conductor serves the queue."""
        self._batches.ended()
        for pool in self._pools.values():
            pool.rest()

    def clear(self) -> None:
        """Forget notices, before what they were about is looked at."""
        self._batches.clear()

    def under_way(self) -> frozenset[str]:
        """Return the claims about which Placement has not answered yet."""
        return self._batches.claim_ids()

    def notify(self) -> None:
        """Interrupt ``serve``: there may be something to decide."""
        self._batches.notify()

    def close(self) -> None:
        """Let end what is under way."""
        self._batches.close()

    def _begin(self, pool: Pool) -> bool:
        """Return whether something that was decided for a pool could not be begun now."""
        with isolated(f"the queue of pool {pool.name} is not served now"):
            if pool.id not in self._pools:
                self._pools[pool.id] = self._make(pool)
            return self._pools[pool.id].begin(pool, self._batches)
        return False

    def _learn(self, refused: Sequence[Refused]) -> None:
        learnt: set[str] = set()
        for each in refused:
            pool = self._pools.get(each.pool_id)
            with isolated(f"what Placement refused claim {each.start.claim_id} is not known now"):
                if pool and isinstance(each.error, NoCapacity):
                    pool.learn(each.start, str(each.error), learnt)

    def _publish_reasons(self) -> None:
        """Write to waiting claims why they wait, unless that was just done and more is to decide."""
        now = time.monotonic()
        if len(self._batches) and now < self._published + _PUBLISH_PAUSE:
            return
        self._published = now
        for pool in self._pools.values():
            with isolated("why claims wait is not written now"):
                pool.publish_reasons()
