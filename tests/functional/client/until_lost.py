"""A CUDA program that uses its device until a call fails; it prints `ready`, then the error's name."""

import time

from cuda.bindings import driver


def call(function, *arguments):
    error, *values = function(*arguments)
    if error != driver.CUresult.CUDA_SUCCESS:
        print(error.name, flush=True)
        raise SystemExit(3)
    return values[0] if values else None


call(driver.cuInit, 0)
call(driver.cuCtxSetCurrent, call(driver.cuDevicePrimaryCtxRetain, call(driver.cuDeviceGet, 0)))
address = call(driver.cuMemAlloc, 1 << 20)
print("ready", flush=True)
while True:
    call(driver.cuMemsetD8, address, 1, 1 << 20)
    call(driver.cuCtxSynchronize)
    time.sleep(0.01)
