"""What projects had of a pool, as the conductor that serves its queue charges it.

The charges are kept in memory and written every few seconds. A conductor that takes over goes on from
what was written, and charges what runs then for the time since.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from gpupool.allocator.fairshare import FairShare, Usage
from gpupool.allocator.scheduling import Scheduler
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import consumption
from gpupool.db.consumption import Used
from gpupool.model.clock import Clock

# Seconds between two writes: a conductor that dies loses no more than that.
_PAUSE = 10.0


def seconds(moment: datetime) -> float:
    """Return a time of the database as seconds since 1970."""
    return moment.replace(tzinfo=UTC).timestamp()


def shares(
    session: Session, pool_id: str, clock: Clock, half_life: float, weights: Mapping[str, float]
) -> FairShare:
    """Return the shares of a pool's projects, as they were written last, by the monotonic clock."""
    account = FairShare(half_life, weights)
    now = clock.monotonic()
    kept = consumption.of_pool(session, pool_id)
    account.restore(
        {
            project: Usage(float(each.used), min(clock.at(each.at), now), float(each.owed))
            for project, each in kept.items()
        }
    )
    return account


def of_pool(transactions: Transactions, pool_id: str) -> FairShare:
    """Return the same, by the options of the queue."""
    settings = transactions.conf.queue
    with transactions.reader() as session:
        return shares(session, pool_id, transactions.clock, settings.half_life, settings.project_weights)


class Accounts:
    """What the projects of one pool had, up to the last pass of its queue. Used by one thread."""

    def __init__(self, transactions: Transactions, pool_id: str) -> None:
        self._transactions, self._pool_id = transactions, pool_id
        self.shares = of_pool(transactions, pool_id)
        self._written = self.shares.usages()
        # Up to when they are charged, and when they were written: now, if they never were.
        now = transactions.clock.monotonic()
        self._charged = max((usage.at for usage in self._written.values()), default=now)
        self._kept = now

    def charge(self, scheduler: Scheduler, now: float) -> None:
        """Charge projects for the time since the last charge, by what they run and who waits."""
        scheduler.charge(self.shares, self._charged, now)
        self._charged = max(now, self._charged)

    def keep(self, now: float) -> None:
        """Write what has changed, unless that was done a moment ago."""
        if now < self._kept + _PAUSE:
            return
        usages = self.shares.usages()
        changed = {each: usage for each, usage in usages.items() if usage != self._written.get(each)}
        if changed:
            clock = self._transactions.clock
            rows = {
                project: Used(round(usage.used), round(usage.owed), clock.moment(usage.at))
                for project, usage in changed.items()
            }
            self._transactions.commit(_put, self._pool_id, rows)
        self._written, self._kept = usages, now


def _put(transaction: Transaction, pool_id: str, rows: Mapping[str, Used]) -> None:
    consumption.put(transaction.session, pool_id, rows)
