"""A program that knows nothing of gpupool: NVIDIA's cuda-bindings. Prints JSON of what it found.

``program.py report`` says what devices there are and tries memory; ``program.py loop`` allocates and
frees until an error comes, and says which.
"""

import json
import sys
import time

from cuda.bindings import driver

MIB = 1 << 20


def call(function, *arguments):
    error, *values = function(*arguments)
    return int(error), *values


def report() -> dict:
    device = call(driver.cuDeviceGet, 0)[1]
    total = call(driver.cuDeviceTotalMem, device)[1]
    driver.cuCtxSetCurrent(call(driver.cuDevicePrimaryCtxRetain, device)[1])
    too_much = call(driver.cuMemAlloc, total + MIB)[0]
    error, address = call(driver.cuMemAlloc, total - 16 * MIB)
    free = call(driver.cuMemGetInfo)[1]
    source, target = bytearray(b"gpupool " * 1000), bytearray(8000)
    call(driver.cuMemcpyHtoD, address, bytes(source), len(source))
    call(driver.cuMemcpyDtoH, target, address, len(target))
    return {
        "count": call(driver.cuDeviceGetCount)[1],
        "total_mib": total // MIB,
        "free_mib": free // MIB,
        "too_much": too_much,
        "allocated": error,
        "copied": source == target,
    }


def loop() -> dict:
    device = call(driver.cuDeviceGet, 0)[1]
    driver.cuCtxSetCurrent(call(driver.cuDevicePrimaryCtxRetain, device)[1])
    print("looping", flush=True)
    while True:
        error, address = call(driver.cuMemAlloc, MIB)
        if error:
            return {"error": error}
        error = call(driver.cuMemFree, address)[0]
        if error:
            return {"error": error}
        time.sleep(0.01)


if __name__ == "__main__":
    began = call(driver.cuInit, 0)[0]
    outcome = {"error": began} if began else {"report": report, "loop": loop}[sys.argv[1]]()
    print(json.dumps(outcome), flush=True)
