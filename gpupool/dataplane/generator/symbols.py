"""The exported symbols of calls, and what programs find them by. Standard library only."""

from collections.abc import Iterator
from dataclasses import dataclass

from gpupool.dataplane.api.entry import Call

PER_THREAD_SINCE = 7000  # no interface version before has a per-thread default stream


@dataclass(frozen=True)
class Symbol:
    """An exported function; ``name`` with ``since`` is what cuGetProcAddress finds it by."""

    name: str
    since: int
    per_thread: bool
    symbol: str


def symbols(call: Call) -> Iterator[Symbol]:
    """Yield the symbols of a call, each before its twin."""
    for symbol, since in call.symbols:
        yield Symbol(call.name, since, False, symbol)
        if call.twin:
            yield Symbol(call.name, max(since, PER_THREAD_SINCE), True, f"{symbol}_{call.twin}")
