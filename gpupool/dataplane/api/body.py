"""How the C body of a call or of a message's serving function comes to be.

Most are generated; what no form says is written by hand, and has its reason.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Forward:
    """Handles are resolved, and the arguments travel as the call's own message.

    With ``message`` they travel as that one of another call; contexts only say whose session it goes to.
    """

    message: str = ""


@dataclass(frozen=True)
class Answer:
    """The runtime answers by what it knows.

    ``values`` are C expressions of what the arguments that come back get. They may name what the call's
    handles stand for: ``session`` or ``vgpu`` of a device, ``number`` and ``call.session`` of any other
    handle, ``stream``, ``function``, the ``block`` of pinned memory, the ``range`` of device memory.
    ``needs``: where this condition does not hold, it is not supported. ``result``: an error in place of
    success.
    """

    values: dict[str, str] = field(default_factory=dict)
    needs: str = ""
    result: str = "CUDA_SUCCESS"


@dataclass(frozen=True)
class Same:
    """Another call does it; ``arguments`` are its own in terms of this one's, where names differ."""

    key: str
    arguments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Create:
    """A handle is chosen and ``message`` tells the worker. The client keeps a ``struct item``.

    ``item`` is the name of that struct, ``keeps`` are the arguments that it stores.
    """

    message: str
    item: str = "item"
    keeps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Destroy:
    """A handle is taken out of the table, and ``message`` tells the worker."""

    message: str


@dataclass(frozen=True)
class Copy:
    """Bytes are copied as the call's bulk descriptor says."""


@dataclass(frozen=True)
class Fill:
    """Memory is set to a value; ``fields`` are those of ``message`` in terms of the arguments."""

    fields: dict[str, str]
    message: str = "memory_set"


@dataclass(frozen=True)
class Refuse:
    """The call logs one line and answers that it is not supported, for ``reason``."""

    reason: str


@dataclass(frozen=True)
class Hand:
    """Written by hand; ``reason`` says what in it no form of the table says."""

    reason: str


FORWARD = Forward()

Body = Forward | Answer | Same | Create | Destroy | Copy | Fill | Refuse | Hand
