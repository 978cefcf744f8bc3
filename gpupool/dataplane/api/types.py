"""The types of arguments, of structures' members and of messages' fields.

Standard library only, as all of the table. ``c`` is the type's name in the C of the interface. What an
argument looks like in C, and what travels for it, follows from its type and direction: see
``generator.c_types``.
"""

from dataclasses import dataclass, replace
from enum import Enum

from gpupool.dataplane.api.length import Length


class Use(Enum):
    """What a call does with what a handle, or an address, stands for."""

    NEW = "new"  # it comes to be
    USED = "used"
    DESTROYED = "destroyed"


class Access(Enum):
    """What a call does with the bytes at an address."""

    NONE = "none"
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class Number:
    """A number; ``valid`` are the values that mean something, None: all."""

    c: str
    valid: range | tuple[int, ...] | None = None


@dataclass(frozen=True)
class Enumeration:
    """A value of a C enum; ``valid`` are those that mean something."""

    c: str
    valid: range


@dataclass(frozen=True)
class Flags:
    """A set of bits, of which ``known`` may be set; 0: it is reserved.

    Those in ``refused`` exist too, and are not supported. Of ``exclusive`` at most one may be set.
    """

    known: int
    refused: int = 0
    exclusive: int = 0
    c: str = "unsigned int"


@dataclass(frozen=True)
class Text:
    """Characters up to a zero.

    In: the caller's. Out: the library's own, or, with ``room``, the caller's place; ``room`` names the
    argument that says how many bytes it has. ``whole``: text that does not fit is refused, not cut.
    """

    room: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Handle:
    """A handle of a kind, such as ``module``; several C types may be of one kind."""

    kind: str
    c: str
    use: Use = Use.USED


@dataclass(frozen=True)
class Stream:
    """The stream that work is put on; null is the default one, of the thread in a call's twin."""

    c: str = "CUstream"


@dataclass(frozen=True)
class DeviceAddress:
    """An address of device memory, whose ``length`` bytes are read or written.

    With ``host`` it may be one of host memory too. None: the call only looks where it lies.
    """

    access: Access = Access.NONE
    length: Length | None = None
    use: Use = Use.USED
    host: bool = False
    c: str = "CUdeviceptr"


class Pinned(Enum):
    """Which host memory a call takes."""

    NO = "pageable"
    YES = "pinned"
    ANY = "pageable or pinned"


@dataclass(frozen=True)
class HostMemory:
    """Host memory of the program; the argument's direction says which way its bytes go.

    ``length`` None: the bytes themselves say how many they are, as those of a module's image, or what is
    asked for does. With ``use`` NEW the library makes it.
    """

    length: Length | None = None
    pinned: Pinned = Pinned.ANY
    use: Use = Use.USED


@dataclass(frozen=True)
class Array:
    """Elements of one type, as many as the argument ``count`` says, or a number of them.

    Where ``count`` names a function, as many as that has parameters. "" with ``end``: up to that value.
    """

    of: "Type"
    count: str | int = ""
    end: str = ""


@dataclass(frozen=True)
class Structure:
    """A C struct, passed by pointer; its members are arguments in its memory."""

    c: str
    members: tuple["Argument", ...]
    const: bool = True


@dataclass(frozen=True)
class Callback:
    """A function of the program, which the library calls."""

    c: str


@dataclass(frozen=True)
class EntryPoint:
    """A function of the library, which the program calls."""


@dataclass(frozen=True)
class Untyped:
    """A pointer that the library passes on, or whose meaning an option says."""


@dataclass(frozen=True)
class Position:
    """In messages: a place in the staging ring, counted in bytes ever sent through it."""


@dataclass(frozen=True)
class Offset:
    """In messages: a place in the arena, counted from its start."""


Type = (
    Number
    | Enumeration
    | Flags
    | Text
    | Handle
    | Stream
    | DeviceAddress
    | HostMemory
    | Array
    | Structure
    | Callback
    | EntryPoint
    | Untyped
    | Position
    | Offset
)


class Direction(Enum):
    """Which way an argument's value, or what it points to, goes."""

    IN = "in"
    OUT = "out"
    INOUT = "inout"


@dataclass(frozen=True)
class Argument:
    """One argument, member or field. ``optional``: null is allowed."""

    name: str
    direction: Direction
    type: Type
    optional: bool = False

    @property
    def is_out(self) -> bool:
        """Whether the call writes it."""
        return self.direction is not Direction.IN


def in_(name: str, kind: Type, **more: bool) -> Argument:
    """Return an argument that the call reads."""
    return Argument(name, Direction.IN, kind, **more)


def out(name: str, kind: Type, **more: bool) -> Argument:
    """Return an argument that the call writes."""
    return Argument(name, Direction.OUT, kind, **more)


def inout(name: str, kind: Type, **more: bool) -> Argument:
    """Return an argument that the call reads and writes."""
    return Argument(name, Direction.INOUT, kind, **more)


def new(handle: Handle) -> Handle:
    """Return the type of a handle that comes to be."""
    return replace(handle, use=Use.NEW)


def destroyed(handle: Handle) -> Handle:
    """Return the type of a handle that ends."""
    return replace(handle, use=Use.DESTROYED)
