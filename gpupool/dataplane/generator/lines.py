"""What the bodies of calls have in common. Standard library only."""

import re
from collections.abc import Iterator

from gpupool.dataplane.api.entry import Call
from gpupool.dataplane.api.types import Argument, Flags, Handle, HostMemory, Stream, Text

COLUMNS = 120
# After a step that may fail.
RETURN = ["    if (result != CUDA_SUCCESS)", "        return result;"]


class BadBodyError(ValueError):
    """A body in the table does not fit its call."""


def wrapped(line: str) -> Iterator[str]:
    """Yield the lines of one that is too long, broken at commas and put behind its first parenthesis."""
    indent = " " * (re.search(r"[({]|$", line).end())  # type: ignore[union-attr]
    while len(line) > COLUMNS and ", " in line[len(indent) : COLUMNS]:
        at = line.rindex(", ", 0, COLUMNS) + 1
        yield line[:at]
        line = indent + line[at + 1 :]
    yield line


def checks(call: Call) -> Iterator[str]:
    """Yield the lines that refuse null pointers and flags that do not exist."""
    flags = [(one.name, one.type) for one in call.arguments if isinstance(one.type, Flags)]
    wrong = [f"!{one.name}" for one in call.arguments if _is_required(one)]
    wrong += [_unknown(name, kind) for name, kind in flags]
    wrong += [_several(name, kind.exclusive) for name, kind in flags if kind.exclusive]
    if wrong:
        yield f"    if ({' || '.join(wrong)})"
        yield "        return CUDA_ERROR_INVALID_VALUE;"
    for name, kind in flags:
        if kind.refused:
            yield f"    if ({name} & {kind.refused}u)"
            yield "        return CUDA_ERROR_NOT_SUPPORTED;"


def _is_required(one: Argument) -> bool:
    """Whether it is a place to write to that must be given; text is checked where it is written."""
    written = not (isinstance(one.type, HostMemory) or (isinstance(one.type, Text) and one.type.room))
    return one.is_out and not one.optional and written


def _unknown(name: str, kind: Flags) -> str:
    known = kind.known | kind.refused
    return f"{name} & ~{known}u" if known else name


def _several(name: str, bits: int) -> str:
    """Return the condition that more than one of the bits is set."""
    return f"(({name} & {bits}u) & (({name} & {bits}u) - 1))"


def handle_kind(one: Argument) -> str:
    """Return the C name of the kind of a handle; raises BadBodyError for what is none."""
    if isinstance(one.type, Stream):
        return "HANDLE_STREAM"
    if isinstance(one.type, Handle):
        return f"HANDLE_{one.type.kind.upper()}"
    raise BadBodyError(f"{one.name} is {one.type!r}; wanted is a handle")
