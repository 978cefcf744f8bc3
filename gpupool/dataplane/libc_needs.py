"""What a linked file needs of the C library it meets, read from the file.

``python gpupool/dataplane/libc_needs.py FILE [--glibc 2.17] [--musl]`` prints what FILE needs; it fails,
and names the symbols, when that is more than this glibc has, or than musl has.

Standard library only: the package build runs it.
"""

import argparse
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DYNAMIC, _DYNSYM, _VERNEED, _VERSYM = 6, 11, 0x6FFFFFFE, 0x6FFFFFFF
_DT_NEEDED = 1
_WEAK = 2
# musl is one library, which stands for all that a program may name by glibc's names of these.
_IN_MUSL = re.compile(r"lib(c|pthread|rt|m|dl|util)\.")
# What gcc's own code calls and musl has; other names that start so are glibc's own.
_UNDERSCORED_IN_MUSL = frozenset(
    {"__errno_location", "__stack_chk_fail", "__tls_get_addr", "__libc_start_main"}
)
# Elsewhere gcc's stack protector has glibc's dynamic linker named, whose name musl does not answer to.
_MUSL_MACHINE = 62  # x86-64


@dataclass(frozen=True)
class Symbol:
    """A symbol that another library must have; a weak one may be missing."""

    name: str
    version: str
    weak: bool


@dataclass(frozen=True)
class Needs:
    """The libraries that a file names, the versions it asks them for, the symbols it takes from them.

    ``machine`` is the processor's number in ELF.
    """

    machine: int
    libraries: tuple[str, ...]
    versions: tuple[str, ...]
    symbols: tuple[Symbol, ...]

    @property
    def newest(self) -> str | None:
        """The newest version of glibc's that it asks for."""
        own = [version for version in self.versions if version.startswith("GLIBC_")]
        return max(own, key=_release, default=None)

    def beyond_glibc(self, limit: str) -> list[str]:
        """Return a line for each version that glibc ``limit``, such as "2.17", does not have."""
        allowed = _release(f"GLIBC_{limit}")
        newer = [one for one in self.versions if one.startswith("GLIBC_") and _release(one) > allowed]
        return [f"{version} for {', '.join(self.users(version))}" for version in newer]

    def users(self, version: str) -> list[str]:
        """Return the symbols of a version; one without symbols is of how the file was linked."""
        return [one.name for one in self.symbols if one.version == version] or ["its relocations"]

    def beyond_musl(self) -> list[str]:
        """Return a line for each library and symbol that musl does not have, as far as names tell.

        None on processors for which musl is not asked for.
        """
        if self.machine != _MUSL_MACHINE:
            return []
        libraries = [name for name in self.libraries if not _IN_MUSL.match(name)]
        own = [one.name for one in self.symbols if one.name.startswith("__") and not one.weak]
        symbols = [name for name in own if name not in _UNDERSCORED_IN_MUSL]
        return [f"musl does not have {name}" for name in [*libraries, *symbols]]


class NotElfError(ValueError):
    """The file is no 64-bit little-endian ELF file."""


@dataclass(frozen=True)
class _Section:
    kind: int
    content: bytes
    link: int
    entries: int


class _Elf:
    """A linked file's sections."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        if data[:6] != b"\x7fELF\x02\x01":
            raise NotElfError(f"{path} is no 64-bit little-endian ELF file")
        (self.machine,) = struct.unpack_from("<H", data, 18)
        (start,) = struct.unpack_from("<Q", data, 40)
        size, count = struct.unpack_from("<HH", data, 58)
        heads = [struct.unpack_from("<IIQQQQIIQQ", data, start + size * at) for at in range(count)]
        self._sections = [
            _Section(kind, data[offset : offset + length], link, info)
            for _, kind, _, _, offset, length, link, info, _, _ in heads
        ]

    def get(self, kind: int) -> _Section:
        """Return the section of a kind of which a file has one, or none: then one that is empty."""
        return next((one for one in self._sections if one.kind == kind), _Section(kind, b"", 0, 0))

    def text(self, section: _Section, at: int) -> str:
        """Return a string of the table that a section names."""
        table = self._sections[section.link].content
        return table[at : table.index(b"\0", at)].decode()


def read(path: Path) -> Needs:
    """Read a linked file. Raises NotElfError, OSError."""
    elf = _Elf(path)
    versions = dict(_versions(elf))
    symbols = tuple(_symbols(elf, versions))
    return Needs(elf.machine, tuple(_libraries(elf)), tuple(versions.values()), symbols)


def _libraries(elf: _Elf) -> Iterator[str]:
    dynamic = elf.get(_DYNAMIC)
    for tag, value in struct.iter_unpack("<qQ", dynamic.content):
        if tag == _DT_NEEDED:
            yield elf.text(dynamic, value)


def _versions(elf: _Elf) -> Iterator[tuple[int, str]]:
    """Yield each version that another library is asked for, with the number that symbols name it by."""
    needed = elf.get(_VERNEED)
    library = 0
    for _ in range(needed.entries):
        _, count, _, first, next_library = struct.unpack_from("<HHIII", needed.content, library)
        version = library + first
        for _ in range(count):
            _, _, number, name, next_version = struct.unpack_from("<IHHII", needed.content, version)
            yield number, elf.text(needed, name)
            version += next_version
        library += next_library


def _symbols(elf: _Elf, versions: dict[int, str]) -> Iterator[Symbol]:
    """Yield the symbols that the file does not define."""
    table, numbers = elf.get(_DYNSYM), elf.get(_VERSYM).content
    for at, (name, info, _, section, _, _) in enumerate(struct.iter_unpack("<IBBHQQ", table.content)):
        if name and section == 0:
            number = struct.unpack_from("<H", numbers, 2 * at)[0] if numbers else 0
            yield Symbol(elf.text(table, name), versions.get(number & 0x7FFF, ""), info >> 4 == _WEAK)


def _release(version: str) -> tuple[int, ...]:
    """Return (2, 17) for "GLIBC_2.17"; of a version without a number no old release has any."""
    match = re.fullmatch(r"GLIBC_(\d+(?:\.\d+)*)", version)
    return tuple(map(int, match[1].split("."))) if match else (sys.maxsize,)


def _glibc(text: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)+", text):
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a version such as 2.17")
    return text


def main() -> None:
    """Print what a file needs; exit with the reasons when that is too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--name", help="what to call the file")
    parser.add_argument("--glibc", type=_glibc, help="the oldest glibc that must do, such as 2.17")
    parser.add_argument("--musl", action="store_true", help="musl must do, too, on x86-64")
    options = parser.parse_args()
    name = options.name or options.file
    needs = read(options.file)
    reasons = needs.beyond_glibc(options.glibc) if options.glibc else []
    if options.musl:
        reasons += needs.beyond_musl()
    if reasons:
        wanted = [f"glibc {options.glibc}"] * bool(options.glibc) + ["musl"] * options.musl
        sys.exit(
            "\n  ".join([f"{name} needs more than there is in {' and '.join(wanted)}:", *reasons])
            + "\nCall what there is. Where glibc has an older version of a function, name it in "
            "native/portable/libc.h."
        )
    newest = needs.newest
    print(f"{name} needs {newest} ({needs.users(newest)[0]})" if newest else f"{name} needs no glibc")


if __name__ == "__main__":
    main()
