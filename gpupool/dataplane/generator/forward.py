"""Bodies that forward a call: its arguments travel as they are. Standard library only."""

from collections.abc import Iterator

from gpupool.dataplane.api.entry import Call, Message
from gpupool.dataplane.api.types import Argument, Handle, Stream
from gpupool.dataplane.generator.c_types import c_type, wire_type
from gpupool.dataplane.generator.lines import RETURN, handle_kind
from gpupool.dataplane.generator.messages import is_synchronous


def forward(call: Call, message: Message) -> list[str]:
    """Return a forwarding body: check, resolve handles, send ``message``, hand back."""
    outs = [one for one in call.arguments if one.is_out]
    lines = [f"    {line}" for line in _structs(call, message)]
    if any(_is_context(one) for one in call.arguments):
        lines.append("    uint64_t context;")
    if outs:
        lines += [
            f"    if ({' || '.join(f'!{one.name}' for one in outs)})",
            "        return CUDA_ERROR_INVALID_VALUE;",
        ]
    first, *others = [*filter(None, (_resolve(call, one) for one in call.arguments)), _send(message)]
    if not others and not outs:
        return [*lines, f"    return {first};"]
    lines.append(f"    CUresult result = {first};")
    for step in others:
        lines += ["    if (result == CUDA_SUCCESS)", f"        result = {step};"]
    if outs:
        lines += RETURN
        for one in outs:
            lines.append(f"    *{one.name} = ({c_type(one.type, call.key)})reply.{one.name};")
        return [*lines, "    return CUDA_SUCCESS;"]
    return [*lines, "    return result;"]


def _structs(call: Call, message: Message) -> Iterator[str]:
    """Yield the declarations of request, reply and call; what is no handle is in the request already."""
    numbers = [
        f".{one.name} = ({wire_type(one.type, call.key)}){one.name}"
        for one in call.arguments
        if not one.is_out and not isinstance(one.type, Handle | Stream)
    ]
    if message.request:
        yield f"struct {message.name}_request request = {{{', '.join(numbers) or '0'}}};"
    if message.reply:
        yield f"struct {message.name}_reply reply;"
    yield "struct call call = {0};"


def _is_context(one: Argument) -> bool:
    return isinstance(one.type, Handle) and one.type.kind == "context"


def _send(message: Message) -> str:
    request = "&request, sizeof request" if message.request else "NULL, 0"
    if not is_synchronous(message):
        return f"call_send(&call, CALL_{message.name}, {request}, NULL, 0)"
    reply = "&reply, sizeof reply" if message.reply else "NULL, 0"
    return f"call_ask(&call, CALL_{message.name}, {request}, NULL, 0, {reply})"


def _resolve(call: Call, one: Argument) -> str:
    """Return the call that puts a handle into the request, "" for other arguments."""
    if one.is_out:
        return ""
    match one.type:
        case Stream():
            per_thread = "per_thread" if call.twin else "false"
            return f"call_stream(&call, {one.name}, {per_thread}, &request.{one.name})"
        case Handle("context"):
            return f"context_find({one.name}, &call.session, &context)"
        case Handle():
            return f"call_handle(&call, {handle_kind(one)}, {one.name}, &request.{one.name})"
        case _:
            return ""
