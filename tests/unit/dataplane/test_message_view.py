"""What a relay sees of a message, in C, is what the API table says of it."""

import math
import random
import struct
import subprocess

import pytest

from gpupool.dataplane.api.bulk import Complete, Place
from gpupool.dataplane.api.entry import SYNCHRONOUS
from gpupool.dataplane.api.types import Handle, Stream, Use
from gpupool.dataplane.generator.c_types import struct_fields
from gpupool.dataplane.generator.write import messages

PLACES = (Place.DEVICE, Place.RECORD, Place.REPLY, Place.STAGING, Place.ARENA, Place.WORKER, Place.VALUE)
COMPLETE = (Complete.SERVED, Complete.STREAM)
KINDS = ("none", "context", "stream", "event", "module", "function")
CODES = {"uint64_t": "Q", "uint32_t": "I", "int32_t": "i", "float": "f", "uint8_t": "B", "char": "c"}


@pytest.fixture(scope="module")
def probe(compile_probe):
    return compile_probe("view_probe.c")


def filled(arguments, name, largest, pick):
    """Return the bytes of a struct with numbers up to ``largest``, and those of its plain fields."""
    content, values = b"", {}
    for field in struct_fields(arguments, name):
        if field.length:
            content += bytes(field.bytes)
            continue
        values[field.name] = pick.randrange(min(largest, 1 << 31))
        content += struct.pack("<" + CODES[field.c_type], values[field.name])
    return content, values


def size(arguments):
    """Return the bytes of a struct."""
    return sum(one.bytes for one in struct_fields(arguments, "a message"))


def handles(message):
    """Return what the probe says of a message's handles."""
    words, offset = [], 0
    for field in struct_fields(message.request, message.name):
        if isinstance(field.type, Handle | Stream):
            kind = "stream" if isinstance(field.type, Stream) else field.type.kind
            use = Use.USED if isinstance(field.type, Stream) else field.type.use
            words.append(f"{offset}.{KINDS.index(kind)}.{list(Use).index(use)}")
        offset += field.bytes
    return words


def moved(bulk, values):
    """Return what the probe says of how many bytes move."""
    if not bulk.length.terms:
        return "rest"
    if bulk.only_if and values[bulk.only_if[0]] != bulk.only_if[1]:
        return "0"
    length = sum(math.prod(map(values.get, one.factors)) * one.scale for one in bulk.length.terms)
    return str(length) if length < 1 << 64 else "overflow"


def expected(message, values):
    """Return the line that the probe says."""
    answered = int(message.kind is SYNCHRONOUS)
    words = [
        message.name,
        f"{size(message.request)} {size(message.reply)} {answered}",
        *handles(message),
    ]
    for bulk in message.bulk:
        ends = (bulk.source, bulk.target)
        places = [PLACES.index(end.place) for end in ends]
        at = [values[end.at] for end in ends if end.place in {Place.STAGING, Place.ARENA}]
        told = (*places, COMPLETE.index(bulk.complete), moved(bulk, values), *(at or [0]))
        words.append(":".join(map(str, told)))
    return " ".join(words)


@pytest.mark.parametrize("largest", [2, 1000, 1 << 31])
def test_a_relay_sees_sizes_handles_and_bytes_that_move(probe, largest):
    pick = random.Random(largest)
    asked, wanted = "", []
    for number, message in enumerate(messages(), 1):
        request, values = filled(message.request, message.name, largest, pick)
        reply, more = filled(message.reply, message.name, largest, pick)
        asked += f"{number} {request.hex() or '-'} {reply.hex() or '-'}\n"
        wanted.append(expected(message, values | more))
    done = subprocess.run([probe], input=asked, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == wanted
    assert any(":overflow" in line for line in wanted) == (largest == 1 << 31)
