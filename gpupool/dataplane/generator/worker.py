"""The worker's share of the generated C. Standard library only."""

from collections.abc import Iterable

from gpupool.dataplane.api.body import Forward
from gpupool.dataplane.api.entry import Call, Message
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
    for message in messages:
        size = f"sizeof(struct {message.name}_request)" if message.request else "0"
        answered = "true" if is_synchronous(message) else "false"
        parts.append(f"    [CALL_{message.name}] = {{serve_{message.name}, {size}, {answered}}},\n")
    return "".join([*parts, "};\n"])


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
