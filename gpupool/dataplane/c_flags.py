"""The flags of all C: native/meson.build reads them, and so do tests that compile C by themselves.

``python gpupool/dataplane/c_flags.py GROUP`` prints the flags of a group, one a line. Standard library
only: the package build runs it.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NATIVE = Path(__file__).resolve().parent / "native"

CFLAGS = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O2",
    "-g",
    "-fPIC",
    "-pthread",
    "-fvisibility=hidden",
    "-fstack-protector-strong",
    # A frame larger than the guard page touches it instead of stepping over it.
    "-fstack-clash-protection",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wmissing-prototypes",
    "-Wstrict-prototypes",
    "-Werror",
)
# Bytes of one function's stack frame.
FRAME_LIMIT = 8192
# The runtime runs on the program's threads, whose stacks may be as small as PTHREAD_STACK_MIN, 16 KiB.
RUNTIME_FRAME_LIMIT = 1024

# The oldest glibc that a portable target loads with: that of manylinux2014 and Enterprise Linux 7.
OLDEST_GLIBC = "2.17"
# A portable target enters containers, and so must load with any C library that these have.
PORTABLE_CFLAGS = (
    "-include",
    str(NATIVE / "portable" / "libc.h"),
    # Some distributions' gcc sets it: memcpy and others then become calls of what musl does not have.
    "-U_FORTIFY_SOURCE",
)
# Of a program that enters containers; portable/start.c is among its sources, which has where it starts.
PORTABLE_PROGRAM = ("-pie", "-nostartfiles", "-Wl,--no-dynamic-linker", "-Wl,-z,relro,-z,now")


def frame_flag(limit: int) -> str:
    """Return the flag that refuses a stack frame of more than ``limit`` bytes."""
    return f"-Wframe-larger-than={limit}"


def compile_flags(sanitize: str = "", frame_limit: int = FRAME_LIMIT) -> list[str]:
    """Return what all C is compiled with. ``sanitize`` is what gcc's -fsanitize takes.

    A sanitizer's frames are larger than those of the program, so only a build without one limits them.
    """
    if sanitize:
        return [*CFLAGS, f"-fsanitize={sanitize}", "-fno-omit-frame-pointer"]
    return [*CFLAGS, frame_flag(frame_limit)]


def libraries_once_apart(compiler: Sequence[str] = ("gcc",)) -> list[str]:
    """Return the linker flags for the libraries in which glibc before 2.34 has threads and dlopen.

    Newer ones still have libraries of these names, with nothing in them. For an older glibc they must be
    named all the same; "-lpthread" is an empty archive then, so they are linked by file name.
    """
    asked = subprocess.run(
        [*compiler, "-E", "-P", "-x", "c", "-include", "features.h", "-"],
        input="__GLIBC__ __GLIBC_MINOR__",
        capture_output=True,
        text=True,
        check=True,
    )
    release = asked.stdout.split()[-2:]
    merged = all(map(str.isdigit, release)) and tuple(map(int, release)) >= (2, 34)
    names = ["-l:libpthread.so.0", "-l:libdl.so.2"] if merged else ["-lpthread", "-ldl"]
    return ["-Wl,--no-as-needed", *names, "-Wl,--as-needed"]


GROUPS: dict[str, Sequence[str]] = {
    "all": CFLAGS,
    "frame": [frame_flag(FRAME_LIMIT)],
    "runtime-frame": [frame_flag(RUNTIME_FRAME_LIMIT)],
    "portable": PORTABLE_CFLAGS,
    "portable-program": PORTABLE_PROGRAM,
    "portable-limits": ["--glibc", OLDEST_GLIBC, "--musl"],
}


def main() -> None:
    """Print a group; of ``libraries-once-apart``, the compiler's command follows."""
    group, *compiler = sys.argv[1:]
    print("\n".join(libraries_once_apart(compiler) if compiler else GROUPS[group]))


if __name__ == "__main__":
    main()
