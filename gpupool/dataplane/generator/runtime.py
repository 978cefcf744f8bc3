"""The runtime's share of the generated C. Standard library only."""

from collections.abc import Iterable, Sequence

from gpupool.dataplane.api.body import Forward
from gpupool.dataplane.api.entry import Call, Message
from gpupool.dataplane.api.types import Argument, Handle, Stream
from gpupool.dataplane.generator.c_types import c_type, parameters, prototype, wire_type
from gpupool.dataplane.generator.messages import derived, is_synchronous
from gpupool.dataplane.generator.symbols import symbols


def _signature(name: str, call: Call) -> str:
    per_thread = ("bool per_thread",) if call.twin else ()
    return prototype(name, parameters(call.key, call.arguments), *per_thread)


def calls_header(calls: Iterable[Call]) -> str:
    """Return the prototypes of the functions behind the exported symbols."""
    lines = [
        "#ifndef GPUPOOL_CALLS_H\n#define GPUPOOL_CALLS_H\n\n",
        '#include <stdbool.h>\n\n#include "cuda/cuda_abi.h"\n\n',
    ]
    lines += [_signature(f"runtime_{call.key}", call) + ";\n" for call in calls]
    return "".join([*lines, "\n#endif\n"])


def stubs(calls: Iterable[Call]) -> str:
    """Return those of them that are generated."""
    return "\n".join(_forward(call) for call in calls if isinstance(call.body, Forward))


def _forward(call: Call) -> str:
    """Return a forwarding body: check, resolve handles, send, hand back."""
    outs = [one for one in call.arguments if one.is_out]
    message = derived(call)
    lines = [_signature(f"runtime_{call.key}", call), "{"]
    if message.request:
        lines.append(f"    struct {message.name}_request request = {{0}};")
    if outs:
        lines.append(f"    struct {message.name}_reply reply = {{0}};")
    lines += ["    struct call call = {0};"]
    if outs:
        lines += [
            f"    if ({' || '.join(f'!{one.name}' for one in outs)})",
            "        return CUDA_ERROR_INVALID_VALUE;",
        ]
    lines.append("    CUresult result = CUDA_SUCCESS;")
    for one in call.arguments:
        lines += _fill(call, one)
    lines += ["    if (result == CUDA_SUCCESS)", f"        result = {_send(message)};"]
    if outs:
        lines += ["    if (result == CUDA_SUCCESS) {"]
        lines += [
            f"        *{one.name} = ({c_type(one.type, call.key)})reply.{one.name};" for one in outs
        ]
        lines += ["    }"]
    return "\n".join([*lines, "    return result;", "}", ""])


def _send(message: Message) -> str:
    request = "&request, sizeof request" if message.request else "NULL, 0"
    if not is_synchronous(message):
        return f"call_send(&call, CALL_{message.name}, {request}, NULL, 0)"
    reply = "&reply, sizeof reply" if message.reply else "NULL, 0"
    return f"call_ask(&call, CALL_{message.name}, {request}, NULL, 0, {reply})"


def _fill(call: Call, one: Argument) -> list[str]:
    """Return the lines that put an argument into the request."""
    if one.is_out:
        return []
    match one.type:
        case Stream():
            per_thread = "per_thread" if call.twin else "false"
            resolve = f"call_stream(&call, {one.name}, {per_thread}, &request.{one.name})"
        case Handle(kind):
            resolve = f"call_handle(&call, HANDLE_{kind.upper()}, {one.name}, &request.{one.name})"
        case kind:
            return [f"    request.{one.name} = ({wire_type(kind, call.key)}){one.name};"]
    return ["    if (result == CUDA_SUCCESS)", f"        result = {resolve};"]


def exports(calls: Sequence[Call], unsupported: Iterable[str]) -> str:
    """Return the exported symbols, and the table that cuGetProcAddress looks into."""
    parts = [_export(call) for call in calls]
    parts += [f"UNSUPPORTED({name})\n" for name in unsupported]
    parts.append("\nstatic const struct symbol symbols[] = {\n")
    rows = [row for call in calls for row in _rows(call)]
    rows += [(name, f'    {{"{name}", 0, 0, (void *){name}}},\n') for name in unsupported]
    parts += [text for _, text in sorted(rows, key=lambda row: row[0])]
    return "".join([*parts, "};\n"])


def _export(call: Call) -> str:
    names = [one.name for one in call.arguments]
    entered = "" if call.early else "    ENTER();\n"
    text = ""
    for one in symbols(call):
        arguments = ", ".join([*names, str(one.per_thread).lower()] if call.twin else names)
        head = prototype(one.symbol, parameters(call.key, call.arguments))
        text += (
            f"EXPORT {head};\n{head}\n{{\n{entered}    return runtime_{call.key}({arguments});\n}}\n\n"
        )
    return text


def _rows(call: Call) -> list[tuple[str, str]]:
    return [
        (
            f"{one.name} {one.since:05}",
            f'    {{"{one.name}", {one.since}, {int(one.per_thread)}, (void *){one.symbol}}},\n',
        )
        for one in symbols(call)
    ]
