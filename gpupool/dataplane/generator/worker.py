"""The worker's share of the generated C. Standard library only."""

from collections.abc import Iterable

from gpupool.dataplane.api.cuda.table import GENERATED, Call, Class, Message
from gpupool.dataplane.generator.declaration import HANDLES, Variable, derived_message, parameters

_OBJECT = {"CUstream": "object_stream", "CUevent": "object_event", "CUmodule": "object_module"}


def driver_header(calls: Iterable[Call]) -> str:
    """Return the struct of pointers to the device library's functions, named by their symbols."""
    lines = [
        "#ifndef GPUPOOL_WORKER_DRIVER_H\n#define GPUPOOL_WORKER_DRIVER_H\n\n",
        '#include "cuda/cuda_abi.h"\n\nstruct driver {\n',
    ]
    lines += [f"    CUresult (*{call.key})({call.signature or 'void'});\n" for call in calls]
    return "".join([*lines, "};\n\n#endif\n"])


def driver_table(calls: Iterable[Call]) -> str:
    """Return the rows by which those functions are looked up: name, symbol, version, place."""
    rows = ""
    for call in calls:
        place = f"offsetof(struct driver, {call.key})"
        rows += f'    {{"{call.name}", "{call.key}", {call.symbols[0][1]}, {place}}},\n'
    return f"static const struct entry_point entry_points[] = {{\n{rows}}};\n"


def serving_header(calls: Iterable[Call], messages: Iterable[Message]) -> str:
    """Return the prototypes of the serving functions that are written by hand."""
    generated = {call.key for call in calls if call.worker == GENERATED}
    lines = [
        f"CUresult serve_{message.name}(SERVE_ARGUMENTS);\n"
        for message in messages
        if message.name not in generated
    ]
    guard = "#ifndef GPUPOOL_WORKER_SERVE_H\n#define GPUPOOL_WORKER_SERVE_H\n\n"
    return "".join([guard, *lines, "\n#endif\n"])


def dispatch(calls: Iterable[Call], messages: Iterable[Message]) -> str:
    """Return one serving function per generated call, then the table of all messages."""
    generated = [call for call in calls if call.worker == GENERATED]
    parts = [*map(_serve, generated), "static const struct service services[CALL_COUNT] = {\n"]
    for message in messages:
        size = f"sizeof(struct {message.name}_request)" if message.request else "0"
        answered = "true" if message.kind is Class.SYNCHRONOUS else "false"
        parts.append(f"    [CALL_{message.name}] = {{serve_{message.name}, {size}, {answered}}},\n")
    return "".join([*parts, "};\n"])


def _serve(call: Call) -> str:
    message = derived_message(call)
    variables = parameters(call.signature)
    outs = [one for one in variables if one.is_out]
    lines = [f"static CUresult serve_{call.key}(SERVE_ARGUMENTS)", "{"]
    if message.request:
        lines.append(f"    const struct {message.name}_request *request = (const void *)(record + 1);")
    else:
        lines.append("    (void)record;")
    lines += [f"    {one.pointee} {one.name} = 0;" for one in outs]
    for one in variables:
        lines += _resolve(one)
    arguments = ", ".join(_argument(one) for one in variables)
    lines.append(f"    CUresult result = session->driver.{call.key}({arguments});")
    if outs:
        values = ", ".join(f".{one.name} = ({one.wire_type}){one.name}" for one in outs)
        lines.append(f"    struct {message.name}_reply answer = {{{values}}};")
        lines.append("    reply_put(reply, &answer, sizeof answer);")
    else:
        lines.append("    (void)reply;")
    return "\n".join([*lines, "    return result;", "}", "", ""])


def _resolve(one: Variable) -> list[str]:
    if one.is_out or one.c_type not in HANDLES:
        return []
    find = _OBJECT.get(one.c_type, "object_function")
    return [
        f"    {one.c_type} {one.name};",
        f"    if (!{find}(session, request->{one.name}, &{one.name}))",
        "        return CUDA_ERROR_INVALID_HANDLE;",
    ]


def _argument(one: Variable) -> str:
    if one.is_out:
        return f"&{one.name}"
    return one.name if one.c_type in HANDLES else f"({one.c_type})request->{one.name}"
