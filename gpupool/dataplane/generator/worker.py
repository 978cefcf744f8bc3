"""The worker's share of the generated C. Standard library only."""

from collections.abc import Iterable, Mapping, Sequence

from gpupool.dataplane.api.body import Forward
from gpupool.dataplane.api.bulk import Place
from gpupool.dataplane.api.entry import Call, Message
from gpupool.dataplane.api.length import Term
from gpupool.dataplane.api.turn import Turn
from gpupool.dataplane.api.types import Argument, Handle, Stream
from gpupool.dataplane.generator.c_types import c_type, parameters, wire_type
from gpupool.dataplane.generator.messages import derived, is_synchronous


def driver_header(calls: Iterable[Call]) -> str:
    """Return the struct of pointers to the device library's functions, named by their symbols."""
    lines = [
        "#ifndef GPUPOOL_WORKER_DRIVER_H\n#define GPUPOOL_WORKER_DRIVER_H\n\n",
        '#include "cuda/cuda_abi.h"\n\nstruct driver {\n',
    ]
    for call in calls:
        inside = parameters(call.key, call.arguments) or "void"
        lines.append(f"    CUresult (*{call.key})({inside});\n")
    return "".join([*lines, "};\n\n#endif\n"])


def driver_table(calls: Iterable[Call]) -> str:
    """Return the rows by which those functions are looked up: name, symbol, version, place."""
    rows = ""
    for call in calls:
        place = f"offsetof(struct driver, {call.key})"
        rows += f'    {{"{call.name}", "{call.key}", {call.symbols[0][1]}, {place}}},\n'
    return f"static const struct entry_point entry_points[] = {{\n{rows}}};\n"


def serving_header(messages: Iterable[Message]) -> str:
    """Return the prototypes of the serving functions that are written by hand."""
    lines = [
        f"enum result serve_{message.name}(SERVE_ARGUMENTS);\n"
        for message in messages
        if not isinstance(message.body, Forward)
    ]
    guard = (
        '#ifndef GPUPOOL_WORKER_SERVE_H\n#define GPUPOOL_WORKER_SERVE_H\n\n#include "worker/api.h"\n\n'
    )
    return "".join([guard, *lines, "\n#endif\n"])


def dispatch(calls: Iterable[Call], messages: Iterable[Message]) -> str:
    """Return one serving function per generated call, then the table of all messages."""
    parts = [_serve(call) for call in calls if isinstance(call.worker, Forward)]
    parts.append("static const struct service services[CALL_COUNT] = {\n")
    parts += [f"    SERVICE_{one.name}(serve_{one.name}),\n" for one in messages]
    return "".join([*parts, "};\n"])


def services_header(messages: Sequence[Message], turns: Mapping[str, Turn]) -> str:
    """Return a row of the dispatch table for each message, whoever serves it.

    Raises ValueError when ``turns`` names what is no message.
    """
    if wrong := turns.keys() - {one.name for one in messages}:
        raise ValueError(f"{', '.join(sorted(wrong))}: no message, but it has a turn in turns.py")
    parts = [
        "#ifndef GPUPOOL_WORKER_SERVICES_H\n#define GPUPOOL_WORKER_SERVICES_H\n\n",
        '#include "gpupool_messages.h"\n#include "worker/api.h"\n\n',
    ]
    for message in messages:
        size = f"sizeof(struct {message.name}_request)" if message.request else "0"
        answered, waits = (str(flag).lower() for flag in (is_synchronous(message), message.waits))
        payload, function = _payload(message)
        turn = turns.get(message.name, Turn.ORDERED).value
        parts += [
            function,
            f"#define SERVICE_{message.name}(serve) \\\n"
            f"    [CALL_{message.name}] = {{serve, {size}, {answered}, {turn}, {waits}, {payload}}}\n\n",
        ]
    return "".join([*parts, "#endif\n"])


def _payload(message: Message) -> tuple[str, str]:
    """Return what says how many bytes follow a request, and its function if it has one of its own."""
    lengths = [bulk.length for bulk in message.bulk if bulk.source.place is Place.RECORD]
    if not lengths:
        return "NULL", ""
    terms = [term for length in lengths for term in length.terms]
    if not terms:
        return "payload_any", ""
    total = " + ".join(map(_product, terms))
    name = f"payload_{message.name}"
    return name, (
        f"static inline uint64_t {name}(const void *content)\n{{\n"
        f"    const struct {message.name}_request *request = content;\n    return {total};\n}}\n\n"
    )


def _product(term: Term) -> str:
    factors = [f"(uint64_t)request->{name}" for name in term.factors]
    return " * ".join([*factors, *([str(term.scale)] if term.scale != 1 else [])])


def _serve(call: Call) -> str:
    message = derived(call)
    outs = [one for one in call.arguments if one.is_out]
    lines = [f"static enum result serve_{call.key}(SERVE_ARGUMENTS)", "{"]
    if message.request:
        lines.append(f"    const struct {message.name}_request *request = (const void *)(record + 1);")
    else:
        lines.append("    (void)record;")
    lines += [f"    {c_type(one.type, call.key)} {one.name} = 0;" for one in outs]
    for one in call.arguments:
        lines += _resolve(one)
    arguments = ", ".join(_argument(call, one) for one in call.arguments)
    lines.append(f"    CUresult result = session->device->driver.{call.key}({arguments});")
    if outs:
        values = ", ".join(f".{one.name} = ({wire_type(one.type, call.key)}){one.name}" for one in outs)
        lines.append(f"    struct {message.name}_reply answer = {{{values}}};")
        lines.append("    reply_put(reply, &answer, sizeof answer);")
    else:
        lines.append("    (void)reply;")
    return "\n".join([*lines, "    return result_of(result);", "}", "", ""])


def _resolve(one: Argument) -> list[str]:
    """Return the lines that find what a handle stands for."""
    match one.type:
        case Stream(c):
            find = "object_stream"
        case Handle(kind, c) if not one.is_out:
            find = f"object_{kind}"
        case _:
            return []
    return [
        f"    {c} {one.name};",
        f"    if (!{find}(session, request->{one.name}, &{one.name}))",
        "        return RESULT_INVALID_HANDLE;",
    ]


def _argument(call: Call, one: Argument) -> str:
    if one.is_out:
        return f"&{one.name}"
    if isinstance(one.type, Stream | Handle):
        return one.name
    return f"({c_type(one.type, call.key)})request->{one.name}"
