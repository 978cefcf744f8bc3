"""Programs that use up their share: ``python share.py NAME IMAGE`` runs one and prints JSON."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from cuda.bindings import driver as cu

from tools import LONG, VOID, check, download, launch, load, upload, use_device

ONE = (1, 1, 1)
LOG = np.zeros(1 << 16, dtype=np.int64)


def equal_kernels():
    """Launch one kernel after the other for a while; say when they ran."""
    function, log = load("logged"), int(upload(LOG))
    print("working", flush=True)
    sys.stdin.readline()
    begun = time.monotonic()
    while time.monotonic() - begun < 2:
        launch(function, ONE, ONE, (VOID, LONG), (log, 30_000_000))
        check(cu.cuCtxSynchronize())
    ended = time.monotonic()
    seen = download(log, LOG)
    count = int(seen[0])
    return {"begun": begun, "ended": ended, "runs": seen[1 : 1 + 2 * count].reshape(-1, 2).tolist()}


def exit_with_work_in_flight():
    launch(load("logged"), ONE, ONE, (VOID, LONG), (int(upload(LOG)), 400_000_000))
    cu.cuStreamQuery(0)  # it answers, so what was before it has been taken
    os._exit(0)


def many_spans():
    """Far more pauses than there are runs that can be measured at a time, behind a long kernel."""
    function, log = load("logged"), int(upload(LOG))
    streams = [check(cu.cuStreamCreate(1)) for _ in range(3)]
    for turn in range(300):
        stream = streams[turn % 3]
        launch(function, ONE, ONE, (VOID, LONG), (log, 1_000_000), stream)
        cu.cuStreamQuery(stream)
        time.sleep(0.0005)
    check(cu.cuCtxSynchronize())
    seen = download(log, LOG)
    return {"runs": seen[1 : 1 + 2 * int(seen[0])].reshape(-1, 2).tolist()}


def narrow_rows():
    """Rows of one byte, each of which takes what the device rounds it up to."""
    free = check(cu.cuMemGetInfo())[0]
    _, pitch = check(cu.cuMemAllocPitch(1, 1 << 16, 4))
    left = check(cu.cuMemGetInfo())[0]
    beyond = cu.cuMemAllocPitch(1, 1 << 18, 4)[0].name
    return {"taken": (free - left) // (1 << 16), "pitch": pitch, "beyond": beyond}


def one_byte():
    free = check(cu.cuMemGetInfo())[0]
    check(cu.cuMemAlloc(1))
    return {"taken": free - check(cu.cuMemGetInfo())[0]}


def module():
    image = Path(sys.argv[2]).read_bytes()
    free = check(cu.cuMemGetInfo())[0]
    error, loaded = cu.cuModuleLoadData(image)
    seen = {"error": error.name, "taken": free - check(cu.cuMemGetInfo())[0]}
    if error == cu.CUresult.CUDA_SUCCESS:
        check(cu.cuModuleUnload(loaded))
    return seen | {"left": free - check(cu.cuMemGetInfo())[0]}


def load_after_an_error():
    """The error of an earlier call comes out at the load; the next ones must not suffer."""
    image = Path(sys.argv[2]).read_bytes()
    function = load("logged")
    cu.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 1 << 30, 0, ((0, 0), (VOID, LONG)), 0)
    return {"errors": [cu.cuModuleLoadData(image)[0].name for _ in range(3)]}


def wait_after_an_error():
    """A wait waits, though it has the error of an earlier call to tell."""
    function, log = load("logged"), int(upload(LOG))
    launch(function, ONE, ONE, (VOID, LONG), (log, 200_000_000))
    cu.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 1 << 30, 0, ((0, 0), (VOID, LONG)), 0)
    error = cu.cuCtxSynchronize()[0].name
    return {"error": error, "after": cu.cuStreamQuery(0)[0].name}


if __name__ == "__main__":
    check(cu.cuInit(0))
    use_device()
    print(json.dumps(globals()[sys.argv[1]]()))
