"""Which bytes a call or a message moves, which way, and when that is complete."""

from dataclasses import dataclass
from enum import Enum

from gpupool.dataplane.api.length import Length


class Place(Enum):
    """Where bytes lie."""

    # Of calls.
    HOST = "host memory"
    DEVICE = "device memory"
    EITHER = "host or device memory"
    # Of messages, besides device memory.
    RECORD = "behind the request"
    REPLY = "behind the reply"
    STAGING = "the staging ring"
    ARENA = "the arena"
    WORKER = "the worker"
    VALUE = "a repeated value"


class Complete(Enum):
    """When the source may be changed, and the target read."""

    CALL = "when the call returns"
    TAKEN = "when the call returns, for the source; on the stream, for the target"
    STREAM = "when the stream has come so far"
    SERVED = "when the message has been served"


@dataclass(frozen=True)
class End:
    """One end of bytes that move: ``at`` names the argument or field that says where.

    ``context`` names the argument that says whose device memory it is.
    """

    place: Place
    at: str = ""
    context: str = ""


@dataclass(frozen=True)
class Bulk:
    """Bytes that move from ``source`` to ``target``.

    ``only_if`` names a field and the value that it has when they move so.
    """

    source: End
    target: End
    length: Length
    complete: Complete
    only_if: tuple[str, int] | None = None
    what: str = ""
