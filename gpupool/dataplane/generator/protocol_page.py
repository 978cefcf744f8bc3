"""The documentation page of the data plane's protocol. Standard library only."""

from collections.abc import Iterable, Sequence

from gpupool.dataplane.api.cuda.table import Call, Message
from gpupool.dataplane.generator.declaration import struct_fields

_HEAD = """\
=======================
The data plane protocol
=======================

.. This page is made by gpupool/dataplane/generator from the API table.

A session is opened over a Unix socket (``native/wire/handshake.h``); then runtime and worker share
memory (``native/wire/ring.h``): records of the messages below go one way, answers the other. Numbers
are little endian. A handle is chosen by the runtime: a generation of 16 bits above an index of 24.
An offset counts from the start of the arena.

*local* calls are answered in the runtime, *one-way* calls are sent and not awaited, *synchronous*
calls wait for their answer. An error of a one-way call comes out at the next synchronous call, which
then does nothing else but wait, if it is one that waits.
"""


def page(calls: Sequence[Call], messages: Iterable[Message], unsupported: Sequence[str]) -> str:
    """Return the page as reStructuredText."""
    parts = [
        _HEAD,
        _title("Messages"),
        *map(_message, enumerate(messages, 1)),
        _title("Calls"),
        _calls(calls),
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
    text = f"{heading}\n{'~' * len(heading)}\n\n*{message.kind.value}*"
    text += f". {message.payload}\n\n" if message.payload else "\n\n"
    for name, declaration in (("request", message.request), ("reply", message.reply)):
        offset = 0
        for field in struct_fields(declaration):
            text += f"* {name} + {offset}: ``{field}``\n"
            offset += field.bytes
    return text + "\n"


def _calls(calls: Iterable[Call]) -> str:
    rows = (
        ".. list-table::\n   :header-rows: 1\n\n   * - symbols (since)\n     - class\n     - messages\n"
    )
    for call in calls:
        symbols = ", ".join(f"``{symbol}`` ({since})" for symbol, since in call.symbols)
        if call.twin:
            symbols += f", each also ``_{call.twin}``"
        used = call.uses or ((call.key,) if call.kind.value != "local" else ())
        sent = ", ".join(used) or "none"
        rows += f"   * - {symbols}\n     - {call.kind.value}\n     - {sent}\n"
    return rows
