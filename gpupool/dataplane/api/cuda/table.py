"""The driver API as data (D5): each call, its exported symbols, its class, and what of it travels.

Standard library only: the generator, and so the package build, reads it. Entries are in this package.
"""

from gpupool.dataplane.api.cuda.context import CONTEXTS, PRIMARY
from gpupool.dataplane.api.cuda.copy import copies, sets
from gpupool.dataplane.api.cuda.device import DEVICES, EARLY
from gpupool.dataplane.api.cuda.function import FUNCTIONS, KERNELS, LAUNCHES, OCCUPANCY
from gpupool.dataplane.api.cuda.memory import MEMORY, PINNED, POINTERS
from gpupool.dataplane.api.cuda.messages import MESSAGES
from gpupool.dataplane.api.cuda.module import LIBRARIES, MODULES
from gpupool.dataplane.api.cuda.names import NAMES
from gpupool.dataplane.api.cuda.stream import EVENTS, PROFILER, STREAMS
from gpupool.dataplane.api.entry import Call

__all__ = ["CALLS", "MESSAGES", "UNSUPPORTED"]

CALLS: tuple[Call, ...] = (
    *EARLY,
    *DEVICES,
    *PRIMARY,
    *CONTEXTS,
    *MODULES,
    *LIBRARIES,
    *FUNCTIONS,
    *KERNELS,
    *OCCUPANCY,
    *LAUNCHES,
    *MEMORY,
    *PINNED,
    *POINTERS,
    *copies(),
    *sets(),
    *STREAMS,
    *EVENTS,
    *PROFILER,
)

# Known names with no entry: they resolve, and calling them is refused.
UNSUPPORTED: tuple[str, ...] = tuple(sorted(set(NAMES) - {call.name for call in CALLS}))
