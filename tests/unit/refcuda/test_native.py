"""The C tests, under the sanitizers that see what no result shows: leaks, overflows, races."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupool.dataplane import build, c_flags
from gpupool.dataplane.generator.write import write

SOURCES = Path(__file__).parent / "native"
SANITIZERS = ("address,undefined", "thread")


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("name", ["lifetimes", "streams", "memory", "threads", "ends"])
def test_native(
    name: str, sanitizer: str, built: Callable[[str], Path], kernels: Path, tmp_path: Path
) -> None:
    folder = built(sanitizer)
    program, generated = tmp_path / name, tmp_path / "generated"
    write(generated)
    subprocess.run(
        [
            os.environ.get("CC", "gcc"),
            *(*c_flags.compile_flags(sanitizer), "-O1", f"-I{build.NATIVE}", f"-I{generated}"),
            *(SOURCES / f"{name}.c", folder / "libcuda.so.1", f"-Wl,-rpath,{folder}", "-o", program),
        ],
        check=True,
    )
    done = subprocess.run(
        [program, kernels],
        env={
            **os.environ,
            "REFCUDA_DEVICES": "2",
            "REFCUDA_MEMORY_MIB": "64",
            "REFCUDA_COMPUTE_UNITS": "3",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
