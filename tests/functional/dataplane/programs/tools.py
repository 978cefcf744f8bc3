"""What the programs share."""

import ctypes
import sys
from pathlib import Path

import numpy as np
from cuda.bindings import driver as cu

SUCCESS = cu.CUresult.CUDA_SUCCESS


def check(answer):
    """Return what a call gave back; raise on any error."""
    if answer[0] != SUCCESS:
        raise RuntimeError(answer[0].name)
    return answer[1] if len(answer) == 2 else answer[1:]


def use_device(ordinal=0):
    device = check(cu.cuDeviceGet(ordinal))
    context = check(cu.cuDevicePrimaryCtxRetain(device))
    check(cu.cuCtxSetCurrent(context))
    return device, context


def load(name):
    module = check(cu.cuModuleLoadData(Path(sys.argv[2]).read_bytes()))
    return check(cu.cuModuleGetFunction(module, name.encode()))


def launch(function, grid, block, types, values, stream=0):
    check(cu.cuLaunchKernel(function, *grid, *block, 0, stream, (tuple(values), tuple(types)), 0))


def upload(array):
    pointer = check(cu.cuMemAlloc(array.nbytes))
    check(cu.cuMemcpyHtoD(pointer, array.ctypes.data, array.nbytes))
    return pointer


def download(pointer, like):
    array = np.empty_like(like)
    check(cu.cuMemcpyDtoH(array.ctypes.data, pointer, array.nbytes))
    return array


class Gate:
    """What is put on a stream behind ``close`` waits for ``open``."""

    def __init__(self):
        self.flag = upload(np.zeros(1, dtype=np.int32))
        self.stream = check(cu.cuStreamCreate(1))
        self.kernel = load("wait_for")

    def close(self, stream):
        check(cu.cuMemsetD32Async(self.flag, 0, 1, self.stream))
        check(cu.cuStreamSynchronize(self.stream))
        launch(self.kernel, (1, 1, 1), (1, 1, 1), (VOID,), (int(self.flag),), stream)

    def open(self):
        check(cu.cuMemsetD32Async(self.flag, 1, 1, self.stream))


VOID, INT, LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_long


def matrix_product(n=192):
    use_device()
    rng = np.random.default_rng(1)
    a, b = (rng.random((n, n), dtype=np.float32) for _ in range(2))
    pointers = [int(upload(array)) for array in (a, b, np.zeros_like(a))]
    grid = ((n + 15) // 16, (n + 15) // 16, 1)
    launch(load("matmul"), grid, (16, 16, 1), (VOID, VOID, VOID, INT), (*pointers, n))
    return {"error": float(np.abs(download(pointers[2], a) - a @ b).max())}
