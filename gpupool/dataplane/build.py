"""Builds the C of native/ with nothing but gcc. Standard library only: the package build runs it.

``python -m gpupool.dataplane.build [--sanitize address,undefined] [--output DIR] [--only TARGET]``

The environment's CC names another compiler, with its arguments: ``CC="aarch64-linux-gnu-gcc"``,
``CC="python -m ziglang cc -target aarch64-linux-gnu.2.17"`` (for runtime/libcuda.so.1 alone).
"""

import argparse
import fcntl
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
NATIVE = HERE / "native"
OUTPUT = HERE / "lib"

_CFLAGS = (
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


@dataclass(frozen=True)
class Target:
    """One thing to link: its path under the output folder, its source folders, its linker flags.

    ``frame_limit`` is how many bytes of stack one of its functions may take at most.
    """

    path: str
    folders: tuple[str, ...]
    flags: tuple[str, ...]
    frame_limit: int = FRAME_LIMIT
    # Whether it enters containers, and so must load with any C library that these have.
    portable: bool = False


# The oldest glibc that a portable target loads with: that of manylinux2014 and Enterprise Linux 7.
OLDEST_GLIBC = "2.17"
PORTABLE_CFLAGS = (
    "-include",
    str(NATIVE / "portable" / "libc.h"),
    # Some distributions' gcc sets it: memcpy and others then become calls of what musl does not have.
    "-U_FORTIFY_SOURCE",
)

# Threads and thread-local destructors run code of the libraries, so dlclose must not unmap them.
_SHARED = ("-shared", "-Wl,-soname,libcuda.so.1", "-Wl,-z,relro,-z,now,-z,nodelete", "-ldl", "-lm")
# Of a program that enters containers; "portable" is among its folders, which has where it starts.
PORTABLE_PROGRAM = ("-pie", "-nostartfiles", "-Wl,--no-dynamic-linker", "-Wl,-z,relro,-z,now")
RUNTIME_FOLDERS = ("runtime", "runtime/cuda", "attachment", "attachment/cuda", "wire", "wire/cuda")
TARGETS = (
    Target("refcuda/libcuda.so.1", ("refcuda",), _SHARED),
    Target(
        "runtime/libcuda.so.1",
        RUNTIME_FOLDERS,
        _SHARED,
        RUNTIME_FRAME_LIMIT,
        portable=True,
    ),
    Target(
        "gpupool-doctor",
        ("doctor", "attachment", "attachment/cuda", "portable"),
        PORTABLE_PROGRAM,
        portable=True,
    ),
    Target(
        "gpupool-worker",
        ("worker", "worker/cuda", "wire", "wire/cuda"),
        ("-pie", "-Wl,-z,relro,-z,now", "-ldl"),
    ),
)


def compile_flags(sanitize: str = "", frame_limit: int = FRAME_LIMIT) -> list[str]:
    """Return what all C is compiled with. ``sanitize`` is what gcc's -fsanitize takes.

    A sanitizer's frames are larger than those of the program, so only a build without one limits them.
    """
    if sanitize:
        return [*_CFLAGS, f"-fsanitize={sanitize}", "-fno-omit-frame-pointer"]
    return [*_CFLAGS, f"-Wframe-larger-than={frame_limit}"]


def build(output: Path = OUTPUT, sanitize: str = "", targets: Sequence[Target] = TARGETS) -> None:
    """Generate what the API table yields and build every target under ``output``.

    ``sanitize`` is what gcc's -fsanitize takes. Raises CalledProcessError when gcc refuses, and when a
    portable target needs more than the oldest glibc, or musl, has. With a sanitizer that is not checked.
    """
    instrumented = [f"-fsanitize={sanitize}"] if sanitize else []
    with TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        work = Path(folder)
        # As a program, so that building imports nothing of the package.
        _run([sys.executable, str(HERE / "generator" / "write.py"), folder])
        for target in targets:
            flags = compile_flags(sanitize, target.frame_limit)
            if target.portable:
                flags += PORTABLE_CFLAGS
            objects = list(pool.map(partial(_compile, work, flags), sources(target)))
            check = None if sanitize else partial(_check_needs, target)
            libraries = libraries_once_apart() if target.portable else []
            _link(objects, output / target.path, [*instrumented, *libraries, *target.flags], check)


def ensure(output: Path = OUTPUT) -> Path:
    """Build into ``output`` unless it is newer than every source; one builder at a time."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_stale(output):
            build(output)
    return output


def _is_stale(output: Path) -> bool:
    made = [output / target.path for target in TARGETS]
    if not all(path.exists() for path in made):
        return True
    sources = [*NATIVE.rglob("*.[ch]"), *HERE.rglob("*.py")]
    return max(path.stat().st_mtime for path in sources) > min(path.stat().st_mtime for path in made)


def sources(target: Target) -> list[Path]:
    """Return the C files that a target is made of."""
    return [source for name in target.folders for source in sorted((NATIVE / name).glob("*.c"))]


def _compile(work: Path, flags: Sequence[str], source: Path) -> str:
    """Return the object file made of ``source``, beside the generated files in ``work``."""
    made = str(work / str(source.relative_to(NATIVE)).replace("/", "_")) + ".o"
    _run([*_cc(), *flags, f"-I{NATIVE}", f"-I{work}", "-c", str(source), "-o", made])
    return made


def libraries_once_apart() -> list[str]:
    """Return the linker flags for the libraries in which glibc before 2.34 has threads and dlopen.

    Newer ones still have libraries of these names, with nothing in them. For an older glibc they must be
    named all the same; "-lpthread" is an empty archive then, so they are linked by file name.
    """
    asked = subprocess.run(
        [*_cc(), "-E", "-P", "-x", "c", "-include", "features.h", "-"],
        input="__GLIBC__ __GLIBC_MINOR__",
        capture_output=True,
        text=True,
        check=True,
    )
    release = asked.stdout.split()[-2:]
    merged = all(map(str.isdigit, release)) and tuple(map(int, release)) >= (2, 34)
    names = ["-l:libpthread.so.0", "-l:libdl.so.2"] if merged else ["-lpthread", "-ldl"]
    return ["-Wl,--no-as-needed", *names, "-Wl,--as-needed"]


def _check_needs(target: Target, linked: Path) -> None:
    limits = ["--glibc", OLDEST_GLIBC, "--musl"] if target.portable else []
    _run([sys.executable, str(HERE / "libc_needs.py"), str(linked), "--name", target.path, *limits])


def _link(
    objects: Sequence[str], path: Path, flags: Sequence[str], check: Callable[[Path], None] | None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A new file replaces the old one: programs may have that mapped.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _run([*_cc(), "-pthread", *objects, "-o", str(unfinished), *flags])
        if check:
            check(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _cc() -> list[str]:
    """Return the compiler's command; CC may have arguments, such as a target."""
    return shlex.split(os.environ.get("CC", "gcc"))


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)


def main() -> None:
    """Build from the command line."""
    names = [target.path for target in TARGETS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--sanitize", default="")
    parser.add_argument("--only", choices=names, help="what to build of all; every one by default")
    options = parser.parse_args()
    targets = [target for target in TARGETS if options.only in (None, target.path)]
    build(options.output, options.sanitize, targets)


if __name__ == "__main__":
    main()
