"""One build of the runtime serves programs of all C libraries: this machine's, an old glibc, musl."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gpupool.dataplane import build, c_flags
from testbed.local_agent import Vgpu
from tests.functional.dataplane.conftest import HERE

# A folder with ld-linux-x86-64.so.2, libc.so.6, libpthread.so.0 and libdl.so.2 of an old glibc.
OLD_GLIBC = "GPUPOOL_TEST_OLD_GLIBC"
MUSL_GCC = "musl-gcc"


def usual(source: Path, made: Path) -> None:
    """Compile for this machine's C library."""
    compiled(["gcc", *c_flags.compile_flags()], source, made)


def musl(source: Path, made: Path) -> None:
    """Compile for musl."""
    if not shutil.which(MUSL_GCC):
        pytest.skip(f"{MUSL_GCC} is not installed (Debian: musl-tools)")
    compiled([MUSL_GCC, *c_flags.compile_flags()], source, made)


def old_glibc(source: Path, made: Path) -> None:
    """Compile for a glibc that is older than this machine's."""
    if OLD_GLIBC not in os.environ:
        pytest.skip(f"{OLD_GLIBC} names no folder with an old glibc")
    portable(source, made)


def portable(source: Path, made: Path) -> None:
    """Compile for every C library."""
    start = [
        build.NATIVE / "portable" / "start.c",
        *c_flags.PORTABLE_PROGRAM,
        *c_flags.libraries_once_apart(),
    ]
    compiled(["gcc", *c_flags.compile_flags(), *c_flags.PORTABLE_CFLAGS], source, made, *start)


def compiled(command, source, made, *more):
    include = f"-I{build.NATIVE}"
    subprocess.run([*command, include, source, "-o", made, *more, "-ldl"], check=True)


@pytest.fixture(params=[usual, musl, old_glibc], ids=lambda one: one.__name__)
def run(request, agent, tmp_path):
    """Return a function that builds a program of C for a C library, and runs it on two vGPUs."""
    serving = agent(Vgpu(100, 64), Vgpu(100, 64, ordinal=1), environment={"REFCUDA_DEVICES": "2"})
    variables = serving.program_environment()

    def run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        made = tmp_path / name
        request.param(HERE / f"{name}.c", made)
        command = [made, *arguments]
        if request.param is old_glibc:
            folder = os.environ[OLD_GLIBC]
            path = f"{folder}:{variables['LD_LIBRARY_PATH']}"
            command = [f"{folder}/ld-linux-x86-64.so.2", "--library-path", path, *command]
        return subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_calls_from_threads(run, kernels):
    done = run("small_stack", str(kernels), "96")
    assert (done.returncode, done.stdout.split()) == (0, ["0"] * 8), done.stderr


def test_a_fork_uses_the_device_too(run):
    done = run("forking")
    assert (done.returncode, done.stdout) == (0, "used\n"), done.stderr
