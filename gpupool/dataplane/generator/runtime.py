"""The runtime's share of the generated C. Standard library only."""

from collections.abc import Iterable, Sequence

from gpupool.dataplane.api.body import Forward
from gpupool.dataplane.api.entry import Call, Message
from gpupool.dataplane.api.types import Argument, Handle, Stream
from gpupool.dataplane.generator.c_types import c_type, parameters, prototype, wire_type
from gpupool.dataplane.generator.messages import derived, is_synchronous

PER_THREAD_SINCE = 7000  # no interface version before has a per-thread default stream


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
    names = ", ".join(one.name for one in call.arguments)
    entered = "" if call.early else "    ENTER();\n"
    made = []
    for symbol, _ in call.symbols:
        made.append((symbol, "false"))
        if call.twin:
            made.append((f"{symbol}_{call.twin}", "true"))
    text = ""
    for symbol, per_thread in made:
        arguments = ", ".join(filter(None, [names, per_thread if call.twin else ""]))
        head = prototype(symbol, parameters(call.key, call.arguments))
        text += (
            f"EXPORT {head};\n{head}\n{{\n{entered}    return runtime_{call.key}({arguments});\n}}\n\n"
        )
    return text


def _rows(call: Call) -> list[tuple[str, str]]:
    rows = []
    for symbol, since in call.symbols:
        rows.append(
            (f"{call.name} {since:05}", f'    {{"{call.name}", {since}, 0, (void *){symbol}}},\n')
        )
        if call.twin:
            twin_since = max(since, PER_THREAD_SINCE)
            twin = f"{symbol}_{call.twin}"
            text = f'    {{"{call.name}", {twin_since}, 1, (void *){twin}}},\n'
            rows.append((f"{call.name} {twin_since:05}", text))
    return rows
