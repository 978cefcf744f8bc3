"""Records that a runtime might write: one for any message, made of the API table.

What a field's type does not say, how the fields of one message fit together, is in ``FITTED``.
"""

import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpupool.dataplane.api.bulk import Place
from gpupool.dataplane.api.entry import Message
from gpupool.dataplane.api.length import Length
from gpupool.dataplane.api.types import (
    Argument,
    DeviceAddress,
    Enumeration,
    Flags,
    Handle,
    Number,
    Offset,
    Position,
    Stream,
    Use,
)
from gpupool.dataplane.generator.c_types import Field, struct_fields

PAGE = 4096
CODES = {"uint64_t": "Q", "uint32_t": "I", "int32_t": "i", "float": "f", "uint8_t": "B", "char": "s"}
# Bytes that most things are of.
SIZES = range(1, 257)
Values = dict[str, Any]


def layout(arguments: tuple[Argument, ...]) -> struct.Struct:
    """Return the struct of a message's request or reply."""
    return struct.Struct("<" + "".join(map(_code, struct_fields(arguments, "a message"))))


def _code(one: Field) -> str:
    return f"{one.length or 1}{CODES[one.c_type]}"


@dataclass
class World:
    """What a session has: live handles by kind, device memory with its bytes, the place of its arena.

    ``image`` is that of a module with the kernel ``nothing``, of one number, and the global ``counter``.
    """

    image: bytes
    staging_bytes: int
    heap_at: int
    pick: random.Random
    handles: dict[str, list[int]] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)
    staged: int = 0
    made: int = 0

    def new_handle(self, kind: str) -> int:
        """Return a number that no handle has had."""
        self.made += 1
        self.handles.setdefault(kind, []).append((1 << 24) | self.made)
        return self.handles[kind][-1]

    def learn(self, message: Message, values: Values, reply: bytes) -> None:
        """Note the memory that an answer tells of."""
        if not message.reply:
            return
        told = layout(message.reply).unpack_from(reply)
        if not any(one.length for one in struct_fields(message.reply, message.name)):
            values = values | dict(zip((one.name for one in message.reply), told, strict=True))
        for one in message.reply:
            if isinstance(one.type, DeviceAddress) and one.type.length and one.type.use is Use.NEW:
                self.memory[values[one.name]] = evaluate(one.type.length, values)


def evaluate(length: Length, values: Values) -> int:
    """Return the bytes that a length comes to."""
    return sum(math.prod(values[name] for name in one.factors) * one.scale for one in length.terms)


@dataclass(frozen=True)
class Made:
    """A valid record: the fields of its request, what follows it, and what lies in staging for it."""

    values: Values
    content: bytes
    staging: tuple[int, bytes] | None


def make(message: Message, world: World) -> Made:
    """Return a valid record of a message; it takes off the world what it destroys."""
    values = {one.name: _value(one, world) for one in message.request}
    values |= FITTED.get(message.name, lambda *_: {})(world, values)
    staging = None
    for bulk in message.bulk:
        if bulk.source.place is Place.STAGING:
            content = world.image if message.name == "image_part" else bytes(values["bytes"])
            values["position"], staging = _stage(world, content)
    packed: list[Any] = []
    for one in struct_fields(message.request, message.name):
        packed += values[one.name] if one.length else [values[one.name]]
    content = layout(message.request).pack(*packed) + _payload(message, world, values)
    return Made(values, content, staging)


def _stage(world: World, content: bytes) -> tuple[int, tuple[int, bytes]]:
    """Return a position in staging for bytes that do not wrap, and where in the arena they go."""
    if world.staged % world.staging_bytes + len(content) > world.staging_bytes:
        world.staged += -world.staged % world.staging_bytes
    at, world.staged = world.staged, world.staged + (len(content) + 63) // 64 * 64
    return at, (at % world.staging_bytes, content)


def _value(one: Argument, world: World) -> Any:
    match one.type:
        case Handle("context"):
            return (1 << 24) | 0xFFFF
        case Handle(kind, _, Use.NEW):
            return world.new_handle(kind)
        case Handle(kind, _, use):
            # The last made: what a session needs longest is the first.
            return world.handles[kind].pop() if use is Use.DESTROYED else world.handles[kind][0]
        case Stream():
            return world.pick.choice([0, *world.handles.get("stream", [])])
        case DeviceAddress(use=Use.DESTROYED) if len(world.memory) > 1:
            return world.memory.popitem()[0]
        case DeviceAddress():
            return world.pick.choice([*world.memory])
        case Number(valid=valid) | Enumeration(valid=valid) if valid:
            return world.pick.choice(valid)
        case Flags():
            return world.pick.getrandbits(32) & one.type.known
        case Position() | Offset():
            return 0
        case _:
            return world.pick.choice(SIZES)


def _payload(message: Message, world: World, values: Values) -> bytes:
    if message.name in PAYLOADS:
        return PAYLOADS[message.name](world)
    lengths = [one.length for one in message.bulk if one.source.place is Place.RECORD]
    return world.pick.randbytes(sum(evaluate(length, values) for length in lengths))


def _set(world: World, values: Values) -> Values:
    """Rows that do not overlap."""
    return {"width": world.pick.randrange(1, 17), "height": world.pick.randrange(1, 9), "pitch": 64}


def _launch(world: World, values: Values) -> Values:
    return {
        "function": world.handles["function"][0],
        "grid": [1, 1, 1],
        "block": [1, 1, 1],
        **dict.fromkeys(["attribute_count", "shared_bytes", "cooperative"], 0),
        "parameter_bytes": 4,
    }


def _pinned(world: World, values: Values) -> Values:
    return {"offset": world.heap_at, "bytes": PAGE}


FITTED: dict[str, Callable[[World, Values], Values]] = {
    # Room for what others copy and set.
    "memory_allocate": lambda world, _: {"bytes": PAGE * world.pick.randrange(1, 17)},
    "memory_allocate_pitch": lambda world, _: {"height": world.pick.randrange(16, 65)},
    "memory_set": _set,
    "image_part": lambda world, _: {"bytes": len(world.image)},
    "module_load": lambda world, _: {"bytes": len(world.image), "option_count": 0},
    "launch": _launch,
    "copy_arena": lambda world, _: {"offset": world.heap_at},
    "host_register": _pinned,
    "host_unregister": lambda world, _: {"offset": world.heap_at},
    # Of others no time is kept.
    "event_create": lambda world, _: {"flags": world.pick.randrange(2)},
    "cuFuncSetAttribute": lambda *_: {"attrib": 8, "value": 4096},
    "cuCtxSetLimit": lambda *_: {"limit": 0, "value": 1024},
}
PAYLOADS: dict[str, Callable[[World], bytes]] = {
    "module_function": lambda _: b"nothing",
    "module_global": lambda _: b"counter",
    "launch": lambda world: world.pick.randbytes(4),
}


def preparations(message: Message) -> list[str]:
    """Return the messages that make what this one destroys, or takes."""
    made = [
        CREATORS[one.type.kind] for one in message.request if _ends(one) and isinstance(one.type, Handle)
    ]
    if any(_ends(one) and isinstance(one.type, DeviceAddress) for one in message.request):
        made.append("memory_allocate")
    return ["image_part"] if message.name == "module_load" else made


def _ends(one: Argument) -> bool:
    return isinstance(one.type, Handle | DeviceAddress) and one.type.use is Use.DESTROYED


CREATORS = {"stream": "stream_create", "event": "event_create", "module": "module_load"}
# What a session needs before any message makes sense.
START = (
    *("module_load", "module_function", "memory_allocate", "memory_allocate_pitch"),
    *("stream_create", "event_create", "cuEventRecord"),
)
