"""Bodies that answer by what the runtime knows. Standard library only."""

import re
from collections.abc import Iterator

from gpupool.dataplane.api.body import Answer
from gpupool.dataplane.api.entry import Call
from gpupool.dataplane.api.types import (
    Argument,
    DeviceAddress,
    Handle,
    HostMemory,
    Stream,
    Structure,
    Text,
)
from gpupool.dataplane.generator.lines import RETURN, BadBodyError, checks, handle_kind


def answer(call: Call, form: Answer) -> list[str]:
    """Return a body that answers by what the runtime knows."""
    unknown = form.values.keys() - {one.name for one in call.arguments if one.is_out}
    if unknown:
        raise BadBodyError(f"{call.key} answers {sorted(unknown)}, which come back as no argument")
    words = set(re.findall(r"\w+", " ".join([*form.values.values(), form.needs])))
    declared, found = _found(call, words)
    written = list(_written(call, form))
    lines = [*declared, *checks(call), *found]
    if "function" not in words:
        if form.needs:
            lines += [f"    if (!({form.needs}))", "        return CUDA_ERROR_NOT_SUPPORTED;"]
        returned = (
            [] if written and written[-1].startswith("    return") else [f"    return {form.result};"]
        )
        return [*lines, *written, *returned]
    if form.needs:
        lines += ["    result = CUDA_ERROR_NOT_SUPPORTED;", f"    if ({form.needs}) {{"]
        written = [*(f"    {line}" for line in written), "        result = CUDA_SUCCESS;", "    }"]
    return [*lines, *written, "    function_release(function);", "    return result;"]


def _found(call: Call, words: set[str]) -> tuple[list[str], list[str]]:
    """Return declarations, and the lines that find what the call's handles stand for."""
    declared: dict[str, None] = {}
    lines: list[str] = []
    for one in call.arguments:
        if one.is_out and not isinstance(one.type, HostMemory):
            continue
        for line in _declared(one, words):
            declared[f"    {line}"] = None
        lines += _find(call, one, words)
    return [*declared], lines


def _declared(one: Argument, words: set[str]) -> list[str]:
    """Return the declarations of what an argument is found by."""
    needed = {
        DeviceAddress: ["struct range range;"],
        HostMemory: ["struct host_block block;"],
        Stream: ["struct call call = {0};", "struct stream stream;", "uint64_t number;"],
    }
    match one.type:
        case Handle("device"):
            return ["struct session *session;"] if "session" in words else []
        case Handle(kind):
            more = ["struct function *function;"] if {kind} & words == {"function"} else []
            return ["struct call call = {0};", *more, "uint64_t number;"]
        case other:
            return needed.get(type(other), [])


def _find(call: Call, one: Argument, words: set[str]) -> list[str]:
    """Return the lines that find what an argument stands for."""
    per_thread = "per_thread" if call.twin else "false"
    match one.type:
        case Handle("device") if "session" in words:
            find = f"device_session({one.name}, &session)"
        case Handle("device"):
            kept = (
                [f"    const struct vgpu *vgpu = process_device({one.name});"] if "vgpu" in words else []
            )
            there = "vgpu" if kept else f"process_device({one.name})"
            return [*kept, f"    if (!{there})", "        return CUDA_ERROR_INVALID_DEVICE;"]
        case Handle("context"):
            find = f"context_find({one.name}, &call.session, &number)"
        case Handle("function") if "function" in words:
            find = f"call_function(&call, {one.name}, &number, &function)"
        case Handle():
            find = f"call_handle(&call, {handle_kind(one)}, {one.name}, &number)"
        case Stream():
            find = f"stream_look(&call, {one.name}, {per_thread}, &stream, &number)"
        case DeviceAddress():
            find = f"memory_find({one.name}, &range)"
        case HostMemory():
            there = f"host_find((uintptr_t){one.name}, &block)"
            return [f"    if (!{there})", "        return CUDA_ERROR_INVALID_VALUE;"]
        case _:
            return []
    return [f"    CUresult result = {find};", *RETURN]


def _written(call: Call, form: Answer) -> Iterator[str]:
    """Yield the lines that write what comes back."""
    for name, value in form.values.items():
        one = next(one for one in call.arguments if one.name == name)
        match one.type:
            case Text(room, whole) if room:
                yield f"    return text_give({name}, {room}, {value}, {str(whole).lower()});"
            case Structure():
                yield f"    memcpy({name}, {value}, sizeof *{name});"
            case Handle(c=c) if value.startswith("public_handle") or value in {
                other.name for other in call.arguments if other.type != one.type
            }:
                yield from _assigned(one, f"({c}){value}")
            case _:
                yield from _assigned(one, value)


def _assigned(one: Argument, value: str) -> list[str]:
    if one.optional:
        return [f"    if ({one.name})", f"        *{one.name} = {value};"]
    return [f"    *{one.name} = {value};"]
