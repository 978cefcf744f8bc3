"""The runtime's bodies of calls, by their forms in the API table. Standard library only."""

import re
from collections.abc import Mapping

from gpupool.dataplane.api.body import Answer, Copy, Create, Destroy, Fill, Forward, Hand, Same
from gpupool.dataplane.api.bulk import Complete, End, Place
from gpupool.dataplane.api.entry import Call
from gpupool.dataplane.api.types import DeviceAddress, Handle, Stream
from gpupool.dataplane.generator.answer import answer
from gpupool.dataplane.generator.c_types import parameter_type, parameters, prototype
from gpupool.dataplane.generator.forward import forward
from gpupool.dataplane.generator.lines import BadBodyError, checks, handle_kind, wrapped
from gpupool.dataplane.generator.messages import derived

Calls = Mapping[str, Call]  # by key


def signature(call: Call) -> str:
    """Return the head of the function behind a call's symbols."""
    per_thread = ("bool per_thread",) if call.twin else ()
    head = prototype(f"runtime_{call.key}", parameters(call.key, call.arguments), *per_thread)
    return "\n".join(wrapped(head))


def body(call: Call, calls: Calls) -> str:
    """Return a call's function, "" for one by hand; raises BadBodyError, UnknownTypeError."""
    match call.body:
        case Hand():
            return ""
        case Forward():
            lines = forward(call, derived(calls[call.body.message or call.key]))
        case Answer():
            lines = answer(call, call.body)
        case Same():
            lines = _same(call, call.body, calls)
        case Create():
            lines = _create(call, call.body)
        case Destroy(message):
            handle = call.arguments[0]
            lines = [f"    return call_destroy({handle_kind(handle)}, {handle.name}, CALL_{message});"]
        case Copy():
            lines = _copy(call)
        case Fill():
            lines = _fill_memory(call, call.body)
        case _:
            raise BadBodyError(
                f"{call.key} has the body {call.body!r}, which the generator does not know"
            )
    made = [part for line in lines for part in wrapped(line)]
    return "\n".join([signature(call), "{", *made, "}", ""])


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
    item, kind = "made" if form.item == "item" else "&made->item", handle_kind(made)
    return [
        f"    struct {form.message}_request request = {{{fields}}};",
        "    struct call call = {0};",
        *checks(call),
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
