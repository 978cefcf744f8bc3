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
from gpupool.dataplane.api.cuda.refused import REFUSED, reason
from gpupool.dataplane.api.cuda.stream import EVENTS, GREEN, PROFILER, STREAMS
from gpupool.dataplane.api.entry import Call

__all__ = ["CALLS", "GROUPS", "MESSAGES", "REFERENCE", "UNSUPPORTED", "reason"]

# The calls that exist, by what they are about.
GROUPS: dict[str, tuple[Call, ...]] = {
    "Start and errors": EARLY,
    "Devices": DEVICES,
    "Contexts": (*PRIMARY, *CONTEXTS),
    "Modules and libraries": (*MODULES, *LIBRARIES),
    "Functions and kernels": (*FUNCTIONS, *KERNELS),
    "Occupancy and launches": (*OCCUPANCY, *LAUNCHES),
    "Device memory": MEMORY,
    "Pinned memory and pointers": (*PINNED, *POINTERS),
    "Copies": copies(),
    "Memory sets": sets(),
    "Streams and events": (*STREAMS, *GREEN, *EVENTS),
    "Profiler": PROFILER,
}
CALLS: tuple[Call, ...] = tuple(call for calls in GROUPS.values() for call in calls)

# The functions of the reference device.
REFERENCE: tuple[Call, ...] = tuple(call for call in (*CALLS, *REFUSED) if call.reference)

# Known names with no entry: they resolve, and calling them is refused.
UNSUPPORTED: tuple[str, ...] = tuple(sorted(set(NAMES) - {call.name for call in CALLS}))
