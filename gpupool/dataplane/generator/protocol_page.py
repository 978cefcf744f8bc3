"""The documentation page of the data plane's protocol. Standard library only."""

from collections.abc import Iterable, Mapping, Sequence

from gpupool.dataplane.api.body import Body, Hand
from gpupool.dataplane.api.entry import Call, Message
from gpupool.dataplane.api.types import Argument, Array, Structure
from gpupool.dataplane.generator.c_types import struct_fields
from gpupool.dataplane.generator.messages import sent
from gpupool.dataplane.generator.words import bulk_words, describe

_HEAD = """\
=======================
The data plane protocol
=======================

.. This page is made by gpupool/dataplane/generator from the API table.

A session is opened over a Unix socket (``native/wire/handshake.h``); then runtime and worker share
memory (``native/wire/ring.h``): records of the messages below go one way, answers the other. Numbers
are little endian. A handle is chosen by the runtime: a generation of 16 bits above an index of 24.
An offset counts from the start of the arena, a position is one in the staging ring.

*local* calls are answered in the runtime, *one-way* calls are sent and not awaited, *synchronous*
calls wait for their answer. An error of a one-way call comes out at the next synchronous call, which
then does nothing else but wait, if it is one that *waits*. A record whose payload is longer or shorter
than its request says is refused.
"""


def page(calls: Sequence[Call], messages: Iterable[Message], unsupported: Sequence[str]) -> str:
    """Return the page as reStructuredText."""
    by_key = {call.key: call for call in calls}
    parts = [
        _HEAD,
        _title("Messages"),
        *map(_message, enumerate(messages, 1)),
        _title("Calls"),
        *(_call(call, by_key) for call in calls),
        _title("Structures"),
        *map(_structure, structures(calls)),
    ]
    parts.append(_title("Not supported"))
    parts.append(
        "These names resolve; a call returns ``CUDA_ERROR_NOT_SUPPORTED`` and logs one line.\n\n"
    )
    parts.append(",\n".join(f"``{name}``" for name in unsupported) + "\n")
    return "".join(parts)


def _title(text: str) -> str:
    return f"\n{text}\n{'-' * len(text)}\n\n"


def _message(numbered: tuple[int, Message]) -> str:
    number, message = numbered
    heading = f"{number} {message.name}"
    text = (
        f"{heading}\n{'~' * len(heading)}\n\n*{message.kind.value}*{', waits' if message.waits else ''}"
    )
    text += f". {message.note}" if message.note else "."
    text += f"{_by_hand(message.body)}\n\n"
    for name, arguments in (("request", message.request), ("reply", message.reply)):
        offset = 0
        for field in struct_fields(arguments, f"{message.name}'s {name}"):
            text += f"* {name} + {offset}: ``{field}``, {describe(field.type)}\n"
            offset += field.bytes
    text += "".join(f"* bulk: {bulk_words(one)}\n" for one in message.bulk)
    return text + "\n"


def _by_hand(*bodies: Body | None) -> str:
    """Return why a body is written by hand."""
    return "".join(f" By hand: {body.reason}" for body in bodies if isinstance(body, Hand))


def _call(call: Call, calls: Mapping[str, Call]) -> str:
    symbols = ", ".join(f"``{symbol}`` ({since})" for symbol, since in call.symbols)
    if call.twin:
        symbols += f", each also ``_{call.twin}``"
    messages = ", ".join(sent(call, calls)) or "none"
    text = f"{call.key}\n{'~' * len(call.key)}\n\n"
    text += (
        f"{symbols}. *{call.kind.value}*. Messages: {messages}.{_by_hand(call.body, call.worker)}\n\n"
    )
    text += "".join(map(_argument, call.arguments))
    text += "".join(f"* bulk: {bulk_words(one)}\n" for one in call.bulk)
    return text + "\n"


def structures(calls: Iterable[Call]) -> list[Structure]:
    """Return the structures of the calls' arguments and those within them, by name."""
    found: dict[str, Structure] = {}
    waiting = [one.type for call in calls for one in call.arguments]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, Array):
            waiting.append(kind.of)
        if isinstance(kind, Structure):
            found[kind.c] = kind
            waiting += [member.type for member in kind.members]
    return [found[name] for name in sorted(found)]


def _structure(kind: Structure) -> str:
    text = f"{kind.c}\n{'~' * len(kind.c)}\n\n"
    return text + "".join(map(_argument, kind.members)) + "\n"


def _argument(one: Argument) -> str:
    optional = ", may be null" if one.optional else ""
    return f"* {one.direction.value} ``{one.name}``: {describe(one.type)}{optional}\n"
