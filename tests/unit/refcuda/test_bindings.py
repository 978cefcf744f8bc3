"""NVIDIA's cuda-bindings on the reference device, with no gpupool between."""

import os
import subprocess
from pathlib import Path

import pytest

from gpupool.dataplane import paths

from . import programs
from .conftest import REPOSITORY, RunProgram

MATMUL = REPOSITORY / "gpupool" / "demo" / "matmul_kernel.c"


def compile_image(source: Path, image: Path) -> str:
    options = ["-O2", "-shared", "-fPIC", f"-I{paths.REFERENCE_INCLUDE}"]
    subprocess.run([os.environ.get("CC", "gcc"), *options, source, "-o", image], check=True)
    return str(image)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables that name the images some programs load."""
    folder = tmp_path_factory.mktemp("images")
    sources = {
        "OTHER_IMAGE": "int answer(void) { return 42; }",
        "UNDEFINED_IMAGE": '#include "refcuda_kernel.h"\n'
        "void no_such_function(void);\nREFCUDA_KERNEL(call) { no_such_function(); }",
    }
    named = {"MATMUL": compile_image(MATMUL, folder / "matmul.so")}
    for name, text in sources.items():
        source = folder / f"{name}.c"
        source.write_text(text)
        named[name] = compile_image(source, source.with_suffix(".so"))
    return named


@pytest.mark.parametrize("program", [program.__name__ for program in programs.PROGRAMS])
def test_program(program: str, run_program: RunProgram, images: dict[str, str]) -> None:
    done = run_program(program, **images)
    assert done.returncode == 0, done.stderr


def test_no_devices(run_program: RunProgram) -> None:
    done = run_program("no_devices", REFCUDA_DEVICES="0")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REFCUDA_DEVICES", "65"),
        ("REFCUDA_DEVICES", "two"),
        ("REFCUDA_MEMORY_MIB", "0"),
        ("REFCUDA_MEMORY_MIB", "1.5"),
        ("REFCUDA_COMPUTE_UNITS", "-1"),
    ],
)
def test_bad_setting(name: str, value: str, run_program: RunProgram) -> None:
    done = run_program("bad_setting", **{name: value})
    assert done.returncode == 0, done.stderr
    assert f"{name} is '{value}'; allowed: " in done.stderr


def test_reason_in_the_trace(run_program: RunProgram) -> None:
    done = run_program("out_of_memory", REFCUDA_TRACE="1")
    assert f"{65 << 20} bytes asked for, the device has {64 << 20}" in done.stderr
