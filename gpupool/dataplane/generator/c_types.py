"""What the types of the API table are in C, and as what they travel. Standard library only."""

from dataclasses import dataclass

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
    Offset,
    Position,
    Stream,
    Structure,
    Text,
    Type,
    Untyped,
    Use,
)

# The numbers of C and what they travel as.
_WIRE_NUMBERS = {
    **dict.fromkeys(["size_t", "unsigned long long", "uint64_t"], "uint64_t"),
    **dict.fromkeys(["unsigned int", "unsigned char", "unsigned short", "uint32_t"], "uint32_t"),
    **dict.fromkeys(["int", "int32_t"], "int32_t"),
    "float": "float",
}
# Elements of the arrays in messages.
_ELEMENTS = {"char": "char", "uint8_t": "uint8_t", "int32_t": "int32_t", "uint32_t": "uint32_t"}
_SIZES = {"uint64_t": 8, "int64_t": 8, "uint32_t": 4, "int32_t": 4, "float": 4, "char": 1, "uint8_t": 1}


# What may be a field of a message, besides an array of numbers.
_TRAVELS = (Number, Flags, Enumeration, Handle, Stream, DeviceAddress, Position, Offset)


class UnknownTypeError(TypeError):
    """The table has a type that the generator has no C for."""

    def __init__(self, kind: object, place: str, known: tuple[type, ...]) -> None:
        names = ", ".join(sorted(one.__name__ for one in known))
        super().__init__(
            f"{place} has the type {kind!r}, which the generator does not know there; "
            f"allowed are {names}, with the numbers {', '.join(_WIRE_NUMBERS)}"
        )


@dataclass(frozen=True)
class Field:
    """A field of a message's struct; ``length`` is 0 unless it is an array."""

    name: str
    type: Type
    c_type: str
    length: int = 0

    @property
    def bytes(self) -> int:
        """Return its size."""
        return _SIZES[self.c_type] * (self.length or 1)

    def __str__(self) -> str:
        return declare(self.c_type, self.name) + (f"[{self.length}]" if self.length else "")


def declare(c_type: str, name: str) -> str:
    """Return ``c_type name`` as C writes it."""
    return f"{c_type}{'' if c_type.endswith('*') else ' '}{name}"


def c_type(kind: Type, place: str) -> str:
    """Return the type of a value; ``place`` is what an error names.

    Raises UnknownTypeError.
    """
    match kind:
        case Number() if kind.c in _WIRE_NUMBERS:
            return kind.c
        case Enumeration() | Flags() | Handle() | Stream() | DeviceAddress() | Structure() | Callback():
            return kind.c
        case HostMemory() | EntryPoint() | Untyped():
            return "void *"
        case Array():
            return c_type(kind.of, place) + " *"
        case _:
            raise UnknownTypeError(kind, place, Type.__args__)


def parameter_type(argument: Argument, place: str) -> str:
    """Return the C type by which an argument is passed; raises UnknownTypeError."""
    match argument.type:
        case Text(room):
            text = "char *" if room else "const char **"
            return text if argument.is_out else "const char *"
        case HostMemory(use=use):
            memory = "void **" if use is Use.NEW else "void *"
            return memory if argument.is_out else "const void *"
        case Structure(c, const=const):
            return f"const {c} *" if const and not argument.is_out else f"{c} *"
        case Array():
            return _pointer_to(c_type(argument.type.of, place))
        case kind:
            value = c_type(kind, place)
            return _pointer_to(value) if argument.is_out else value


def _pointer_to(c: str) -> str:
    return f"{c}*" if c.endswith("*") else f"{c} *"


def parameters(name: str, arguments: tuple[Argument, ...]) -> str:
    """Return the parameter list of the call ``name``; raises UnknownTypeError."""
    return ", ".join(
        declare(parameter_type(one, f"argument {one.name} of {name}"), one.name) for one in arguments
    )


def prototype(name: str, inside: str, *more: str) -> str:
    """Return ``CUresult name(inside, more)``."""
    return f"CUresult {name}({', '.join(filter(None, [inside, *more])) or 'void'})"


def wire_type(kind: Type, place: str) -> str:
    """Return the type that a value travels as; raises UnknownTypeError for what can't be a field."""
    match kind:
        case Number() | Flags() if kind.c in _WIRE_NUMBERS:
            return _WIRE_NUMBERS[kind.c]
        case Enumeration():
            return "int32_t"
        case Handle() | Stream() | DeviceAddress() | Position() | Offset():
            return "uint64_t"
        case _:
            raise UnknownTypeError(kind, place, _TRAVELS)


def field(argument: Argument, place: str) -> Field:
    """Return a message's field; raises UnknownTypeError."""
    where = f"field {argument.name} of {place}"
    match argument.type:
        case Array(Number(c), int(count)) if c in _ELEMENTS:
            return Field(argument.name, argument.type, _ELEMENTS[c], count)
        case kind:
            return Field(argument.name, kind, wire_type(kind, where))


def struct_fields(arguments: tuple[Argument, ...], place: str) -> list[Field]:
    """Return the fields of a message's struct; raises ValueError where the compiler would pad."""
    fields = [field(one, place) for one in arguments]
    offset = 0
    for one in fields:
        if offset % _SIZES[one.c_type]:
            raise ValueError(f"{one.name} of {place} at {offset} is not aligned; reorder the fields")
        offset += one.bytes
    if offset % max((_SIZES[one.c_type] for one in fields), default=1):
        raise ValueError(f"{place} ends at {offset}, inside its alignment")
    return fields
