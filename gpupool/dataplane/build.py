"""Builds the C of native/ with Meson and Ninja. Standard library only: the package build runs it.

``python -m gpupool.dataplane.build [--sanitize address,undefined] [--output DIR] [--only TARGET]``

The environment's CC names another compiler, with its arguments: ``CC="aarch64-linux-gnu-gcc"``,
``CC="python -m ziglang cc -target aarch64-linux-gnu.2.17"`` (for runtime/libcuda.so.1 alone).
"""

import argparse
import fcntl
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
NATIVE = HERE / "native"
OUTPUT = HERE / "lib"
# Where the folder of an incremental build is, which has the object files and compile_commands.json.
WORK = "build"
# What there is to build, by its path under the output folder.
TARGETS = ("refcuda/libcuda.so.1", "runtime/libcuda.so.1", "gpupool-doctor", "gpupool-worker")
_PROCESSORS = ("aarch64", "x86_64")
# What Meson was set up with last; in the build's folder.
_SETUP = "gpupool-setup.json"


class BuildToolMissingError(RuntimeError):
    """Meson or Ninja is not installed."""


def build(output: Path = OUTPUT, sanitize: str = "", targets: Sequence[str] = TARGETS) -> None:
    """Build ``targets`` from nothing under ``output``, and leave nothing else there.

    ``sanitize`` is what gcc's -fsanitize takes. Raises CalledProcessError when the compiler refuses, and
    when what enters containers needs more than the oldest glibc, or musl, has (not checked with a
    sanitizer); BuildToolMissingError.
    """
    with TemporaryDirectory() as work:
        _make(Path(work), output, sanitize, targets)


def ensure(output: Path = OUTPUT, sanitize: str = "", targets: Sequence[str] = TARGETS) -> Path:
    """Build what changed since the last time, and return ``output``; one builder at a time.

    Raises as ``build``.
    """
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make(output / WORK, output, sanitize, targets)
    return output


def sources(target: str) -> list[Path]:
    """Return the C files that a target is made of. Raises as ``build``."""
    work = ensure() / WORK
    made = json.loads((work / "meson-info" / "intro-targets.json").read_text())
    (one,) = [each for each in made if each["filename"] == [str(work / target)]]
    return [Path(name) for group in one["target_sources"] for name in group.get("sources", ())]


def _make(work: Path, output: Path, sanitize: str, targets: Sequence[str]) -> None:
    ninja = _tool("ninja")
    _set_up(work, sanitize, ninja)
    # What says what a target needs of its C library is made after it, and from it.
    goals = targets if sanitize else [f"{target}.needs" for target in targets]
    subprocess.run([ninja, "--quiet", "-C", str(work), *goals], check=True)
    for target in targets:
        if _install(work / target, output / target) and not sanitize:
            print((work / f"{target}.needs").read_text(), end="", flush=True)


def _set_up(work: Path, sanitize: str, ninja: str) -> None:
    """Set Meson up for native/, unless it is for this compiler, these options, tools and C files.

    Ninja does so by itself when one of Meson's files changes.
    """
    meson, compiler = _tool("meson"), shlex.split(os.environ.get("CC", "gcc"))
    tools = [[path, Path(path).stat().st_mtime_ns] for path in (sys.executable, meson, ninja)]
    flags = {name: os.environ.get(name) for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS")}
    # pip has tools of its own while it installs: what it compiled stays, though these are gone then.
    fixed = {"native": str(NATIVE), "compiler": compiler, "sanitize": sanitize, **flags}
    wanted = {"fixed": fixed, "tools": tools, "sources": sorted(map(str, NATIVE.rglob("*.c")))}
    noted = _noted(work)
    if noted == wanted:
        return
    command = [meson, "setup", str(work), str(NATIVE)]
    if noted.get("fixed") == fixed:
        command.append("--reconfigure")
    else:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        command += [f"-Db_sanitize={sanitize or 'none'}", *_cross(work, compiler)]
    environment = {**os.environ, "CC": shlex.join(compiler), "NINJA": ninja}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()
    (work / _SETUP).write_text(json.dumps(wanted))


def _noted(work: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((work / _SETUP).read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _cross(work: Path, compiler: Sequence[str]) -> list[str]:
    """Return what Meson has to be told when the compiler is one for another processor."""
    # Each compiler defines its processor's name; not each has a flag that prints it.
    command = [*compiler, "-E", "-P", "-x", "c", "-"]
    names = " ".join(f"{name}=__{name}__" for name in _PROCESSORS)
    asked = subprocess.run(command, input=names, capture_output=True, text=True, check=True)
    known = [name for name in _PROCESSORS if re.search(rf"\b{name}\s*=\s*1\b", asked.stdout)]
    if known in ([], [platform.machine()]):
        return []
    (processor,) = known
    file = work / "cross.ini"
    file.write_text(
        f"[binaries]\nc = {list(compiler)!r}\n"
        f"[host_machine]\nsystem = 'linux'\nendian = 'little'\n"
        f"cpu_family = {processor!r}\ncpu = {processor!r}\n"
    )
    return ["--cross-file", str(file)]


def _install(made: Path, path: Path) -> bool:
    """Copy what was built to ``path``, unless it is there; return whether it was copied."""
    if path.exists() and _version(path) == _version(made):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    # A new file replaces the old one: programs may have that mapped.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        shutil.copy2(made, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _tool(name: str) -> str:
    """Return the path of a command of this Python's environment, or else of PATH."""
    folders = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=folders)
    if found is None:
        raise BuildToolMissingError(f"{name} is missing, which builds the C: pip install {name}")
    return found


def main() -> None:
    """Build from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--sanitize", default="")
    parser.add_argument("--only", choices=TARGETS, help="what to build of all; every one by default")
    options = parser.parse_args()
    targets = [target for target in TARGETS if options.only in (None, target)]
    ensure(options.output, options.sanitize, targets)


if __name__ == "__main__":
    main()
