"""What every noun of the conductor works with, and the transaction that all its writes go through."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from oslo_config import cfg

from gpupool.conductor.capacity.pool_views import Views
from gpupool.conductor.claims.limits import Limits
from gpupool.conductor.dependencies import Dependencies
from gpupool.conductor.hosts.report_cache import Reported
from gpupool.conductor.hosts.report_rates import ReportRates
from gpupool.conductor.notifications import ClaimNotifier
from gpupool.conductor.peers import Peers
from gpupool.conductor.providers.outbox import Left
from gpupool.conductor.providers.providers import Inventory
from gpupool.conductor.rotation import Turns
from gpupool.conductor.scheduling.tenure import Tenure
from gpupool.conductor.shared import Shared
from gpupool.conductor.signing_keys import ConductorKeys
from gpupool.conductor.transaction import Transaction
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.clock import Clock
from gpupool.model.host_key import HostKey
from gpupool.model.queue import QueueEntry
from gpupool.model.report import DesiredState
from gpupool.placement.allocations import Allocations
from gpupool.placement.client import PlacementClient
from gpupool.rpc import context
from gpupool.rpc.agent import AgentClient
from gpupool.rpc.sender import Sender

LOG = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_ATTEMPTS = 4


@dataclass(frozen=True)
class Parts:
    """Everything a conductor is made of.

    ``audit`` says which devices are compared with Placement next, ``wake_queue`` has the queue looked
    at soon by whoever serves it, ``wake_here`` by this conductor if that is the one. ``moved`` are the
    moments of moves that were made by policy, by pool, ``moving`` the claims that this conductor moves
    now, one entry a vGPU, ``shown`` what the queue of a pool was last. ``looks`` sends agents what their
    hosts should have, ``dependencies`` say whether there is a use in asking database and Placement now,
    ``id`` is this conductor's among all.
    """

    id: str
    conf: cfg.ConfigOpts
    database: Database
    dependencies: Dependencies
    peers: Peers
    placement: PlacementClient
    allocations: Allocations
    inventory: Inventory
    limits: Limits
    left: Left
    keys: ConductorKeys
    reported: Reported
    rates: ReportRates
    tenure: Tenure
    audit: Turns
    agents: AgentClient
    looks: Sender
    notifier: ClaimNotifier
    views: Views
    wake_queue: Callable[[], None]
    wake_here: Callable[[], None]
    moved: dict[str, list[float]] = field(default_factory=dict)
    moving: list[str] = field(default_factory=list)
    shown: Shared[list[QueueEntry]] = field(default_factory=Shared)

    @property
    def clock(self) -> Clock:
        """The time, which all conductors of one database share."""
        return self.database.clock

    def commit(
        self, work: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run ``work`` in one transaction and then do what follows it.

        It is run again after a deadlock, and after a Conflict: perhaps somebody else changed the same
        claim between reading and writing. A Conflict that is the request's own comes again.
        """

        @self.database.retry
        def attempt() -> tuple[R, Transaction, list[tuple[DesiredState, HostKey | None]]]:
            with self.database.writer() as session:
                transaction = Transaction(session, self.conf)
                return work(transaction, *args, **kwargs), transaction, transaction.desired()

        result, transaction, desired = _despite_races(attempt)
        self._follow(transaction, desired)
        return result

    def _follow(
        self, transaction: Transaction, desired: Iterable[tuple[DesiredState, HostKey | None]]
    ) -> None:
        for claim in transaction.moved:
            LOG.info("claim %s is %s%s", claim.id, claim.state, _because(claim))
            self.notifier.moved(claim)
        for claim in transaction.resized:
            LOG.info("claim %s has %d vGPUs%s", claim.id, claim.count, _because(claim))
            self.notifier.resized(claim)
        for each, key in desired:
            # The agent looks by itself every report_interval; a newer message says all an older one did.
            look = partial(self._look, each, key)
            self.looks.put(each.host, look, each.generation)
        if transaction.queue_changed:
            self.wake_queue()

    def _look(self, desired: DesiredState, key: HostKey | None) -> None:
        """Tell an agent; called in the sender's thread, which signs and seals too."""
        message = self.keys.look(desired, key) if key else None
        self.agents.look(context.detached(), desired.host, message)


def _despite_races(attempt: Callable[[], T]) -> T:
    for _ in range(_ATTEMPTS - 1):
        try:
            return attempt()
        except errors.Conflict:
            continue
    return attempt()


def _because(claim: Claim) -> str:
    said = [each for each in (claim.state_reason, claim.state_detail) if each]
    return f": {' -- '.join(said)}" if said else ""
