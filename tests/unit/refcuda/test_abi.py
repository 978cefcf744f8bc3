"""cuda_abi.h says what NVIDIA's cuda-bindings say."""

import ctypes
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cuda.bindings import driver

from gpupool.dataplane import build

CUDA = build.NATIVE / "cuda"

# Flags whose enumeration in the bindings has another name than its members' prefix suggests.
FLAG_ENUMERATIONS = {
    "CU_CTX_": driver.CUctx_flags,
    "CU_STREAM_": driver.CUstream_flags,
    "CU_EVENT_RECORD_": driver.CUevent_record_flags,
    "CU_EVENT_WAIT_": driver.CUevent_wait_flags,
    "CU_EVENT_": driver.CUevent_flags,
    "CU_LAUNCH_ATTRIBUTE_": driver.CUlaunchAttributeID,
    "CU_GET_PROC_ADDRESS_": driver.CUdriverProcAddress_flags,
}


def without_comments(path: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def members(body: str) -> dict[str, int]:
    return {name: int(value, 0) for name, value in re.findall(r"\b(CU\w+) = (\w+)", body)}


def test_results() -> None:
    rows = re.findall(r"X\((CUDA_\w+), (\d+), \"", (CUDA / "cuda_results.h").read_text())
    assert {name: int(number) for name, number in rows}.items() <= {
        result.name: result.value for result in driver.CUresult
    }.items()
    assert len(rows) > 95


def test_device_attributes() -> None:
    rows = re.findall(r"X\((\w+), (\d+)\)", (CUDA / "cuda_attributes.h").read_text())
    ours = {f"CU_DEVICE_ATTRIBUTE_{name}": int(number) for name, number in rows}
    theirs = {name: member.value for name, member in driver.CUdevice_attribute.__members__.items()}
    assert ours.items() <= theirs.items()
    assert sorted(ours.values()) == sorted(set(ours.values()))
    assert len(ours) > 140


def enumerations() -> list[tuple[str, dict[str, int]]]:
    text = without_comments(CUDA / "cuda_abi.h")
    named = re.findall(r"typedef enum \{([^}]*)\} (\w+);", text)
    return [(name, members(body)) for body, name in named]


@pytest.mark.parametrize(("name", "ours"), enumerations())
def test_enumeration(name: str, ours: dict[str, int]) -> None:
    theirs = getattr(driver, name).__members__
    assert ours
    assert ours == {member: theirs[member].value for member in ours}


def test_flags() -> None:
    text = without_comments(CUDA / "cuda_abi.h")
    bodies = re.findall(r"^enum \{([^}]*)\};", text, flags=re.MULTILINE | re.DOTALL)
    assert bodies
    for name, value in members(" ".join(bodies)).items():
        if name.startswith("CU_MEMHOST"):
            assert value == getattr(driver, name)
        else:
            prefix = next(prefix for prefix in FLAG_ENUMERATIONS if name.startswith(prefix))
            assert value == FLAG_ENUMERATIONS[prefix].__members__[name].value


def offsets(structure: str, fields: tuple[str, ...], folder: Path) -> dict[str, int]:
    """Where gcc puts the fields of a struct of cuda_abi.h."""
    lines = "".join(f'printf("{field} %zu\\n", offsetof({structure}, {field}));' for field in fields)
    source = folder / "offsets.c"
    source.write_text(f'#include <stdio.h>\n#include "cuda/cuda_abi.h"\nint main(void) {{ {lines} }}\n')
    program = folder / "offsets"
    subprocess.run([os.environ.get("CC", "gcc"), f"-I{build.NATIVE}", source, "-o", program], check=True)
    text = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: int(offset) for name, offset in (line.split() for line in text.splitlines())}


STRUCTURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "CUDA_MEMCPY2D",
        ("srcXInBytes", "srcY", "srcPitch", "dstXInBytes", "dstY", "dstPitch", "WidthInBytes", "Height"),
    ),
    (
        "CUlaunchConfig",
        ("gridDimX", "gridDimZ", "blockDimX", "blockDimZ", "sharedMemBytes"),
    ),
)


@pytest.mark.parametrize(("structure", "fields"), STRUCTURES)
def test_structure(structure: str, fields: tuple[str, ...], tmp_path: Path) -> None:
    """A number the bindings put into a field lies where our struct has that field."""
    theirs: Any = getattr(driver, structure)()
    for number, field in enumerate(fields, 100):
        setattr(theirs, field, number)
    ours = offsets(structure, fields, tmp_path)
    for number, field in enumerate(fields, 100):
        assert ctypes.c_uint32.from_address(theirs.getPtr() + ours[field]).value == number
