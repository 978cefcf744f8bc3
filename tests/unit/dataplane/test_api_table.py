"""The API table: consistent in itself, and complete towards what cuda-bindings needs."""

import re
from collections import Counter
from dataclasses import dataclass

import pytest

from gpupool.dataplane.api.body import FORWARD, Answer, Create, Hand, Refuse, Same
from gpupool.dataplane.api.bulk import Place
from gpupool.dataplane.api.cuda.refused import REASONS
from gpupool.dataplane.api.cuda.table import CALLS, MESSAGES, UNSUPPORTED, reason
from gpupool.dataplane.api.entry import LOCAL, ONE_WAY, Class, call
from gpupool.dataplane.api.types import (
    Argument,
    Array,
    DeviceAddress,
    HostMemory,
    Number,
    Stream,
    Structure,
    Text,
    in_,
    out,
)
from gpupool.dataplane.generator.bodies import body as write_body
from gpupool.dataplane.generator.c_types import UnknownTypeError, parameters, struct_fields
from gpupool.dataplane.generator.lines import BadBodyError
from gpupool.dataplane.generator.messages import derived, numbered, sent
from gpupool.dataplane.generator.write import messages

FIRST_MESSAGES = [
    "snapshot",
    "memory_allocate",
    "memory_allocate_pitch",
    "memory_free",
    "memory_set",
    "copy_in",
    "copy_in_small",
    "copy_out_small",
    "copy_arena",
    "copy_device",
    "staging_wait",
    "host_register",
    "host_unregister",
    "image_part",
    "module_load",
    "module_unload",
    "module_function",
    "module_global",
    "launch",
    "stream_create",
    "stream_destroy",
    "event_create",
    "event_destroy",
    "cuCtxSynchronize",
    "cuCtxGetLimit",
    "cuCtxSetLimit",
    "cuCtxGetCacheConfig",
    "cuCtxSetCacheConfig",
    "cuCtxGetSharedMemConfig",
    "cuCtxSetSharedMemConfig",
    "cuCtxResetPersistingL2Cache",
    "cuCtxGetStreamPriorityRange",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuFuncSetCacheConfig",
    "cuFuncSetSharedMemConfig",
    "cuOccupancyMaxActiveBlocksPerMultiprocessor",
    "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags",
    "cuOccupancyAvailableDynamicSMemPerBlock",
    "cuMemGetInfo_v2",
    "cuStreamQuery",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuEventQuery",
    "cuEventSynchronize",
    "cuEventRecord",
    "cuEventRecordWithFlags",
    "cuEventElapsedTime",
]
EVERY_MESSAGE = {message.name: message for message in messages()}
BY_KEY = {call.key: call for call in CALLS}
U32, U64 = Number("uint32_t"), Number("uint64_t")


def test_there_are_the_functions_of_the_foundation():
    assert len(CALLS) > 120
    assert {call.kind for call in CALLS} == set(Class)


def test_each_symbol_belongs_to_one_call():
    symbols = Counter(symbol for call in CALLS for symbol, _ in call.symbols)
    symbols += Counter(
        f"{symbol}_{call.twin}" for call in CALLS for symbol, _ in call.symbols if call.twin
    )
    assert [name for name, count in symbols.items() if count > 1] == []
    assert not symbols.keys() & set(UNSUPPORTED)


def test_interfaces_of_one_name_differ_in_version():
    versions = Counter((call.name, since) for call in CALLS for _, since in call.symbols)
    doubled = [key for key, count in versions.items() if count > 1]
    assert doubled == []


def has_stream(arguments: tuple[Argument, ...]) -> bool:
    """Return whether a stream is among the arguments, or in a structure that is."""
    return any(
        has_stream(one.type.members) if isinstance(one.type, Structure) else isinstance(one.type, Stream)
        for one in arguments
    )


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.key)
def test_a_call_is_well_formed(call):
    assert re.fullmatch(r"cu[A-Z]\w*", call.name)
    assert all(symbol.startswith(call.name) and 1000 <= since <= 13020 for symbol, since in call.symbols)
    assert call.twin in {"", "ptsz", "ptds"}
    names = [one.name for one in call.arguments]
    assert len(set(names)) == len(names)
    assert has_stream(call.arguments) == (call.twin == "ptsz")


def named(argument: Argument) -> set[str]:
    """Return the names of the other arguments that an argument's type speaks of."""
    match argument.type:
        case Array(count=str(count)) if count:
            return {count}
        case Text(room) if room:
            return {room}
        case DeviceAddress(length=length) | HostMemory(length=length) if length:
            return set(length.names)
    return set()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.key)
def test_what_an_argument_speaks_of_is_another_argument(call):
    names = {one.name for one in call.arguments}
    members = {
        member.name
        for one in call.arguments
        if isinstance(one.type, Structure)
        for member in one.type.members
    }
    for argument in call.arguments:
        assert named(argument) <= names
    for bulk in call.bulk:
        assert {bulk.source.at, bulk.target.at} - {""} <= names
        assert set(bulk.length.names) <= names | members


@pytest.mark.parametrize("message", messages(), ids=lambda message: message.name)
def test_what_a_message_speaks_of_is_a_field_of_it(message):
    names = {one.name for one in (*message.request, *message.reply)}
    for bulk in message.bulk:
        assert {bulk.source.at, bulk.target.at} - {""} <= names
        assert set(bulk.length.names) <= names
        assert bulk.only_if is None or bulk.only_if[0] in names
        assert not {bulk.source.place, bulk.target.place} & {Place.HOST, Place.EITHER}
    for field in (*message.request, *message.reply):
        if isinstance(field.type, DeviceAddress) and field.type.length:
            assert set(field.type.length.names) <= names


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.key)
def test_what_a_call_sends_exists_and_fits_its_class(call):
    messages = sent(call, BY_KEY)
    assert set(messages) <= EVERY_MESSAGE.keys()
    assert call.body != FORWARD or call.has_message
    if call.kind is LOCAL:
        assert not call.has_message
    elif call.has_message:
        assert EVERY_MESSAGE[call.key] == derived(call)
    else:
        assert messages
    if call.kind is ONE_WAY:
        assert EVERY_MESSAGE[messages[0]].kind is ONE_WAY


def test_at_most_a_third_of_the_calls_is_by_hand():
    hand = [call.key for call in CALLS if Hand in {type(call.body), type(call.worker)}]
    assert len(hand) * 3 <= len(CALLS), hand


def test_messages_keep_their_numbers():
    """Sessions outlive an upgrade of the agent: what is new comes behind."""
    names = [message.name for message in messages()]
    assert names[: len(FIRST_MESSAGES)] == FIRST_MESSAGES


def test_a_message_without_a_number_is_an_error():
    with pytest.raises(ValueError, match=r"^launch: .* come last in numbers\.py"):
        numbered(MESSAGES, CALLS, [name for name in EVERY_MESSAGE if name != "launch"])
    with pytest.raises(ValueError, match="odd: not both"):
        numbered(MESSAGES, CALLS, [*EVERY_MESSAGE, "odd"])


def test_a_refused_name_has_its_reason():
    assert all(len(reason(name)) > 10 for name in UNSUPPORTED)
    with pytest.raises(KeyError):
        reason("cuInit")


def test_every_reason_is_some_names():
    """A pattern that no name fits, or none first, is left over."""
    used = {reason(name) for name in UNSUPPORTED}
    assert {text for _, text in REASONS} <= used
    assert len({text for _, text in REASONS}) == len(REASONS)


def test_a_body_by_hand_has_its_reason():
    bodies = [body for call in CALLS for body in (call.body, call.worker)]
    bodies += [message.body for message in MESSAGES]
    assert all(len(body.reason) > 10 for body in bodies if isinstance(body, Hand))


@pytest.mark.parametrize("message", messages(), ids=lambda message: message.name)
def test_a_message_has_no_hole_and_fits_its_place(message):
    assert sum(field.bytes for field in struct_fields(message.request, message.name)) <= 256
    assert sum(field.bytes for field in struct_fields(message.reply, message.name)) <= 4080
    assert message.kind is not LOCAL
    if message.kind is ONE_WAY:
        assert not message.reply


def test_message_names_are_told_apart():
    assert len(EVERY_MESSAGE) == len(messages()) > len(MESSAGES)


@pytest.mark.parametrize(
    "fields",
    [
        (in_("a", U32), in_("b", U64)),
        (in_("a", U64), in_("b", U32)),
        (in_("a", Array(Number("char"), 3)), in_("b", U32)),
    ],
)
def test_a_struct_that_the_compiler_would_pad_is_refused(fields):
    with pytest.raises(ValueError, match=r"reorder|alignment"):
        struct_fields(fields, "a message")


@dataclass(frozen=True)
class Texture:
    """A type that nobody taught the generator."""


@pytest.mark.parametrize("kind", [Texture(), Number("long double"), Array(Texture(), "count")])
def test_a_type_that_the_generator_does_not_know_is_an_error(kind):
    with pytest.raises(
        UnknownTypeError, match=r"argument hTexture of cuTexPlay .*allowed are Array, .*int"
    ):
        parameters("cuTexPlay", (in_("hTexture", kind),))


def test_a_type_that_does_not_travel_is_an_error():
    texts = call("cuTexPlay", 2000, ONE_WAY, in_("text", Text()))
    with pytest.raises(
        UnknownTypeError, match=r"field text of cuTexPlay .* allowed are DeviceAddress, \w+, Flags"
    ):
        derived(texts)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (Answer({"pi": "1"}), "answers ['pi'], which come back as no argument"),
        (Same("cuDeviceGet"), "does not say what cuDeviceGet gets as device"),
        (Create("event_create"), "first argument is .* wanted is a new handle"),
        (Refuse("It is no call"), "the generator does not know"),
    ],
)
def test_a_body_that_does_not_fit_its_call_is_an_error(body, wrong):
    odd = call("cuOdd", 2000, LOCAL, out("value", Number("int")), body=body)
    with pytest.raises(BadBodyError, match=f"cuOdd.*{re.escape(wrong) if '[' in wrong else wrong}"):
        write_body(odd, BY_KEY)


def test_the_c_of_an_argument_follows_from_its_type():
    arguments = (
        out("module", Number("size_t")),
        in_("name", Text()),
        out("names", Text()),
        in_("values", Array(HostMemory(), "count")),
        in_("from", HostMemory()),
        out("to", HostMemory()),
    )
    assert parameters("cuAny", arguments) == (
        "size_t *module, const char *name, const char **names, void **values, const void *from, void *to"
    )
