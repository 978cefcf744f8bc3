"""A cuda-bindings program with an NVRTC-compiled kernel; prints the seconds its loop took."""

import sys
import time

import numpy as np
from cuda.bindings import driver, nvrtc

N = 1 << 20
ROUNDS = 200
SOURCE = b"""
extern "C" __global__ void saxpy(float a, const float *x, float *y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        y[i] = a * x[i] + y[i];
}
"""


def check(result):
    """Return what a call returned besides its status, or raise with the status."""
    status, *values = result
    if int(status) != 0:
        raise RuntimeError(str(status))
    return values[0] if len(values) == 1 else tuple(values)


def compile_kernel(device) -> bytes:
    """Return the CUBIN of SOURCE for `device`."""
    attribute = driver.CUdevice_attribute
    major = check(
        driver.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
    )
    minor = check(
        driver.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)
    )
    program = check(nvrtc.nvrtcCreateProgram(SOURCE, b"saxpy.cu", 0, [], []))
    check(nvrtc.nvrtcCompileProgram(program, 1, [f"--gpu-architecture=sm_{major}{minor}".encode()]))
    image = b" " * check(nvrtc.nvrtcGetCUBINSize(program))
    check(nvrtc.nvrtcGetCUBIN(program, image))
    return image


def main() -> int:
    """Run the loop and compare with NumPy."""
    check(driver.cuInit(0))
    device = check(driver.cuDeviceGet(0))
    context = check(driver.cuDevicePrimaryCtxRetain(device))
    check(driver.cuCtxSetCurrent(context))
    function = check(
        driver.cuModuleGetFunction(check(driver.cuModuleLoadData(compile_kernel(device))), b"saxpy")
    )
    stream = check(driver.cuStreamCreate(0))
    x, y = np.ones(N, np.float32), np.zeros(N, np.float32)
    dx, dy = check(driver.cuMemAlloc(x.nbytes)), check(driver.cuMemAlloc(y.nbytes))
    check(driver.cuMemcpyHtoD(dx, x, x.nbytes))
    check(driver.cuMemcpyHtoD(dy, y, y.nbytes))
    a, n = np.array([2.0], np.float32), np.array([N], np.int32)
    holders = [a, np.array([int(dx)], np.uint64), np.array([int(dy)], np.uint64), n]
    parameters = np.array([holder.ctypes.data for holder in holders], np.uint64)
    start = time.perf_counter()
    for _ in range(ROUNDS):
        check(
            driver.cuLaunchKernel(
                function, N // 256, 1, 1, 256, 1, 1, 0, stream, parameters.ctypes.data, 0
            )
        )
    check(driver.cuStreamSynchronize(stream))
    print(f"seconds {time.perf_counter() - start:.6f}")
    check(driver.cuMemcpyDtoH(y, dy, y.nbytes))
    return 0 if np.allclose(y, 2.0 * ROUNDS) else 1


if __name__ == "__main__":
    sys.exit(main())
