"""Makes valid arguments of driver calls by the API table, and tells what a call wrote into them."""

import ctypes
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpupool.dataplane.api.entry import Call
from gpupool.dataplane.api.length import Length
from gpupool.dataplane.api.types import (
    Argument,
    Array,
    Callback,
    DeviceAddress,
    EntryPoint,
    Enumeration,
    Flags,
    Handle,
    HostMemory,
    Number,
    Pinned,
    Stream,
    Structure,
    Text,
    Type,
    Untyped,
    Use,
)

PAGE = 4096
NUMBERS: dict[str, Any] = {
    "int": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "unsigned char": ctypes.c_ubyte,
    "unsigned short": ctypes.c_ushort,
    "size_t": ctypes.c_size_t,
    "unsigned long long": ctypes.c_ulonglong,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
}
Values = dict[str, int]


def value_type(kind: Type) -> Any:
    """Return the ctypes type of a value."""
    match kind:
        case Number(c):
            return NUMBERS[c]
        case Enumeration() | Flags():
            return ctypes.c_uint64 if kind.c == "uint64_t" else ctypes.c_int
        case Handle("device"):
            return ctypes.c_int
        case Structure():
            return structure(kind)
        case Array(of, int(count)):
            return value_type(of) * count
        case _:
            return ctypes.c_void_p


def structure(kind: Structure) -> Any:
    """Return the ctypes class of a structure."""
    members = [(one.name, value_type(one.type)) for one in kind.members]
    return type(kind.c, (ctypes.Structure,), {"_fields_": members})


@dataclass
class World:
    """What the program has: handles by their C type, memory with its bytes.

    ``names`` tell them apart in a trace; ``kept`` is what calls may still read.
    """

    pick: random.Random
    image: bytes
    handles: dict[str, list[int]] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)
    pinned: dict[int, int] = field(default_factory=dict)
    registered: dict[int, Any] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    kept: list[Any] = field(default_factory=list)

    def name(self, value: int, kind: str) -> None:
        """Give a new handle or address the next name of its kind."""
        self.counts[kind] += 1
        self.names[value] = f"{kind} {self.counts[kind]}"

    def tell(self, value: int | None) -> Any:
        """Return the name of a handle, or of the memory that an address lies in, or the number."""
        if value in self.names and value not in self.memory:
            return self.names[value]
        for start, size in {**self.memory, **self.pinned}.items():
            if value is not None and start <= value < start + size:
                return f"{self.names[start]} + {value - start}"
        return value


@dataclass
class Prepared:
    """One argument: what is passed, and how to note what came back."""

    value: Any
    done: Callable[[Values], Any] = lambda _: None


def evaluate(length: Length, values: Values) -> int:
    """Return the bytes that a length comes to."""
    return sum(math.prod(values[name] for name in one.factors) * one.scale for one in length.terms)


class NothingLeftError(Exception):
    """A call would end what others need."""


class Maker:
    """Makes the arguments of one call; ``fitted`` are values that the types do not say."""

    def __init__(self, world: World, call: Call, fitted: dict[str, Any]) -> None:
        self.world, self.call, self.fitted = world, call, fitted
        self.values: Values = {}
        for one in call.arguments:
            if not one.is_out and isinstance(one.type, Number | Enumeration | Flags):
                self.values[one.name] = fitted.get(one.name, self._number(one.type))
        for one in call.arguments:
            # Such arrays are not given at all.
            if isinstance(one.type, Array) and one.optional and isinstance(one.type.count, str):
                self.values[one.type.count] = 0

    def _number(self, kind: Number | Enumeration | Flags) -> int:
        pick = self.world.pick
        if isinstance(kind, Flags):
            bits = pick.getrandbits(32) & kind.known
            chosen = bits & kind.exclusive
            # Of those at most the lowest.
            return bits & ~kind.exclusive | (chosen & -chosen)
        return pick.choice(kind.valid) if kind.valid else pick.randrange(1, 65)

    def make(self, one: Argument) -> Prepared:
        """Return an argument."""
        if one.name in self.fitted and not isinstance(one.type, Number | Enumeration | Flags):
            return Prepared(self.fitted[one.name])
        if one.optional and self.world.pick.random() < 0.2 and not isinstance(one.type, DeviceAddress):
            return Prepared(None)
        return self._out(one) if one.is_out else Prepared(self._in(one))

    def _in(self, one: Argument) -> Any:
        match one.type:
            case Number() | Enumeration() | Flags():
                return value_type(one.type)(self.values[one.name])
            case Handle(kind, c, use):
                return self._handle(c, use)
            case Stream():
                return ctypes.c_void_p(self.world.pick.choice([None, *self.world.handles["CUstream"]]))
            case DeviceAddress():
                return self._address(one.type)
            case HostMemory(length):
                content = (
                    self.world.pick.randbytes(evaluate(length, self.values))
                    if length
                    else self.world.image
                )
                return ctypes.create_string_buffer(content, len(content) + 1)
            case Array() if one.optional:
                return None
            case Array(of, count):
                number = self.values[str(count)]
                chosen = [self.world.pick.choice(of.valid) for _ in range(number)]  # type: ignore[union-attr]
                return (value_type(of) * number)(*chosen)
            case Callback() | Structure() if one.optional:
                return None
            case kind:
                raise TypeError(f"{self.call.key}: {one.name} is {kind}")

    def _handle(self, c: str, use: Use) -> Any:
        if c in {"CUdevice", "int"}:
            return 0
        handles = self.world.handles[c]
        return ctypes.c_void_p(
            handles.pop() if use is Use.DESTROYED and len(handles) > 1 else handles[0]
        )

    def _address(self, kind: DeviceAddress) -> Any:
        memory = self.world.memory
        if kind.use is Use.DESTROYED:
            return ctypes.c_uint64(memory.popitem()[0] if len(memory) > 2 else 0)
        places = [*memory, *(self.world.pinned if kind.host else [])]
        start = self.world.pick.choice(places)
        return ctypes.c_uint64(start + self.world.pick.choice([0, 0, 64, 256]))

    def _out(self, one: Argument) -> Prepared:
        match one.type:
            case HostMemory():
                return self._host(one.type)
            case Text(room) if room:
                buffer = ctypes.create_string_buffer(self.values[room])
                return Prepared(buffer, lambda _: buffer.value.decode())
            case Text():
                text = ctypes.c_char_p()
                return Prepared(ctypes.byref(text), lambda _: text.value and text.value.decode())
            case Array(HostMemory(), count):
                return self._pointers(self.values[str(count)])
            case EntryPoint() | Untyped():
                pointer = ctypes.c_void_p()
                return Prepared(ctypes.byref(pointer), lambda _: bool(pointer.value))
            case Handle(_, c, Use.NEW):
                return self._new_handle(c)
            case DeviceAddress(length=Length() as length, use=Use.NEW):
                return self._new_memory(length)
            case kind:
                place = value_type(kind)()
                return Prepared(ctypes.byref(place), lambda values: self._told(one, place, values))

    def _told(self, one: Argument, place: Any, values: Values) -> Any:
        if isinstance(one.type, Structure):
            return None
        values[one.name] = place.value
        told = self.world.tell(place.value)
        if isinstance(one.type, DeviceAddress) and isinstance(told, int):
            # Of what the program did not allocate.
            self.world.name(place.value, "global")
            return self.world.names[place.value]
        return told

    def _new_handle(self, c: str) -> Prepared:
        place = ctypes.c_void_p()

        def done(_: Values) -> str:
            assert place.value
            self.world.handles.setdefault(c, []).append(place.value)
            self.world.name(place.value, c)
            return self.world.names[place.value]

        return Prepared(ctypes.byref(place), done)

    def _new_memory(self, length: Length) -> Prepared:
        place = ctypes.c_uint64()

        def done(values: Values) -> str:
            # What else came back, such as a pitch, is known by then.
            self.world.memory[place.value] = evaluate(length, values)
            self.world.name(place.value, "memory")
            return self.world.names[place.value]

        return Prepared(ctypes.byref(place), done)

    def _pointers(self, count: int) -> Prepared:
        places = [ctypes.create_string_buffer(16) for _ in range(count)]
        array = (ctypes.c_void_p * count)(*map(ctypes.addressof, places))
        self.world.kept.append(places)
        return Prepared(array, lambda _: [self._eight(one.raw) for one in places])

    def _eight(self, content: bytes) -> Any:
        return self.world.tell(int.from_bytes(content[:8], "little"))

    def _host(self, kind: HostMemory) -> Prepared:
        world = self.world
        if kind.use is Use.NEW:
            return self._new_pinned(kind)
        if kind.use is Use.DESTROYED:
            blocks: dict[int, Any] = world.pinned if kind.pinned is Pinned.YES else world.registered
            if len(blocks) == 1:
                raise NothingLeftError
            return Prepared(ctypes.c_void_p(blocks.popitem()[0]))
        if kind.pinned is Pinned.YES:
            return Prepared(ctypes.c_void_p(world.pick.choice([*world.pinned])))
        if kind.pinned is Pinned.NO:
            return self._to_register(kind)
        if kind.length and set(kind.length.names) <= self.values.keys() & {"ByteCount"}:
            buffer = ctypes.create_string_buffer(evaluate(kind.length, self.values))
            return Prepared(buffer, lambda _: buffer.raw.hex())
        small = ctypes.create_string_buffer(16)
        return Prepared(small, lambda _: self._eight(small.raw))

    def _new_pinned(self, kind: HostMemory) -> Prepared:
        place = ctypes.c_void_p()

        def done(values: Values) -> str:
            assert place.value
            assert kind.length
            self.world.pinned[place.value] = evaluate(kind.length, values)
            self.world.name(place.value, "pinned")
            ctypes.memset(place.value, 0, self.world.pinned[place.value])
            return self.world.names[place.value]

        return Prepared(ctypes.byref(place), done)

    def _to_register(self, kind: HostMemory) -> Prepared:
        assert kind.length
        buffer = ctypes.create_string_buffer(evaluate(kind.length, self.values))
        address = ctypes.addressof(buffer)

        def done(_: Values) -> None:
            self.world.registered[address] = buffer

        return Prepared(buffer, done)


def moves(call: Call) -> bool:
    """Whether a call moves bytes, whose arrival is to be waited for."""
    return bool(call.bulk)
