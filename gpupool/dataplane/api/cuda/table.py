"""The driver API as data (D5): each call, its exported symbols, its class, and what of it travels.

Standard library only: the generator, and so the package build, reads it. Entries are in this package.
"""

from gpupool.dataplane.api.cuda.context import CONTEXTS
from gpupool.dataplane.api.cuda.copy import copies, sets
from gpupool.dataplane.api.cuda.device import DEVICES, EARLY
from gpupool.dataplane.api.cuda.function import FUNCTIONS
from gpupool.dataplane.api.cuda.memory import MEMORY
from gpupool.dataplane.api.cuda.messages import MESSAGES
from gpupool.dataplane.api.cuda.module import MODULES
from gpupool.dataplane.api.cuda.names import NAMES
from gpupool.dataplane.api.cuda.stream import PROFILER, STREAMS
from gpupool.dataplane.api.entry import GENERATED, HAND, Call, Class, Message

__all__ = ["CALLS", "GENERATED", "HAND", "MESSAGES", "UNSUPPORTED", "Call", "Class", "Message"]

CALLS: tuple[Call, ...] = (
    *EARLY,
    *DEVICES,
    *CONTEXTS,
    *MODULES,
    *FUNCTIONS,
    *MEMORY,
    *copies(),
    *sets(),
    *STREAMS,
    *PROFILER,
)

# Known names with no entry: they resolve, and calling them is refused.
UNSUPPORTED: tuple[str, ...] = tuple(sorted(set(NAMES) - {call.name for call in CALLS}))
