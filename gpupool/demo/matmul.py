"""A matrix product on the first CUDA device, checked against NumPy.

An ordinary program of NVIDIA's cuda-bindings: it knows nothing of gpupool. Its kernel is an image
for the device it runs on; without one it compiles the demo's kernel for the reference device.
"""

import argparse
import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from cuda.bindings import driver

HERE = Path(__file__).resolve().parent
INCLUDE = HERE.parent / "dataplane" / "native" / "refcuda" / "include"
MIB = 1 << 20
TILE = 16


class CudaError(Exception):
    """A driver call failed; ``name`` is the error as CUDA spells it."""

    def __init__(self, error: driver.CUresult) -> None:
        super().__init__(error.name)
        self.name = error.name


def call(function: Any, *arguments: Any) -> Any:
    """Call the driver; return its value, or several as a list; raise CudaError."""
    error, *values = function(*arguments)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise CudaError(error)
    return values[0] if len(values) == 1 else values


def compiled() -> bytes:
    """Return the demo's kernel as an image for the reference device."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "matmul_kernel.so"
        source = HERE / "matmul_kernel.c"
        flags = ["-O3", "-shared", "-fPIC", f"-I{INCLUDE}"]
        subprocess.run(["gcc", *flags, source, "-o", image], check=True)
        return image.read_bytes()


def load(image: bytes) -> Any:
    """Make the first device current, load ``image`` on it and return its kernel ``matmul``."""
    call(driver.cuInit, 0)
    context = call(driver.cuDevicePrimaryCtxRetain, call(driver.cuDeviceGet, 0))
    call(driver.cuCtxSetCurrent, context)
    return call(driver.cuModuleGetFunction, call(driver.cuModuleLoadData, image), b"matmul")


def describe() -> None:
    """Print the devices this program sees."""
    for ordinal in range(call(driver.cuDeviceGetCount)):
        device = call(driver.cuDeviceGet, ordinal)
        name = call(driver.cuDeviceGetName, 128, device).partition(b"\0")[0].decode()
        print(f"device {ordinal}: {name}, {call(driver.cuDeviceTotalMem, device) // MIB} MiB")


def try_to_allocate(mib: int) -> None:
    """Print whether the device gives ``mib`` MiB."""
    try:
        address = call(driver.cuMemAlloc, mib * MIB)
    except CudaError as exc:
        print(f"{mib} MiB: {exc.name}; going on")
        return
    call(driver.cuMemFree, address)
    print(f"{mib} MiB: allocated and freed")


def multiply(function: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product of two square float32 matrices, computed on the device."""
    n = len(a)
    c = np.empty_like(a)
    buffers = [call(driver.cuMemAlloc, a.nbytes) for _ in range(3)]
    call(driver.cuMemcpyHtoD, buffers[0], a.ctypes.data, a.nbytes)
    call(driver.cuMemcpyHtoD, buffers[1], b.ctypes.data, b.nbytes)
    values = ((*buffers, n), (None, None, None, ctypes.c_int))
    blocks = -(-n // TILE)
    call(driver.cuLaunchKernel, function, blocks, blocks, 1, TILE, TILE, 1, 0, 0, values, 0)
    call(driver.cuMemcpyDtoH, c.ctypes.data, buffers[2], c.nbytes)
    for buffer in buffers:
        call(driver.cuMemFree, buffer)
    return c


def main() -> int:
    """Run the program; return 1 when the product is wrong or the driver failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--size", type=int, default=256, help="rows of the matrices, %(default)s by default"
    )
    parser.add_argument("--image", type=Path, help="the kernel, compiled for the device")
    parser.add_argument("--allocate-mib", type=int, metavar="MIB", help="first try to allocate so much")
    options = parser.parse_args()
    image = options.image.read_bytes() if options.image else compiled()
    try:
        function = load(image)
        describe()
        if options.allocate_mib is not None:
            try_to_allocate(options.allocate_mib)
        generator = np.random.default_rng(2)
        a, b = generator.random((2, options.size, options.size), dtype=np.float32)
        product = multiply(function, a, b)
    except CudaError as exc:
        print(f"the driver failed: {exc.name}", file=sys.stderr)
        return 1
    right = bool(np.allclose(product, a @ b, rtol=1e-4))
    print(f"{options.size} x {options.size} product {'equals' if right else 'DIFFERS FROM'} NumPy's")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
