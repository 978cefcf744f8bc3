"""Many claims are bound by few requests: in batches, each of hosts of its own, two at a time.

Placement works on one request with one processor, and takes most of the time that binding takes.
"""

import logging
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from gpupool.allocator.scheduling import Start
from gpupool.conductor import binding
from gpupool.conductor.binding import Choice
from gpupool.conductor.parts import Parts
from gpupool.model import errors

LOG = logging.getLogger(__name__)
_AT_ONCE = 2
# Claims in one request: fewer cost Placement more each, more cost no less and are all late. All of a
# host are in one.
_LEAST, _MOST = 10, 32
Said = Mapping[str, errors.GpupoolError]


def bind(parts: Parts, starts: Sequence[Start]) -> Iterator[tuple[Sequence[Start], Said]]:
    """Bind what starts; yield each batch with what ``binding.bind`` says of it.

    After one that says Unavailable no other is begun.
    """
    waiting: deque[Sequence[Start]] = deque(split(starts))
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        begun = deque((batch, threads.submit(_bind, parts, batch)) for batch in _take(waiting, _AT_ONCE))
        while begun:
            batch, future = begun.popleft()
            said = future.result()
            if unavailable(said):
                waiting.clear()
            begun.extend((more, threads.submit(_bind, parts, more)) for more in _take(waiting, 1))
            yield batch, said


def split(starts: Sequence[Start]) -> Sequence[Sequence[Start]]:
    """Return batches that share no host, for Placement refuses two changes of a device at once."""
    size = min(max(math.ceil(len(starts) / _AT_ONCE), _LEAST), _MOST)
    batches: list[list[Start]] = [[]]
    for _, of_host in groupby(sorted(starts, key=_host), key=_host):
        if len(batches[-1]) >= size:
            batches.append([])
        batches[-1] += of_host
    return [batch for batch in batches if batch]


def _host(start: Start) -> str:
    return start.plan.host or ""


def unavailable(said: Said) -> errors.Unavailable | None:
    """Return what tells that nothing can be bound now, if something does."""
    return next((each for each in said.values() if isinstance(each, errors.Unavailable)), None)


def _take(waiting: deque[Sequence[Start]], most: int) -> list[Sequence[Start]]:
    return [waiting.popleft() for _ in range(min(most, len(waiting)))]


def _bind(parts: Parts, batch: Sequence[Start]) -> Said:
    choices = [Choice(claim_id=each.claim_id, device_ids=each.plan.device_ids) for each in batch]
    try:
        return binding.bind(parts, choices)
    except Exception as exc:
        # Of two batches that fail only one's error comes out.
        LOG.warning("a batch of %s claims is not bound now: %s", len(choices), exc)
        raise
