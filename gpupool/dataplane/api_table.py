"""The driver API as data (D5): each call, its exported symbols, its class, and what of it travels.

Standard library only: the generator, and so the package build, reads it. The entries are in ``api``.
"""

from gpupool.dataplane.api.context import CONTEXTS
from gpupool.dataplane.api.copy import copies, sets
from gpupool.dataplane.api.device import DEVICES, EARLY
from gpupool.dataplane.api.entry import GENERATED, HAND, Call, Class, Message
from gpupool.dataplane.api.function import FUNCTIONS
from gpupool.dataplane.api.memory import MEMORY
from gpupool.dataplane.api.messages import MESSAGES
from gpupool.dataplane.api.module import MODULES
from gpupool.dataplane.api.names import NAMES
from gpupool.dataplane.api.stream import PROFILER, STREAMS

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
