"""Writes the C that the API table yields: ``python generator/write.py OUTDIR``. Standard library only.

| file | what |
|---|---|
| gpupool_messages.h | numbers and structs of what travels |
| gpupool_calls.h | prototypes of the runtime's functions behind the exported symbols |
| runtime_stubs.inc | those of them that are generated |
| runtime_exports.inc | the exported symbols, and the table that cuGetProcAddress looks into |
| worker_driver.h, worker_driver.inc | the device library's functions, and how to find them |
| worker_serve.h | prototypes of the worker's functions that serve a message and are written by hand |
| worker_dispatch.inc | one function per message that needs no thought, and the dispatch table |
| protocol.rst | the same as documentation |
"""

import sys
from collections.abc import Iterable
from pathlib import Path

if __name__ == "__main__":
    # Run by path: make the package importable and keep this folder's names out of the way.
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from gpupool.dataplane.api.cuda.table import CALLS, GENERATED, MESSAGES, UNSUPPORTED, Call, Message
from gpupool.dataplane.generator import protocol_page, worker
from gpupool.dataplane.generator.declaration import (
    HANDLES,
    Variable,
    derived_message,
    parameters,
    prototype,
    struct_fields,
)

NOTICE = "/* Made by gpupool/dataplane/generator from the API table; do not edit. */\n"
PER_THREAD_SINCE = 7000  # no interface version before has a per-thread default stream


def messages() -> tuple[Message, ...]:
    """Return all that travels, in the order of the message numbers, the first of which is 1."""
    return (*MESSAGES, *(derived_message(call) for call in CALLS if call.has_message))


def write(folder: Path) -> None:
    """Write every file into ``folder``; same table, same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    everything = messages()
    files = {
        "gpupool_messages.h": _messages_header(everything),
        "gpupool_calls.h": _calls_header(),
        "runtime_stubs.inc": _stubs(),
        "runtime_exports.inc": _exports(),
        "worker_driver.h": worker.driver_header(CALLS),
        "worker_driver.inc": worker.driver_table(CALLS),
        "worker_serve.h": worker.serving_header(CALLS, everything),
        "worker_dispatch.inc": worker.dispatch(CALLS, everything),
    }
    for name, text in files.items():
        (folder / name).write_text(NOTICE + text)
    (folder / "protocol.rst").write_text(protocol_page.page(CALLS, everything, UNSUPPORTED))


def _messages_header(everything: Iterable[Message]) -> str:
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


def _struct(name: str, declaration: str) -> str:
    fields = struct_fields(declaration)
    if not fields:
        return ""
    inner = "".join(f"    {field};\n" for field in fields)
    return f"struct {name} {{\n{inner}}};\n\n"


def _per_thread(call: Call) -> tuple[str, ...]:
    return ("bool per_thread",) if call.twin else ()


def _calls_header() -> str:
    lines = [
        "#ifndef GPUPOOL_CALLS_H\n#define GPUPOOL_CALLS_H\n\n",
        '#include <stdbool.h>\n\n#include "cuda/cuda_abi.h"\n\n',
    ]
    for call in CALLS:
        lines.append(prototype(f"runtime_{call.key}", call.signature, _per_thread(call)) + ";\n")
    return "".join([*lines, "\n#endif\n"])


def _stubs() -> str:
    return "\n".join(_stub(call) for call in CALLS if call.runtime == GENERATED)


def _stub(call: Call) -> str:
    """Return the runtime's side of a generated call: check, resolve handles, send, hand back."""
    variables = parameters(call.signature)
    outs = [one for one in variables if one.is_out]
    message = derived_message(call)
    lines = [prototype(f"runtime_{call.key}", call.signature, _per_thread(call)), "{"]
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
    for one in variables:
        lines += _fill(call, one)
    request = "&request, sizeof request" if message.request else "NULL, 0"
    if message.kind.value == "one-way":
        send = f"call_send(&call, CALL_{message.name}, {request}, NULL, 0)"
    else:
        reply = "&reply, sizeof reply" if outs else "NULL, 0"
        send = f"call_ask(&call, CALL_{message.name}, {request}, NULL, 0, {reply})"
    lines += ["    if (result == CUDA_SUCCESS)", f"        result = {send};"]
    if outs:
        lines += ["    if (result == CUDA_SUCCESS) {"]
        lines += [f"        *{one.name} = ({one.pointee})reply.{one.name};" for one in outs]
        lines += ["    }"]
    return "\n".join([*lines, "    return result;", "}", ""])


def _fill(call: Call, one: Variable) -> list[str]:
    """Return the lines that put a parameter into the request."""
    if one.is_out:
        return []
    if one.c_type == "CUstream":
        per_thread = "per_thread" if call.twin else "false"
        resolve = f"call_stream(&call, {one.name}, {per_thread}, &request.{one.name})"
    elif one.c_type in HANDLES:
        resolve = f"call_handle(&call, {HANDLES[one.c_type]}, {one.name}, &request.{one.name})"
    else:
        return [f"    request.{one.name} = ({one.wire_type}){one.name};"]
    return ["    if (result == CUDA_SUCCESS)", f"        result = {resolve};"]


def _exports() -> str:
    parts = [_export(call) for call in CALLS]
    parts += [f"UNSUPPORTED({name})\n" for name in UNSUPPORTED]
    parts.append("\nstatic const struct symbol symbols[] = {\n")
    rows = [row for call in CALLS for row in _rows(call)]
    rows += [(name, f'    {{"{name}", 0, 0, (void *){name}}},\n') for name in UNSUPPORTED]
    parts += [text for _, text in sorted(rows, key=lambda row: row[0])]
    return "".join([*parts, "};\n"])


def _export(call: Call) -> str:
    names = ", ".join(one.name for one in parameters(call.signature))
    entered = "" if call.early else "    ENTER();\n"
    made = []
    for symbol, _ in call.symbols:
        made.append((symbol, "false"))
        if call.twin:
            made.append((f"{symbol}_{call.twin}", "true"))
    text = ""
    for symbol, per_thread in made:
        arguments = ", ".join(filter(None, [names, per_thread if call.twin else ""]))
        head = prototype(symbol, call.signature)
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


def main() -> None:
    """Write into the folder named on the command line."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: write.py OUTDIR")
    write(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
