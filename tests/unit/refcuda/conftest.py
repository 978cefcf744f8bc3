"""What the tests of the reference device need: the library, kernels for it, programs on it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupool.dataplane import build, paths

HERE = Path(__file__).parent
KERNELS = HERE / "native" / "kernels.c"
REPOSITORY = HERE.parents[2]

RunProgram = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module image of native/kernels.c."""
    image = tmp_path_factory.mktemp("kernels") / "kernels.so"
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{paths.REFERENCE_INCLUDE}"]
    subprocess.run([os.environ.get("CC", "gcc"), *options, KERNELS, "-o", image], check=True)
    return image


@pytest.fixture
def run_program(built: Callable[[str], Path], kernels: Path) -> RunProgram:
    """Runs a function of programs.py in a process that finds the reference device as its libcuda."""

    def run(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.unit.refcuda.programs", name],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "LD_LIBRARY_PATH": str(built("")),
                "KERNELS": str(kernels),
                "REFCUDA_DEVICES": "2",
                "REFCUDA_MEMORY_MIB": "64",
                "REFCUDA_COMPUTE_UNITS": "3",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds the library with a sanitizer, or none, once for each; returns the folder it is in."""
    made: dict[str, Path] = {}

    def make(sanitizer: str) -> Path:
        if sanitizer not in made:
            output = tmp_path_factory.mktemp("refcuda")
            build.build(output, sanitizer, ["refcuda/libcuda.so.1"])
            made[sanitizer] = output / "refcuda"
        return made[sanitizer]

    return make
