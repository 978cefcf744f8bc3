"""How much of this host's memory the sessions of a vGPU may take, and how much of it each one's ring.

All in MiB. For each session that a vGPU may have SESSION_MIB count, which every one takes; the rest is
what they share, of which rings take no more than half.
"""

from collections.abc import Iterable

# The smallest ring, and what native/worker/cost.h charges for a session besides, with some to spare.
RING_MIN_MIB = 8
SESSION_MIB = 16
SHARED_MIN_MIB = 64


def shared_mib(memory_mib: int, most_mib: int) -> int:
    """Return what the sessions of a vGPU of ``memory_mib`` share; ``most_mib`` is an option."""
    return min(max(2 * memory_mib, SHARED_MIN_MIB), most_mib)


def limit_mib(sessions: int, memory_mib: int, most_mib: int) -> int:
    """Return what the sessions of a vGPU may take together."""
    return sessions * SESSION_MIB + shared_mib(memory_mib, most_mib)


def ring_mib(taken: Iterable[int], shared: int, most: int) -> int:
    """Return the size of a new ring beside those in ``taken``: the smallest, and half of what is left.

    So the first sessions, which most programs have no more than, get large ones.
    """
    left = shared // 2 - sum(max(size - RING_MIN_MIB, 0) for size in taken)
    return max(min(most, RING_MIN_MIB + left // 2), RING_MIN_MIB)
