"""The API table: consistent in itself, and complete towards what cuda-bindings needs."""

import re
from collections import Counter

import pytest

from gpupool.dataplane.api.cuda.table import CALLS, GENERATED, HAND, MESSAGES, UNSUPPORTED, Class
from gpupool.dataplane.generator.declaration import derived_message, parameters, struct_fields
from gpupool.dataplane.generator.write import messages

EVERY_MESSAGE = {message.name: message for message in messages()}


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


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.key)
def test_a_call_is_well_formed(call):
    assert re.fullmatch(r"cu[A-Z]\w*", call.name)
    assert all(symbol.startswith(call.name) and 1000 <= since <= 13020 for symbol, since in call.symbols)
    assert call.runtime in {GENERATED, HAND}
    assert call.worker in {GENERATED, HAND, ""}
    assert call.twin in {"", "ptsz", "ptds"}
    names = [one.name for one in parameters(call.signature)]
    assert len(set(names)) == len(names)
    if call.twin == "ptsz":
        assert "hStream" in names or call.name == "cuLaunchKernelEx"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.key)
def test_what_a_call_sends_exists_and_fits_its_class(call):
    assert set(call.uses) <= EVERY_MESSAGE.keys()
    if call.kind is Class.LOCAL:
        assert not call.has_message
    elif call.has_message:
        assert EVERY_MESSAGE[call.key] == derived_message(call)
    else:
        assert call.uses
    if call.kind is Class.ONE_WAY and call.uses and not call.has_message:
        assert EVERY_MESSAGE[call.uses[0]].kind is Class.ONE_WAY


@pytest.mark.parametrize("message", messages(), ids=lambda message: message.name)
def test_a_message_has_no_hole_and_fits_its_place(message):
    assert sum(field.bytes for field in struct_fields(message.request)) <= 256
    assert sum(field.bytes for field in struct_fields(message.reply)) <= 4080
    assert message.kind is not Class.LOCAL
    if message.kind is Class.ONE_WAY:
        assert not message.reply


def test_message_names_are_told_apart():
    assert len(EVERY_MESSAGE) == len(messages()) > len(MESSAGES)


@pytest.mark.parametrize(
    "declaration", ["uint32_t a, uint64_t b", "uint64_t a, uint32_t b", "char a[3], uint32_t b"]
)
def test_a_struct_that_the_compiler_would_pad_is_refused(declaration):
    with pytest.raises(ValueError, match=r"reorder|alignment"):
        struct_fields(declaration)


def test_a_declaration_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no declaration"):
        parameters("int")
