"""The types of the API table in words, for pages. Standard library only."""

from functools import singledispatch

from gpupool.dataplane.api.bulk import Bulk, End
from gpupool.dataplane.api.length import Length, Term
from gpupool.dataplane.api.types import (
    Access,
    Array,
    Callback,
    DeviceAddress,
    EntryPoint,
    Enumeration,
    Flags,
    Handle,
    HostMemory,
    Number,
    Offset,
    Pinned,
    Position,
    Stream,
    Structure,
    Text,
    Type,
    Untyped,
    Use,
)
from gpupool.dataplane.generator.c_types import UnknownTypeError

_PHRASES = {
    Stream: "stream",
    EntryPoint: "function of the library",
    Untyped: "pointer, whose meaning another argument says",
    Position: "position in staging",
    Offset: "offset in the arena",
}


@singledispatch
def describe(kind: object) -> str:
    """Return a type in words; raises UnknownTypeError."""
    if type(kind) not in _PHRASES:
        raise UnknownTypeError(kind, "an argument", Type.__args__)
    return _PHRASES[type(kind)]


@describe.register
def _(kind: Number) -> str:
    if kind.valid is None:
        return f"``{kind.c}``"
    if isinstance(kind.valid, range) and kind.valid.step == 1:
        return f"``{kind.c}`` from {kind.valid[0]} to {kind.valid[-1]}"
    return f"``{kind.c}``: {', '.join(map(str, kind.valid))}"


@describe.register
def _(kind: Enumeration) -> str:
    return f"one of ``{kind.c}``"


@describe.register
def _(kind: Flags) -> str:
    if not kind.known:
        return "reserved, 0"
    refused = f", {kind.refused:#x} is not supported" if kind.refused else ""
    exclusive = f", of {kind.exclusive:#x} at most one" if kind.exclusive else ""
    return f"flags, of which {kind.known:#x} may be set{exclusive}{refused}"


@describe.register
def _(kind: Text) -> str:
    return f"text, in the ``{kind.room}`` bytes of a place of the caller's" if kind.room else "text"


@describe.register
def _(kind: Handle) -> str:
    return f"{kind.kind}, {kind.use.value}"


@describe.register
def _(kind: DeviceAddress) -> str:
    text = "address of " + ("host or device memory" if kind.host else "device memory")
    if kind.use is not Use.USED:
        text += f", {kind.use.value}"
    if kind.length:
        text += f", {formula(kind.length)} bytes"
    return text + {Access.NONE: "", Access.READ: ", read", Access.WRITE: ", written"}[kind.access]


@describe.register
def _(kind: HostMemory) -> str:
    text = "host memory" if kind.pinned is Pinned.ANY else f"{kind.pinned.value} host memory"
    if kind.use is not Use.USED:
        text += f", {kind.use.value}"
    return text + (f", {formula(kind.length)} bytes" if kind.length else "")


@describe.register
def _(kind: Array) -> str:
    if kind.end:
        return f"array up to ``{kind.end}``, each: {describe(kind.of)}"
    count = kind.count if isinstance(kind.count, int) else f"``{kind.count}``"
    return f"array of {count}, each: {describe(kind.of)}"


@describe.register
def _(kind: Structure) -> str:
    return f"``{kind.c}``"


@describe.register
def _(kind: Callback) -> str:
    return f"function of the program, ``{kind.c}``"


def formula(length: Length) -> str:
    """Return a length as a formula."""
    return " + ".join(map(_term, length.terms)) or "all further"


def _term(term: Term) -> str:
    scale = [str(term.scale)] if term.scale != 1 else []
    return " * ".join([*(f"``{name}``" for name in term.factors), *scale])


def bulk_words(bulk: Bulk) -> str:
    """Return which bytes move, and when that is complete."""
    what = f"{bulk.what}, " if bulk.what else ""
    text = f"{what}{formula(bulk.length)} bytes from {_end(bulk.source)} to {_end(bulk.target)}"
    if bulk.only_if:
        text += f" if ``{bulk.only_if[0]}`` is {bulk.only_if[1]}"
    return f"{text}; complete {bulk.complete.value}"


def _end(end: End) -> str:
    return f"{end.place.value} (``{end.at}``)" if end.at else end.place.value
