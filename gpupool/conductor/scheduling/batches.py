"""Many claims are bound by few requests: in batches, each of hosts of its own, a few at a time.

Placement works on one request with one processor, and takes most of the time that binding takes. So
whoever begins a batch does not wait for its end, and goes on deciding; only when as many are under way
as may be does it wait, for one of them.
"""

import math
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from gpupool.allocator.scheduling import Grow, Start
from gpupool.conductor.claims.binding import Binding, Choice
from gpupool.conductor.claims.resizing import Resizing
from gpupool.conductor.isolation import isolated
from gpupool.model import errors

_AT_ONCE = 3
# Claims in one request: fewer cost Placement more each, more cost no less and are all late. All of a
# host are in one.
_LEAST, _MOST = 10, 32
# Seconds in which claims gather for the next pass while batches are under way, at least and at most.
_GATHER, _GATHER_MOST = 0.1, 0.5
Said = dict[str, errors.GpupoolError]
# A batch binds either: all of a claim, or more of one that is elastic.
Decided = Start | Grow


@dataclass(frozen=True)
class Refused:
    """A claim of a pool that is queued again, or does not grow, and why."""

    pool_id: str
    start: Decided
    error: errors.GpupoolError


@dataclass(frozen=True)
class _Batch:
    pool_id: str
    starts: Sequence[Decided]


class Batches:
    """The batches that are under way.

    Used by one thread, but for ``notify``, ``claim_ids`` and ``close``.
    """

    def __init__(self, binding: Binding, resizing: Resizing) -> None:
        self._binding, self._resizing = binding, resizing
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="binding")
        self._begun: dict[Future[Said], _Batch] = {}
        # Claims of a batch that is about to be begun.
        self._beginning: frozenset[str] = frozenset()
        self._refused: list[Refused] = []
        # How many have ended so far.
        self.ends = 0
        # Set when one has ended, and by a notice.
        self._news = threading.Event()
        self.notified = False
        self._thread = 0

    def __len__(self) -> int:
        """Return how many are under way."""
        return len(self._begun)

    def claim_ids(self) -> frozenset[str]:
        """Return the claims about which Placement has not answered yet; for all threads."""
        # In this order: a batch is begun before it is not about to be.
        beginning = self._beginning
        going = [batch for future, batch in list(self._begun.items()) if not future.done()]
        return beginning.union(start.claim_id for batch in going for start in batch.starts)

    def split(self, starts: Iterable[Decided]) -> list[Sequence[Decided]]:
        """Return what to ``begin``, without what is on hosts of a batch that is under way."""
        busy = {host for batch in self._begun.values() for host in map(_host, batch.starts)}
        return split([start for start in starts if _host(start) not in busy])

    def begin(self, pool_id: str, starts: Sequence[Decided]) -> set[str]:
        """Begin to bind claims of one pool; return those that stay queued: something of them changed.

        Or begin to have claims grow, and return those that do not: all are of one kind. Waits while too
        many are under way. Raises Unavailable when nothing can be bound now; all others of the batch are
        ``allocating`` otherwise, or as they were, whatever becomes of them.
        """
        while len(self._begun) >= _AT_ONCE:
            self._await(None)
        how = self._resizing if isinstance(starts[0], Grow) else self._binding
        self._beginning = frozenset(each.claim_id for each in starts)
        try:
            made = how.reserve([_choice(each) for each in starts])
            if made.planned:
                future = self._threads.submit(how.allocate, made.planned)
                self._begun[future] = _Batch(pool_id, starts)
                future.add_done_callback(lambda _: self._news.set())
        finally:
            self._beginning = frozenset()
        return set(made.lost)

    def wait(self, since: int | None, gather: float) -> list[Refused]:
        """Return what was refused, as soon as something was, all have ended, or it was notified.

        ``since``: or when ``ends`` is more than that. Neither notice nor end counts before claims had
        ``gather`` seconds to come, within bounds. Raises Unavailable when nothing can be bound now.
        """
        due = time.monotonic() + min(max(gather, _GATHER), _GATHER_MOST)
        while self._begun and not self._refused:
            left = max(due - time.monotonic(), 0)
            woken = self.notified or (since is not None and self.ends > since)
            if woken and not left:
                break
            self._await(left if woken else None)
        return self._take_refused()

    def ended(self) -> list[Refused]:
        """Return what was refused meanwhile; that nothing could be bound then is no news any more."""
        while any(future.done() for future in self._begun):
            with suppress(errors.Unavailable):
                self._collect()
        return self._take_refused()

    def drain(self) -> None:
        """Wait until all have ended, whatever they say: nothing can be bound now."""
        while self._begun:
            with suppress(errors.Unavailable):
                self._await(None)
        self._refused = []

    def notify(self) -> None:
        """Interrupt ``wait``, as there may be something to decide.

        What the thread that waits has done itself it looks at anyway.
        """
        if threading.get_ident() != self._thread:
            self.notified = True
            self._news.set()

    def clear(self) -> None:
        """Forget notices: what they were about is about to be looked at, by this thread."""
        self._thread = threading.get_ident()
        self.notified = False

    def close(self) -> None:
        """Let those end that are under way."""
        self._threads.shutdown()

    def _await(self, seconds: float | None) -> None:
        """Wait for news, and note what those say that have ended."""
        # After an error some may have ended of which the news are gone.
        if not any(future.done() for future in self._begun):
            self._news.wait(seconds)
        self._news.clear()
        self._collect()

    def _collect(self) -> None:
        for future in [each for each in self._begun if each.done()]:
            self.ends += 1
            self._end(future, self._begun.pop(future))

    def _end(self, future: Future[Said], batch: _Batch) -> None:
        with isolated(f"a batch of {len(batch.starts)} claims is not bound now"):
            said = future.result()
            for start in batch.starts:
                if start.claim_id in said:
                    self._refused.append(Refused(batch.pool_id, start, said[start.claim_id]))
            for error in said.values():
                if isinstance(error, errors.Unavailable):
                    raise error

    def _take_refused(self) -> list[Refused]:
        refused, self._refused = self._refused, []
        return refused


def _choice(start: Decided) -> Choice:
    min_count = start.min_count if isinstance(start, Start) else None
    host = start.plan.host if isinstance(start, Start) else None
    return Choice(claim_id=start.claim_id, shares=start.plan.shares, host=host, min_count=min_count)


def split(starts: Collection[Decided]) -> list[Sequence[Decided]]:
    """Return batches that share no host: of two changes of a device at once Placement does one again."""
    size = min(max(math.ceil(len(starts) / _AT_ONCE), _LEAST), _MOST)
    batches: list[list[Decided]] = [[]]
    for _, of_host in groupby(sorted(starts, key=_host), key=_host):
        if len(batches[-1]) >= size:
            batches.append([])
        batches[-1] += of_host
    return [batch for batch in batches if batch]


def _host(start: Decided) -> str:
    return start.plan.host or ""
