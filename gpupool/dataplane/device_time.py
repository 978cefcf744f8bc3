"""What a vGPU's ledger says of device time; struct ledger_time in native/worker/ledger.h.

A worker may have written anything, so nothing here believes a number without bounds. Times are ns of
CLOCK_MONOTONIC, debts ns of device time.
"""

import struct
from collections.abc import Iterable

SIZE = 1024
# An hour, which 1 % of a device pays in four days. What says more no sound worker wrote.
DEBT_MAX = 3600 * 10**9
GAPS_MAX = 61

# debt_ns, debt_at_ns, then the timeline's until, floor, count
_HEAD = struct.Struct("<qQQQQ8x")
_GAP = struct.Struct("<QQ")

Interval = tuple[int, int]


def start(debt_ns: int, now_ns: int) -> bytes:
    """Return the state of a vGPU that owes so much from the start."""
    return _HEAD.pack(debt_ns, now_ns, 0, 0, 0).ljust(SIZE, b"\0")


def left(debt_ns: int, compute: int, passed_ns: int) -> int:
    """Return what is left of a debt after some time, which pays ``compute`` percent of itself."""
    return max(debt_ns - max(passed_ns, 0) * compute // 100, 0)


def debt(content: bytes, abandoned: Iterable[Interval], compute: int, now_ns: int) -> int:
    """Return what a vGPU with a share of ``compute`` percent owes, at most DEBT_MAX.

    ``abandoned`` is when its killed workers had work in flight that may not be charged yet.
    """
    debt_ns, at_ns, until, floor, count = _HEAD.unpack_from(content)
    if at_ns > now_ns:
        return 0  # no other boot's debt is owed
    owed = left(min(debt_ns, DEBT_MAX), compute, now_ns - at_ns)
    if compute >= 100:
        return owed  # what it took over; the work of one that has the whole device makes no debt
    gaps = [_GAP.unpack_from(content, _HEAD.size + at * _GAP.size) for at in range(min(count, GAPS_MAX))]
    work = _union((begin, min(end, now_ns)) for begin, end in abandoned)
    # Time that is neither before `floor`, in a gap nor after `until` was charged already.
    uncharged = _union([(0, floor), *gaps, (until, now_ns)])
    fresh = sum(_overlap(one, other) for one in work for other in uncharged)
    ended = max((end for _, end in work), default=now_ns)
    return min(owed + left(fresh, compute, now_ns - ended), DEBT_MAX)


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same moments as intervals that are sorted and touch nowhere."""
    merged: list[Interval] = []
    for begin, end in sorted(one for one in intervals if one[0] < one[1]):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _overlap(one: Interval, other: Interval) -> int:
    return max(min(one[1], other[1]) - max(one[0], other[0]), 0)
