"""A program that knows nothing of gpupool: NVIDIA's cuda-bindings. Prints JSON of what it found.

``program.py report`` says what devices there are and tries memory; ``program.py loop`` allocates and
frees until an error comes, and says which; ``program.py hang KERNELS`` launches a kernel that never
ends; ``program.py follow`` says for each line that it reads what memory its device has, until there
is none left to read; ``program.py work`` does so too, with the number of fills that its device did.
"""

import ctypes
import json
import sys
import threading
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


def hang() -> dict:
    device = call(driver.cuDeviceGet, 0)[1]
    driver.cuCtxSetCurrent(call(driver.cuDevicePrimaryCtxRetain, device)[1])
    module = call(driver.cuModuleLoad, sys.argv[2].encode())[1]
    function = call(driver.cuModuleGetFunction, module, b"wait_for")[1]
    flag = call(driver.cuMemAlloc, 4)[1]
    call(driver.cuMemsetD32, flag, 0, 1)
    arguments = ((int(flag),), (ctypes.c_void_p,))
    call(driver.cuLaunchKernel, function, 1, 1, 1, 1, 1, 1, 0, 0, arguments, 0)
    call(driver.cuStreamQuery, 0)  # it answers, so what was before it has been taken
    print("hanging", flush=True)
    return {"error": call(driver.cuCtxSynchronize)[0]}


def fill(context, address: int, done: list[int]) -> None:
    driver.cuCtxSetCurrent(context)
    while not call(driver.cuMemsetD8Async, address, 1, MIB, 0)[0]:
        if call(driver.cuCtxSynchronize)[0]:
            return
        done[0] += 1


def work() -> dict:
    device = call(driver.cuDeviceGet, 0)[1]
    context = call(driver.cuDevicePrimaryCtxRetain, device)[1]
    driver.cuCtxSetCurrent(context)
    done, address = [0], call(driver.cuMemAlloc, MIB)[1]
    threading.Thread(target=fill, args=(context, address, done), daemon=True).start()
    print("working", flush=True)
    for _ in sys.stdin:
        error, free, _ = call(driver.cuMemGetInfo)
        print(json.dumps([error, free // MIB, done[0]]), flush=True)
    return {"error": call(driver.cuCtxSynchronize)[0]}


def follow() -> dict:
    device = call(driver.cuDeviceGet, 0)[1]
    driver.cuCtxSetCurrent(call(driver.cuDevicePrimaryCtxRetain, device)[1])
    print("following", flush=True)
    for _ in sys.stdin:
        error, free, total = call(driver.cuMemGetInfo)
        of_device = call(driver.cuDeviceTotalMem, device)[1]
        print(json.dumps([error, free // MIB, total // MIB, of_device // MIB]), flush=True)
    return {"error": call(driver.cuCtxSynchronize)[0]}


if __name__ == "__main__":
    began = call(driver.cuInit, 0)[0]
    ways = {"report": report, "loop": loop, "hang": hang, "follow": follow, "work": work}
    outcome = {"error": began} if began else ways[sys.argv[1]]()
    print(json.dumps(outcome), flush=True)
