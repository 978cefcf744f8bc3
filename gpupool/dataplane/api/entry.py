"""What the API table is made of.

Standard library only: the generator, and so the package build, reads it.

Signatures are C, in the interface's own parameter names. A call with ``runtime=GENERATED`` has a stub
made from its signature: handles and numbers go out, ``TYPE *name`` comes back. The C of the others is
written by hand because it decides something (native/runtime, native/worker); ``uses`` names the
messages that such a call sends.
"""

from dataclasses import dataclass
from enum import Enum

GENERATED = "generated"
HAND = "hand"


class Class(Enum):
    """How a call or a message travels."""

    LOCAL = "local"  # answered in the runtime
    ONE_WAY = "one-way"  # sent, not awaited; an error comes out at a later synchronous call
    SYNCHRONOUS = "synchronous"  # sent, and the answer awaited


LOCAL, ONE_WAY, SYNCHRONOUS = Class.LOCAL, Class.ONE_WAY, Class.SYNCHRONOUS


@dataclass(frozen=True)
class Message:
    """What travels, when it is not just a call's own parameters.

    ``request`` and ``reply`` are C declarations; ``payload`` says which bytes follow the request (or
    the reply). Handles are 64-bit numbers chosen by the runtime, offsets count from the arena's start.
    """

    name: str
    kind: Class
    request: str
    reply: str = ""
    payload: str = ""


@dataclass(frozen=True)
class Call:
    """One entry point.

    ``name`` is what cuGetProcAddress is asked for. ``symbols`` are the exported names of this binary
    interface with the first version (major * 1000 + minor * 10) that has it. ``twin`` is the suffix of
    the exported variant whose default stream is the thread's own: ``ptsz``, ``ptds`` or none.
    ``early``: may be called before cuInit.
    """

    name: str
    kind: Class
    signature: str
    symbols: tuple[tuple[str, int], ...]
    runtime: str = HAND
    worker: str = ""
    twin: str = ""
    uses: tuple[str, ...] = ()
    early: bool = False

    @property
    def has_message(self) -> bool:
        """Whether its own parameters travel, as the message ``key``."""
        return GENERATED in {self.runtime, self.worker}

    @property
    def key(self) -> str:
        """Return the name that tells this binary interface from others of the same name."""
        return self.symbols[0][0]


def call(name: str, since: int, kind: Class, signature: str, **more: object) -> Call:
    """Return a call; ``symbol`` is the exported name if it is not ``name``, ``also`` more of them."""
    symbol = str(more.pop("symbol", name))
    also: tuple[tuple[str, int], ...] = more.pop("also", ())  # type: ignore[assignment]
    return Call(name, kind, signature, ((symbol, since), *also), **more)  # type: ignore[arg-type]


def stub(name: str, since: int, kind: Class, signature: str, **more: object) -> Call:
    """Return a call whose two sides are generated, unless ``worker=HAND``."""
    more.setdefault("worker", GENERATED)
    return call(name, since, kind, signature, runtime=GENERATED, **more)
