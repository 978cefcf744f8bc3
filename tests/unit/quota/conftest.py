"""Compiles the C of native/worker that has no need of a device, with sanitizers, for its tests."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupool.dataplane import build, c_flags

HERE = Path(__file__).parent
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
# The leak checker traces its own process, which the sandbox forbids.
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0", "PATH": "/usr/bin:/bin"}

LEDGER = ("ledger.c", "timeline.c")

Compile = Callable[..., Path]


@pytest.fixture(scope="session")
def compile_test(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Return a function that links a test program with sources of native/worker."""
    output = tmp_path_factory.mktemp("quota")

    def compile_test(name: str, *sources: str, flags: tuple[str, ...] = SANITIZE) -> Path:
        program = output / name
        if not program.exists():
            files = [HERE / f"{name}.c", *(build.NATIVE / "worker" / source for source in sources)]
            flags = (*c_flags.compile_flags("undefined"), *flags, f"-I{build.NATIVE}")
            command = ["gcc", *flags, *files, "-o", program]
            subprocess.run(command, check=True)
        return program

    return compile_test
