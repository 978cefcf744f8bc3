"""How sessions begin and end, and what is refused."""

import ctypes
import json
import os
import sys
import threading
import time

import numpy as np
from cuda.bindings import driver as cu

from tools import (
    INT,
    SUCCESS,
    VOID,
    Gate,
    check,
    download,
    load,
    matrix_product,
    upload,
    use_device,
)


def first_use():
    """cuInit only asks what there is; the first use of a device opens it."""
    return {"error": cu.cuDevicePrimaryCtxRetain(check(cu.cuDeviceGet(0)))[0].name}


def fork():
    use_device()
    before = matrix_product(64)["error"]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        told = {"unfit": cu.cuMemAlloc(16)[0].name}
        check(cu.cuInit(0))
        told["error"] = matrix_product(64)["error"]
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return {
        "before": before,
        "child": json.loads(os.read(reader, 4096)),
        "after": matrix_product(64)["error"],
    }


def forks():
    """Fork while other threads allocate; each child asks for what the parent had pinned."""
    _, context = use_device()
    host, going = check(cu.cuMemHostAlloc(4096, 0)), threading.Event()

    def churn():
        check(cu.cuCtxSetCurrent(context))
        while not going.is_set():
            check(cu.cuMemHostGetFlags(host))
            check(cu.cuMemFree(check(cu.cuMemAlloc(4096))))

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for one in threads:
        one.start()
    children = []
    for _ in range(20):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, json.dumps([cu.cuInit(0)[0], cu.cuMemHostGetFlags(host)[0].name]).encode())
            os._exit(0)
        os.close(writer)
        children.append(json.loads(os.read(reader, 4096) or "null"))
        os.close(reader)
        os.wait()
    going.set()
    for one in threads:
        one.join()
    return {"children": children}


def until_lost():
    """Work until a call fails; then say how every kind of call fails."""
    use_device()
    add = load("add")
    stream = check(cu.cuStreamCreate(0))
    data = upload(np.zeros(64, dtype=np.int32))
    packed = ((int(data), 1, 64), (VOID, INT, INT))
    print("working", flush=True)
    while (error := cu.cuLaunchKernel(add, 1, 1, 1, 64, 1, 1, 0, stream, packed, 0)[0]) == SUCCESS:
        if (error := cu.cuStreamSynchronize(stream)[0]) != SUCCESS:
            break
        time.sleep(0.001)
    buffer = np.zeros(64, dtype=np.int32)
    return {
        "errors": sorted({
            error.name,
            cu.cuLaunchKernel(add, 1, 1, 1, 64, 1, 1, 0, stream, packed, 0)[0].name,
            cu.cuCtxSynchronize()[0].name,
            cu.cuMemAlloc(16)[0].name,
            cu.cuMemFree(data)[0].name,
            cu.cuMemcpyDtoH(buffer.ctypes.data, data, 256)[0].name,
            cu.cuStreamDestroy(stream)[0].name,
            cu.cuMemHostAlloc(4096, 0)[0].name,
        }),
    }  # fmt: skip


def blocked():
    """Wait in a call for a kernel that does not end by itself."""
    use_device()
    Gate().close(0)
    print("working", flush=True)
    error = cu.cuCtxSynchronize()[0].name
    return {"errors": [error]}


def idle():
    """Hold a session and call nothing until told to go on."""
    use_device()
    data = upload(np.arange(64, dtype=np.int32))
    print("working", flush=True)
    sys.stdin.readline()
    return {"right": download(data, np.zeros(64, dtype=np.int32)).tolist() == list(range(64))}


def init():
    return {
        "error": cu.cuInit(0)[0].name,
        "again": cu.cuInit(0)[0].name,
        "next": cu.cuDeviceGetCount()[0].name,
    }


def unsupported():
    use_device()
    library = ctypes.CDLL("libcuda.so.1")
    return {
        "bindings": [cu.cuGraphCreate(0)[0].name for _ in range(3)],
        "dlsym": library.cuGraphCreate(None, 0),
        "second form": library.cuGraphAddKernelNode_v2(None),
        "no name": cu.cuGetProcAddress(b"cuNoSuchFunction", 13000, 0)[1:],
        "product": matrix_product(64)["error"] < 1e-3,
    }


def _asked(name, version, flags):
    return int(check(cu.cuGetProcAddress(name, version, flags))[0])


def resolution():
    """One name, several binary interfaces."""
    library = ctypes.CDLL("libcuda.so.1")
    wanted = {
        ("cuCtxGetDevice", 12090, 0): "cuCtxGetDevice",
        ("cuCtxGetDevice", 13000, 0): "cuCtxGetDevice_v2",
        ("cuMemAlloc", 3020, 0): "cuMemAlloc_v2",
        ("cuLaunchKernel", 4000, 0): "cuLaunchKernel",
        ("cuLaunchKernel", 13000, 2): "cuLaunchKernel_ptsz",
        ("cuCtxCreate", 11030, 0): "cuCtxCreate_v2",
        ("cuCtxCreate", 13000, 0): "cuCtxCreate_v4",
        ("cuMemcpyHtoD", 13000, 1): "cuMemcpyHtoD_v2",
        ("cuMemcpyHtoD", 7000, 2): "cuMemcpyHtoD_v2_ptds",
    }
    wrong = [
        [name, version, flags]
        for (name, version, flags), symbol in wanted.items()
        if _asked(name.encode(), version, flags) != ctypes.cast(getattr(library, symbol), VOID).value
    ]
    return {"wrong": wrong, "too old": str(cu.cuGetProcAddress(b"cuLaunchKernelEx", 11000, 0)[2])}
