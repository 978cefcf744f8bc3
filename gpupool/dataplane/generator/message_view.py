"""The view of each message for what passes it on, as C data. Standard library only."""

from collections.abc import Iterable

from gpupool.dataplane.api.bulk import Bulk, Complete, Place
from gpupool.dataplane.api.entry import Message
from gpupool.dataplane.api.length import Term
from gpupool.dataplane.api.types import Argument, Handle, Stream
from gpupool.dataplane.generator.messages import is_synchronous

_PLACES = {
    Place.DEVICE: "VIEW_DEVICE",
    Place.RECORD: "VIEW_RECORD",
    Place.REPLY: "VIEW_REPLY",
    Place.STAGING: "VIEW_STAGING",
    Place.ARENA: "VIEW_ARENA",
    Place.WORKER: "VIEW_WORKER",
    Place.VALUE: "VIEW_VALUE",
}
_COMPLETE = {Complete.SERVED: "VIEW_SERVED", Complete.STREAM: "VIEW_STREAM"}


_HEAD = """\
#ifndef GPUPOOL_MESSAGE_VIEW_H
#define GPUPOOL_MESSAGE_VIEW_H

#include <stddef.h>

#include "gpupool_messages.h"
#include "wire/handle_table.h"
#include "wire/message_view.h"

#define IN_REQUEST(message, field) \\
    {offsetof(struct message##_request, field), sizeof(((struct message##_request *)0)->field), false}
#define IN_REPLY(message, field) \\
    {offsetof(struct message##_reply, field), sizeof(((struct message##_reply *)0)->field), true}

static const struct message_view message_views[CALL_COUNT] = {
"""
_TAIL = "};\n\n#undef IN_REQUEST\n#undef IN_REPLY\n\n#endif\n"


def header(messages: Iterable[Message]) -> str:
    """Return the table of all messages; raises KeyError for what a message can't have."""
    return _HEAD + "".join(map(_row, messages)) + _TAIL


def _row(message: Message) -> str:
    handles = [one for one in message.request if isinstance(one.type, Handle | Stream)]
    lines = [
        f"    [CALL_{message.name}] = {{",
        f'        .name = "{message.name}",',
        f"        .request_bytes = {_size(message, 'request')},",
        f"        .reply_bytes = {_size(message, 'reply')},",
        f"        .answered = {str(is_synchronous(message)).lower()},",
        f"        .handle_count = {len(handles)},",
        f"        .bulk_count = {len(message.bulk)},",
    ]
    if handles:
        inner = "".join(f"            {_handle(message, one)},\n" for one in handles)
        lines.append(f"        .handles = {{\n{inner}        }},")
    if message.bulk:
        inner = "".join(_bulk(message, one) for one in message.bulk)
        lines.append(f"        .bulks = {{\n{inner}        }},")
    return "\n".join([*lines, "    },", ""])


def _size(message: Message, part: str) -> str:
    return f"sizeof(struct {message.name}_{part})" if getattr(message, part) else "0"


def _handle(message: Message, one: Argument) -> str:
    use = one.type.use.value.upper() if isinstance(one.type, Handle) else "USED"
    kind = one.type.kind.upper() if isinstance(one.type, Handle) else "STREAM"
    return f"{{offsetof(struct {message.name}_request, {one.name}), HANDLE_{kind}, VIEW_{use}}}"


def _field(message: Message, name: str) -> str:
    part = "REQUEST" if name in {one.name for one in message.request} else "REPLY"
    return f"IN_{part}({message.name}, {name})"


def _bulk(message: Message, bulk: Bulk) -> str:
    ends = f"{_PLACES[bulk.source.place]}, {_PLACES[bulk.target.place]}"
    text = f"            {{\n                {ends}, {_COMPLETE[bulk.complete]},\n"
    if not bulk.length.terms:
        text += "                .rest = true,\n"
    for end in (bulk.source, bulk.target):
        if end.place in {Place.STAGING, Place.ARENA}:
            text += f"                .place = {_field(message, end.at)},\n"
    if bulk.length.terms:
        inner = "".join(f"                    {_term(message, one)},\n" for one in bulk.length.terms)
        text += f"                .terms = {{\n{inner}                }},\n"
    if bulk.only_if:
        name, value = bulk.only_if
        text += f"                .only_if = {_field(message, name)}, .only_value = {value},\n"
    return text + "            },\n"


def _term(message: Message, term: Term) -> str:
    factors = ", ".join(_field(message, name) for name in term.factors)
    return f"{{{term.scale}, {{{factors}}}}}"
