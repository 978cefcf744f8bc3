"""Reads the C declarations of the API table. Standard library only."""

import re
from dataclasses import dataclass

from gpupool.dataplane.api.cuda.table import Call, Message

# The kinds of handle that a program holds, by their C type.
HANDLES = {
    "CUstream": "HANDLE_STREAM",
    "CUevent": "HANDLE_EVENT",
    "CUmodule": "HANDLE_MODULE",
    "CUfunction": "HANDLE_FUNCTION",
}
# What C types travel as; every other value type is an enum or int.
_WIRE = {
    **dict.fromkeys([*HANDLES, "CUdeviceptr", "size_t", "unsigned long long", "uint64_t"], "uint64_t"),
    **dict.fromkeys(["unsigned int", "unsigned char", "unsigned short", "uint32_t"], "uint32_t"),
    "float": "float",
}
_SIZES = {"uint64_t": 8, "int64_t": 8, "uint32_t": 4, "int32_t": 4, "float": 4, "char": 1, "uint8_t": 1}
_DECLARATION = re.compile(r"(?P<type>.*?[\s*])(?P<name>\w+)(?:\[(?P<length>\d+)\])?")


@dataclass(frozen=True)
class Variable:
    """One declared parameter or field; ``length`` is 0 unless it is an array."""

    c_type: str
    name: str
    length: int = 0

    @property
    def is_out(self) -> bool:
        """Whether it is ``TYPE *name``, which a generated call writes."""
        return self.c_type.endswith("*")

    @property
    def pointee(self) -> str:
        """Return what a written parameter points to."""
        return self.c_type.removesuffix("*").strip()

    @property
    def wire_type(self) -> str:
        """Return the type it travels as."""
        return _WIRE.get(self.pointee, "int32_t")

    @property
    def bytes(self) -> int:
        """Return the size of a field."""
        return _SIZES[self.c_type] * (self.length or 1)

    def __str__(self) -> str:
        space = "" if self.is_out else " "
        array = f"[{self.length}]" if self.length else ""
        return f"{self.c_type}{space}{self.name}{array}"


def parameters(signature: str) -> list[Variable]:
    """Split ``TYPE name, TYPE name``; raises ValueError for what is no declaration."""
    return [_variable(part.strip()) for part in signature.split(",") if part.strip()]


def _variable(text: str) -> Variable:
    match = _DECLARATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no declaration of the form TYPE name")
    return Variable(match["type"].strip(), match["name"], int(match["length"] or 0))


def prototype(name: str, signature: str, more: tuple[str, ...] = ()) -> str:
    """Return ``CUresult name(signature, more)``."""
    inside = ", ".join(filter(None, [signature, *more])) or "void"
    return f"CUresult {name}({inside})"


def struct_fields(declaration: str) -> list[Variable]:
    """Return the fields of a message's struct; raises ValueError where the compiler would pad."""
    fields = parameters(declaration)
    offset = 0
    for field in fields:
        if offset % _SIZES[field.c_type]:
            raise ValueError(f"{field.name} at {offset} is not aligned; reorder {declaration!r}")
        offset += field.bytes
    if offset % max((_SIZES[field.c_type] for field in fields), default=1):
        raise ValueError(f"{declaration!r} ends at {offset}, inside its alignment")
    return fields


def derived_message(call: Call) -> Message:
    """Return the message that a call's own parameters make."""
    variables = parameters(call.signature)
    request = _wire_struct([one for one in variables if not one.is_out])
    reply = _wire_struct([one for one in variables if one.is_out])
    return Message(call.key, call.kind, request, reply)


def _wire_struct(variables: list[Variable]) -> str:
    """Return a declaration of the variables, the widest first, padded to a multiple of 8 bytes."""
    fields = sorted((Variable(one.wire_type, one.name) for one in variables), key=lambda one: -one.bytes)
    if sum(field.bytes for field in fields) % 8:
        fields.append(Variable("uint32_t", "reserved"))
    return ", ".join(map(str, fields))
