"""What the API table is made of: calls, and messages.

Standard library only: the generator, and so the package build, reads it. As Wayland's protocol files do,
it types each argument; the C follows from the types.
"""

from dataclasses import dataclass
from enum import Enum

from gpupool.dataplane.api.body import FORWARD, Body
from gpupool.dataplane.api.bulk import Bulk
from gpupool.dataplane.api.types import Argument


class Class(Enum):
    """How a call or a message travels."""

    LOCAL = "local"  # answered in the runtime
    ONE_WAY = "one-way"  # sent, not awaited; an error comes out at a later synchronous call
    SYNCHRONOUS = "synchronous"  # sent, and the answer awaited


LOCAL, ONE_WAY, SYNCHRONOUS = Class.LOCAL, Class.ONE_WAY, Class.SYNCHRONOUS


@dataclass(frozen=True)
class Message:
    """What travels, when it is not just a call's own arguments.

    ``request`` and ``reply`` are the fields of a struct each. Handles are 64-bit numbers chosen by the
    runtime, offsets count from the arena's start. ``bulk`` are the bytes that go with it, ``body`` is
    the worker's function that serves it. ``waits``: it is served though an earlier call failed, since a
    program counts on it that the device is done.
    """

    name: str
    kind: Class
    request: tuple[Argument, ...]
    reply: tuple[Argument, ...] = ()
    bulk: tuple[Bulk, ...] = ()
    body: Body = FORWARD
    note: str = ""
    waits: bool = False


@dataclass(frozen=True)
class Call:
    """One entry point.

    ``name`` is what cuGetProcAddress is asked for. ``symbols`` are the exported names of this binary
    interface with the first version (major * 1000 + minor * 10) that has it. ``twin`` is the suffix of
    the exported variant whose default stream is the thread's own: ``ptsz``, ``ptds`` or none.
    ``early``: may be called before cuInit. ``body`` is the runtime's side of it, ``worker`` the
    worker's where the call's own arguments travel, as the message ``key``. ``uses`` names the messages
    that it sends besides those that its body names. ``reference``: the reference device has it.
    ``waits`` is that of its message.
    """

    name: str
    kind: Class
    arguments: tuple[Argument, ...]
    symbols: tuple[tuple[str, int], ...]
    body: Body = FORWARD
    worker: Body | None = None
    twin: str = ""
    uses: tuple[str, ...] = ()
    early: bool = False
    bulk: tuple[Bulk, ...] = ()
    reference: bool = True
    waits: bool = False

    @property
    def has_message(self) -> bool:
        """Whether its own arguments travel, as the message ``key``."""
        return self.worker is not None

    @property
    def key(self) -> str:
        """Return the name that tells this binary interface from others of the same name."""
        return self.symbols[0][0]


def call(name: str, since: int, kind: Class, *arguments: Argument, **more: object) -> Call:
    """Return a call; ``symbol`` is the exported name if it is not ``name``, ``also`` more of them.

    Without a ``body`` it is forwarded.
    """
    symbol = str(more.pop("symbol", name))
    also: tuple[tuple[str, int], ...] = more.pop("also", ())  # type: ignore[assignment]
    if more.setdefault("body", FORWARD) == FORWARD:
        more.setdefault("worker", FORWARD)
    return Call(name, kind, arguments, ((symbol, since), *also), **more)  # type: ignore[arg-type]
