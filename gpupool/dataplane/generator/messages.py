"""All that travels: the table's messages and those that calls make. Standard library only."""

from collections.abc import Iterable, Mapping, Sequence

from gpupool.dataplane.api.body import Same
from gpupool.dataplane.api.entry import Call, Class, Message
from gpupool.dataplane.api.types import Argument, Number, in_
from gpupool.dataplane.generator.c_types import field, struct_fields

_PADDING = in_("reserved", Number("uint32_t"))


def numbered(
    messages: Iterable[Message], calls: Iterable[Call], order: Sequence[str]
) -> tuple[Message, ...]:
    """Return all that travels, in the order of the message numbers, the first of which is 1.

    Raises ValueError for what has no number, or is a number of nothing.
    """
    own = (derived(call) for call in calls if call.has_message)
    named = {one.name: one for one in (*messages, *own)}
    wrong = [*(named.keys() - set(order)), *(set(order) - named.keys())]
    if wrong:
        raise ValueError(
            f"{', '.join(sorted(wrong))}: not both a message and numbered; "
            "new ones come last in numbers.py"
        )
    return tuple(named[name] for name in order)


def derived(call: Call) -> Message:
    """Return the message that a call's own arguments make."""
    request = _packed(call, [one for one in call.arguments if not one.is_out])
    reply = _packed(call, [one for one in call.arguments if one.is_out])
    if call.worker is None:
        raise ValueError(f"{call.key} sends no message of its own")
    return Message(call.key, call.kind, request, reply, body=call.worker, waits=call.waits)


def _packed(call: Call, arguments: list[Argument]) -> tuple[Argument, ...]:
    """Return the arguments as fields, the widest first, padded to a multiple of 8 bytes."""
    sizes = {one.name: field(one, call.key).bytes for one in arguments}
    fields = sorted(arguments, key=lambda one: -sizes[one.name])
    return (*fields, _PADDING) if sum(sizes.values()) % 8 else tuple(fields)


def sent(call: Call, calls: Mapping[str, Call]) -> tuple[str, ...]:
    """Return the messages that a call sends; ``calls`` are all by their keys."""
    if isinstance(call.body, Same):
        return sent(calls[call.body.key], calls)
    own = (call.key,) if call.has_message else ()
    form = getattr(call.body, "message", "")
    return tuple(dict.fromkeys((*own, *((form,) if form else ()), *call.uses)))


def is_synchronous(message: Message) -> bool:
    """Whether its sender waits for the answer."""
    return message.kind is Class.SYNCHRONOUS


def header(everything: Iterable[Message]) -> str:
    """Return the C header with the numbers and structs of what travels."""
    parts = [
        "#ifndef GPUPOOL_MESSAGES_H\n#define GPUPOOL_MESSAGES_H\n\n#include <stdint.h>\n\n",
        "enum call_number {\n",
    ]
    names = [message.name for message in everything]
    parts += [f"    CALL_{name} = {number},\n" for number, name in enumerate(names, 1)]
    parts.append(f"    CALL_COUNT = {len(names) + 1},\n}};\n\n")
    for message in everything:
        parts.append(_struct(f"{message.name}_request", message.request))
        parts.append(_struct(f"{message.name}_reply", message.reply))
    return "".join([*parts, "#endif\n"])


def _struct(name: str, arguments: tuple[Argument, ...]) -> str:
    fields = struct_fields(arguments, name)
    if not fields:
        return ""
    inner = "".join(f"    {one};\n" for one in fields)
    return f"struct {name} {{\n{inner}}};\n\n"
