"""The transaction that every write of a conductor goes through, and what follows its commit."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Concatenate, ParamSpec, TypeVar

from oslo_config import cfg
from sqlalchemy.orm import Session

from gpupool.conductor.desired_state import desired_states
from gpupool.conductor.looks import Looks
from gpupool.conductor.notifications import ClaimNotifier
from gpupool.db import claims, host_keys, hosts
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.clock import Clock
from gpupool.model.host import Host
from gpupool.model.host_key import HostKey
from gpupool.model.report import DesiredState
from gpupool.model.states import ClaimState

LOG = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_ATTEMPTS = 4
Desired = list[tuple[DesiredState, HostKey | None]]


class Transaction:
    """One database transaction, and what has to follow its commit."""

    def __init__(self, session: Session, conf: cfg.ConfigOpts, conductor_id: str) -> None:
        self.session = session
        self.conf = conf
        self.conductor_id = conductor_id
        self.moved: list[Claim] = []
        self.resized: list[Claim] = []
        self.touched: dict[str, int] = {}
        self.revised: set[str] = set()
        self.queue_changed = False

    def move(self, claim: Claim, state: ClaimState, **changes: Any) -> Claim:
        """Bring ``claim`` to ``state``; a notification follows. Conflict when it changed meanwhile."""
        after = claims.transition(self.session, claim, state, **changes)
        self.moved.append(after)
        return after

    def move_all(self, held: Sequence[Claim], state: ClaimState, **changes: Any) -> list[Claim]:
        """Bring claims that this transaction holds (see claims.hold) to ``state``, as ``move`` does."""
        after = claims.transition_all(self.session, held, state, **changes)
        self.moved += after
        return after

    def start_all(self, held: Sequence[Claim], **changes: Any) -> list[Claim]:
        """Bring claims that this transaction holds to ``allocating``, each with its program's host."""
        after = claims.start_all(self.session, held, **changes)
        self.moved += after
        return after

    def touch(self, host_id: str) -> int:
        """Return the new generation of what a host should have; its agent is told to look.

        Its row stays locked until the commit, so that two changes of one host follow each other.
        """
        if host_id not in self.touched:
            self.touched[host_id] = hosts.bump_generation(self.session, host_id)
        return self.touched[host_id]

    def touch_all(self, host_ids: Iterable[str]) -> dict[str, int]:
        """Do as ``touch`` for several hosts; return those by id that exist, with their generations."""
        held = hosts.hold_all(self.session, set(host_ids) - self.touched.keys())
        hosts.grow(self.session, [host.id for host in held], "generation")
        self.touched |= {host.id: host.generation + 1 for host in held}
        return {host_id: self.touched[host_id] for host_id in host_ids if host_id in self.touched}

    def hold(self, host_ids: Iterable[str]) -> dict[str, Host]:
        """Return those of the hosts that exist, by id; their rows stay locked until the commit."""
        return {host.id: host for host in hosts.hold_all(self.session, host_ids)}

    def revise_all(self, held: Iterable[Host]) -> None:
        """Do as ``revise`` for several hosts, which this transaction holds already."""
        fresh = {host.id for host in held} - self.revised
        hosts.grow(self.session, fresh, "revision")
        self.revised |= fresh

    def revise(self, host_id: str) -> None:
        """Say that the room on a host changes: whoever keeps it in memory reads it again.

        Its row stays locked until the commit, as with ``touch``.
        """
        if host_id not in self.revised:
            self.revised.add(host_id)
            hosts.revise(self.session, host_id)

    def desired(self) -> Desired:
        """Return what the hosts that were touched should have now, and the keys it is sealed to."""
        found = desired_states(self.session, set(self.touched))
        keys = host_keys.admitted(self.session, [each.host for each in found])
        return [(each, keys.get(each.host)) for each in found]

    def wake_queue(self) -> None:
        """Wake the queue: a claim joined it, or there may be room for one."""
        self.queue_changed = True


class Transactions:
    """Makes the transactions of one conductor, and does what follows each: messages and notifications.

    ``id`` is the conductor's; ``wake_queue`` wakes the queue, wherever it is served.
    """

    def __init__(
        self,
        conductor_id: str,
        database: Database,
        conf: cfg.ConfigOpts,
        *,
        notifier: ClaimNotifier,
        looks: Looks,
        wake_queue: Callable[[], None],
    ) -> None:
        self.id, self.database, self.conf = conductor_id, database, conf
        self._notifier, self._looks, self._wake_queue = notifier, looks, wake_queue

    @property
    def clock(self) -> Clock:
        """The time, which all conductors of one database share."""
        return self.database.clock

    def reader(self) -> AbstractContextManager[Session]:
        """Return a context that reads; see Database."""
        return self.database.reader()

    def commit(
        self, work: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run ``work`` in one transaction and then do what follows it.

        It is run again after a deadlock, and after a Conflict: perhaps somebody else changed the same
        claim between reading and writing. A Conflict that is the request's own comes again.
        """

        @self.database.retry
        def attempt() -> tuple[R, Transaction, Desired]:
            with self.database.writer() as session:
                transaction = Transaction(session, self.conf, self.id)
                return work(transaction, *args, **kwargs), transaction, transaction.desired()

        result, transaction, desired = _despite_races(attempt)
        self._follow(transaction, desired)
        return result

    def _follow(self, transaction: Transaction, desired: Desired) -> None:
        for claim in transaction.moved:
            LOG.info("claim %s is %s%s", claim.id, claim.state, _because(claim))
            self._notifier.moved(claim)
        for claim in transaction.resized:
            LOG.info("claim %s has %d vGPUs%s", claim.id, claim.count, _because(claim))
            self._notifier.resized(claim)
        for each, key in desired:
            self._looks.put(each, key)
        if transaction.queue_changed:
            self._wake_queue()


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
