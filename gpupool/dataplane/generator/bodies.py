"""The runtime's bodies of calls, by their forms in the API table. Standard library only."""

import re
from collections.abc import Iterator, Mapping

from gpupool.dataplane.api.body import Answer, Copy, Create, Destroy, Fill, Forward, Hand, Same
from gpupool.dataplane.api.bulk import Complete, End, Place
from gpupool.dataplane.api.entry import Call, Message
from gpupool.dataplane.api.types import (
    Argument,
    DeviceAddress,
    Flags,
    Handle,
    HostMemory,
    Stream,
    Structure,
    Text,
)
from gpupool.dataplane.generator.c_types import c_type, parameter_type, parameters, prototype, wire_type
from gpupool.dataplane.generator.messages import derived, is_synchronous

Calls = Mapping[str, Call]  # by key
COLUMNS = 120
_RETURN = ["    if (result != CUDA_SUCCESS)", "        return result;"]


class BadBodyError(ValueError):
    """A body in the table does not fit its call."""


def signature(call: Call) -> str:
    """Return the head of the function behind a call's symbols."""
    per_thread = ("bool per_thread",) if call.twin else ()
    head = prototype(f"runtime_{call.key}", parameters(call.key, call.arguments), *per_thread)
    return "\n".join(_wrapped(head))


def _wrapped(line: str) -> Iterator[str]:
    """Yield the lines of one that is too long, broken at commas and put behind its first parenthesis."""
    indent = " " * (re.search(r"[({]|$", line).end())  # type: ignore[union-attr]
    while len(line) > COLUMNS and ", " in line[len(indent) : COLUMNS]:
        at = line.rindex(", ", 0, COLUMNS) + 1
        yield line[:at]
        line = indent + line[at + 1 :]
    yield line


def body(call: Call, calls: Calls) -> str:
    """Return a call's function, "" for one by hand; raises BadBodyError, UnknownTypeError."""
    match call.body:
        case Hand():
            return ""
        case Forward():
            lines = _forward(call, calls)
        case Answer():
            lines = _answer(call, call.body)
        case Same():
            lines = _same(call, call.body, calls)
        case Create():
            lines = _create(call, call.body)
        case Destroy(message):
            handle = call.arguments[0]
            lines = [f"    return call_destroy({_kind(handle)}, {handle.name}, CALL_{message});"]
        case Copy():
            lines = _copy(call)
        case Fill():
            lines = _fill_memory(call, call.body)
        case _:
            raise BadBodyError(
                f"{call.key} has the body {call.body!r}, which the generator does not know"
            )
    wrapped = [part for line in lines for part in _wrapped(line)]
    return "\n".join([signature(call), "{", *wrapped, "}", ""])


# --- checks that all have in common ---


def _checks(call: Call) -> Iterator[str]:
    """Yield the lines that refuse null pointers and flags that do not exist."""
    wrong = [f"!{one.name}" for one in call.arguments if _is_required(one)]
    flags = [one for one in call.arguments if isinstance(one.type, Flags)]
    wrong += [_unknown(one.name, one.type) for one in flags if isinstance(one.type, Flags)]
    if wrong:
        yield f"    if ({' || '.join(wrong)})"
        yield "        return CUDA_ERROR_INVALID_VALUE;"
    for one in flags:
        if isinstance(one.type, Flags) and one.type.refused:
            yield f"    if ({one.name} & {one.type.refused}u)"
            yield "        return CUDA_ERROR_NOT_SUPPORTED;"


def _is_required(one: Argument) -> bool:
    """Whether it is a place to write to that must be given; text is checked where it is written."""
    written = not (isinstance(one.type, HostMemory) or (isinstance(one.type, Text) and one.type.room))
    return one.is_out and not one.optional and written


def _unknown(name: str, kind: Flags) -> str:
    known = kind.known | kind.refused
    return f"{name} & ~{known}u" if known else name


def _kind(one: Argument) -> str:
    if isinstance(one.type, Stream):
        return "HANDLE_STREAM"
    if isinstance(one.type, Handle):
        return f"HANDLE_{one.type.kind.upper()}"
    raise BadBodyError(f"{one.name} is {one.type!r}; wanted is a handle")


# --- forward ---


def _forward(call: Call, calls: Calls) -> list[str]:
    """Return a forwarding body: check, resolve handles, send, hand back."""
    if isinstance(call.body, Forward) and call.body.message:
        message = derived(calls[call.body.message])
    else:
        message = derived(call)
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
        lines += _RETURN
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
            return f"call_handle(&call, {_kind(one)}, {one.name}, &request.{one.name})"
        case _:
            return ""


# --- answer ---


def _answer(call: Call, form: Answer) -> list[str]:
    """Return a body that answers by what the runtime knows."""
    unknown = form.values.keys() - {one.name for one in call.arguments if one.is_out}
    if unknown:
        raise BadBodyError(f"{call.key} answers {sorted(unknown)}, which come back as no argument")
    words = set(re.findall(r"\w+", " ".join([*form.values.values(), form.needs])))
    declared, found = _found(call, words)
    written = list(_written(call, form))
    lines = [*declared, *_checks(call), *found]
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
            find = f"call_handle(&call, {_kind(one)}, {one.name}, &number)"
        case Stream():
            find = f"stream_look(&call, {one.name}, {per_thread}, &stream, &number)"
        case DeviceAddress():
            find = f"memory_find({one.name}, &range)"
        case HostMemory():
            there = f"host_find((uintptr_t){one.name}, &block)"
            return [f"    if (!{there})", "        return CUDA_ERROR_INVALID_VALUE;"]
        case _:
            return []
    return [f"    CUresult result = {find};", *_RETURN]


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


# --- the others ---


def _same(call: Call, form: Same, calls: Calls) -> list[str]:
    """Return a body that hands over to another call."""
    other = calls[form.key]
    own = {one.name: one for one in call.arguments}
    given = []
    for wanted in other.arguments:
        value = form.arguments.get(wanted.name, wanted.name)
        if wanted.name not in form.arguments and wanted.name not in own:
            raise BadBodyError(f"{call.key} does not say what {form.key} gets as {wanted.name}")
        if value in own:
            types = [parameter_type(one, call.key) for one in (own[value], wanted)]
            value = value if types[0] == types[1] else f"({types[1]}){value}"
        given.append(value)
    if other.twin:
        given.append("per_thread" if call.twin else "false")
    used = {word for value in given for word in re.findall(r"\w+", value)}
    unused = [f"    (void){name};" for name in own if name not in used]
    return [*unused, f"    return runtime_{other.key}({', '.join(given)});"]


def _create(call: Call, form: Create) -> list[str]:
    """Return a body that makes a handle and an item of the client's for it."""
    made, *others = call.arguments
    if not isinstance(made.type, Handle):
        raise BadBodyError(f"{call.key}'s first argument is {made.type!r}; wanted is a new handle")
    fields = ", ".join(f".{one.name.lower()} = {one.name}" for one in others)
    item, kind = "made" if form.item == "item" else "&made->item", _kind(made)
    return [
        f"    struct {form.message}_request request = {{{fields}}};",
        "    struct call call = {0};",
        *_checks(call),
        f"    struct {form.item} *made = calloc(1, sizeof *made);",
        "    if (!made)",
        "        return CUDA_ERROR_OUT_OF_MEMORY;",
        *(f"    made->{name} = {name};" for name in form.keeps),
        f"    CUresult result = call_create(&call, {kind}, {item}, CALL_{form.message}, &request, "
        "sizeof request);",
        "    if (result != CUDA_SUCCESS)",
        "        free(made);",
        "    else",
        f"        *{made.name} = ({made.type.c})public_handle(call.session, {kind}, "
        f"request.{made.type.kind});",
        "    return result;",
    ]


def _copy(call: Call) -> list[str]:
    """Return a body that copies what the bulk descriptor says."""
    (bulk,) = call.bulk
    waits = str(bulk.complete is not Complete.STREAM).lower()
    stream = next((one.name for one in call.arguments if isinstance(one.type, Stream)), "NULL")
    if bulk.source.at == bulk.target.at:
        return [f"    return copy_rectangle({bulk.source.at}, {stream}, per_thread, {waits});"]
    ((length,),) = (term.factors for term in bulk.length.terms)
    return [
        f"    struct copy_place to = {_place(call, bulk.target)}, from = {_place(call, bulk.source)};",
        f"    return copy_bytes(to, from, {length}, {stream}, per_thread, {waits});",
    ]


def _place(call: Call, end: End) -> str:
    one = next(one for one in call.arguments if one.name == end.at)
    address = end.at if isinstance(one.type, DeviceAddress) else f"(uintptr_t){end.at}"
    if end.context:
        return f"{{COPY_CONTEXT, {address}, {end.context}}}"
    kinds = {Place.HOST: "COPY_HOST", Place.DEVICE: "COPY_DEVICE", Place.EITHER: "COPY_EITHER"}
    return f"{{{kinds[end.place]}, {address}, NULL}}"


def _fill_memory(call: Call, form: Fill) -> list[str]:
    """Return a body that sets memory."""
    stream = next(one.name for one in call.arguments if isinstance(one.type, Stream))
    fields = ", ".join(f".{name} = {value}" for name, value in form.fields.items())
    return [
        f"    struct {form.message}_request request = {{{fields}}};",
        f"    return {form.message}(request, {stream}, per_thread);",
    ]
