"""Programs that know nothing of gpupool: ``program.py NAME KERNELS`` runs one and prints JSON.

They use NVIDIA's cuda-bindings, whatever libcuda.so.1 the loader finds.
"""

import ctypes
import json
import os
import sys
import threading
import time
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


VOID, INT, LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_long


def matrix_product(n=192):
    use_device()
    rng = np.random.default_rng(1)
    a, b = (rng.random((n, n), dtype=np.float32) for _ in range(2))
    pointers = [int(upload(array)) for array in (a, b, np.zeros_like(a))]
    grid = ((n + 15) // 16, (n + 15) // 16, 1)
    launch(load("matmul"), grid, (16, 16, 1), (VOID, VOID, VOID, INT), (*pointers, n))
    return {"error": float(np.abs(download(pointers[2], a) - a @ b).max())}


def memory():
    device, _ = use_device()
    total = check(cu.cuDeviceTotalMem(device))
    half = check(cu.cuMemAlloc(total // 2))
    free, seen = check(cu.cuMemGetInfo())
    refused = cu.cuMemAlloc(total // 2 + 1)[0].name
    rest = check(cu.cuMemAlloc(total // 2))
    none_left = check(cu.cuMemGetInfo())[0]
    check(cu.cuMemFree(half))
    check(cu.cuMemFree(rest))
    return {
        "total": total,
        "info": [free, seen],
        "refused": refused,
        "none_left": none_left,
        "after": check(cu.cuMemGetInfo())[0],
        "twice": cu.cuMemFree(rest)[0].name,
        "product": matrix_product(64),
    }


def until_memory_is_held():
    use_device()
    check(cu.cuMemAlloc(5 << 20))
    return {}


def first_use():
    """cuInit only asks what there is; the first use of a device opens it."""
    return {"error": cu.cuDevicePrimaryCtxRetain(check(cu.cuDeviceGet(0)))[0].name}


def two_devices():
    data = np.arange(1 << 16, dtype=np.int32)
    contexts, pointers, seen = [], [], []
    for ordinal in range(check(cu.cuDeviceGetCount())):
        device, context = use_device(ordinal)
        contexts.append(context)
        seen.append(check(cu.cuDeviceTotalMem(device)))
        pointers.append(upload(data))
        launch(
            load("add"),
            (256, 1, 1),
            (256, 1, 1),
            (VOID, INT, INT),
            (int(pointers[-1]), ordinal + 1, data.size),
        )
    # The first device's memory, while the second is current.
    first = download(pointers[0], data)
    check(cu.cuMemcpyPeer(pointers[1], contexts[1], pointers[0], contexts[0], data.nbytes))
    second = download(pointers[1], data)
    return {
        "memory": seen,
        "first": bool((first == data + 1).all()),
        "peer_copy": bool((second == data + 1).all()),
        "peer_access": check(cu.cuDeviceCanAccessPeer(0, 1)),
        "wrong_device": cu.cuDeviceGet(len(seen))[0].name,
    }


def _thread(context, function, number, results):
    check(cu.cuCtxSetCurrent(context))
    stream = check(cu.cuStreamCreate(1))
    data = np.full(5000, number, dtype=np.int32)
    for _ in range(20):
        pointer = check(cu.cuMemAlloc(data.nbytes))
        check(cu.cuMemcpyHtoDAsync(pointer, data.ctypes.data, data.nbytes, stream))
        for _ in range(5):
            launch(
                function, (20, 1, 1), (256, 1, 1), (VOID, INT, INT), (int(pointer), 1, data.size), stream
            )
        back = np.zeros_like(data)
        check(cu.cuMemcpyDtoHAsync(back.ctypes.data, pointer, back.nbytes, stream))
        check(cu.cuStreamSynchronize(stream))
        check(cu.cuMemFree(pointer))
        results.append(bool((back == number + 5).all()))
    check(cu.cuStreamDestroy(stream))


def threads():
    _, context = use_device()
    function = load("add")
    results = []
    started = [threading.Thread(target=_thread, args=(context, function, n, results)) for n in range(8)]
    for one in started:
        one.start()
    for one in started:
        one.join()
    return {"right": results.count(True), "all": len(results), "free": check(cu.cuMemGetInfo())[0]}


def streams_and_events():
    use_device()
    spin, add = load("spin"), load("add")
    first, second = (check(cu.cuStreamCreateWithPriority(1, -1)) for _ in range(2))
    start, end = (check(cu.cuEventCreate(0)) for _ in range(2))
    data = upload(np.zeros(256, dtype=np.int32))
    check(cu.cuEventRecord(start, first))
    launch(spin, (1, 1, 1), (1, 1, 1), (LONG,), (50_000_000,), first)
    launch(add, (1, 1, 1), (256, 1, 1), (VOID, INT, INT), (int(data), 7, 256), first)
    check(cu.cuEventRecord(end, first))
    busy = [cu.cuStreamQuery(first)[0].name, cu.cuEventQuery(end)[0].name]
    early = cu.cuEventElapsedTime(start, end)[0].name
    # The second stream may read only after the first has added.
    check(cu.cuStreamWaitEvent(second, end, 0))
    back = np.zeros(256, dtype=np.int32)
    check(cu.cuMemcpyDtoHAsync(back.ctypes.data, data, back.nbytes, second))
    check(cu.cuStreamSynchronize(second))
    check(cu.cuEventSynchronize(end))
    answer = {
        "busy": [*busy, early],
        "waited": bool((back == 7).all()),
        "milliseconds": check(cu.cuEventElapsedTime(start, end)),
        "done": [cu.cuStreamQuery(first)[0].name, cu.cuEventQuery(end)[0].name],
        "flags": check(cu.cuStreamGetFlags(first)),
    }
    check(cu.cuStreamDestroy(first))
    check(cu.cuEventDestroy(end))
    answer["ended"] = [cu.cuStreamSynchronize(first)[0].name, cu.cuEventQuery(end)[0].name]
    return answer


def copies():
    """Every size class, up and down, and through pinned memory."""
    use_device()
    rng = np.random.default_rng(2)
    right = {}
    for size in (1, 4080, 4081, 16384, 16385, 1 << 20, (24 << 20) + 3):
        data = rng.integers(0, 255, size, dtype=np.uint8)
        pointer = upload(data)
        right[str(size)] = bool((download(pointer, data) == data).all())
        other = check(cu.cuMemAlloc(size))
        check(cu.cuMemcpyDtoD(other, pointer, size))
        right[f"{size} device"] = bool((download(other, data) == data).all())
        check(cu.cuMemFree(pointer))
        check(cu.cuMemFree(other))
    right["pinned"] = _pinned(rng, 1 << 20)
    right["pinned, more than the arena"] = _pinned(rng, 48 << 20)
    return right


def _pinned(rng, size):
    stream = check(cu.cuStreamCreate(0))
    data = rng.integers(0, 255, size, dtype=np.uint8)
    host = check(cu.cuMemHostAlloc(size, 0))
    view = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(host))
    view[:] = data
    pointer = check(cu.cuMemAlloc(size))
    check(cu.cuMemcpyHtoDAsync(pointer, host, size, stream))
    check(cu.cuStreamSynchronize(stream))
    view[:] = 0
    check(cu.cuMemcpyDtoHAsync(host, pointer, size, stream))
    check(cu.cuStreamSynchronize(stream))
    right = bool((view == data).all())
    del view
    check(cu.cuMemFreeHost(host))
    check(cu.cuMemFree(pointer))
    return right


def captured():
    """Pageable data may change as soon as the asynchronous copy has returned."""
    use_device()
    spin = load("spin")
    stream = check(cu.cuStreamCreate(1))
    right = []
    for size in (100, 10_000, 3 << 20):
        data = np.full(size, 1, dtype=np.uint8)
        pointer = check(cu.cuMemAlloc(size))
        launch(spin, (1, 1, 1), (1, 1, 1), (LONG,), (30_000_000,), stream)
        check(cu.cuMemcpyHtoDAsync(pointer, data.ctypes.data, size, stream))
        data[:] = 2
        check(cu.cuStreamSynchronize(stream))
        right.append(bool((download(pointer, data) == 1).all()))
    return {"right": right}


def sets():
    use_device()
    pointer = check(cu.cuMemAlloc(4096))
    check(cu.cuMemsetD8(pointer, 0xAB, 4096))
    check(cu.cuMemsetD16(int(pointer) + 16, 0x1234, 4))
    check(cu.cuMemsetD32(int(pointer) + 32, 0xDEADBEEF, 2))
    check(cu.cuMemsetD2D8(int(pointer) + 64, 64, 1, 3, 4))
    got = download(pointer, np.empty(4096, dtype=np.uint8))
    wanted = np.full(4096, 0xAB, dtype=np.uint8)
    wanted[16:24] = np.frombuffer(np.full(4, 0x1234, dtype=np.uint16).tobytes(), dtype=np.uint8)
    wanted[32:40] = np.frombuffer(np.full(2, 0xDEADBEEF, dtype=np.uint32).tobytes(), dtype=np.uint8)
    for row in range(4):
        wanted[64 + 64 * row : 67 + 64 * row] = 1
    box = cu.CUDA_MEMCPY2D()
    box.srcMemoryType = cu.CUmemorytype.CU_MEMORYTYPE_DEVICE
    box.srcDevice, box.srcPitch = int(pointer) + 64, 64
    out = np.zeros((4, 3), dtype=np.uint8)
    box.dstMemoryType = cu.CUmemorytype.CU_MEMORYTYPE_HOST
    box.dstHost, box.dstPitch, box.WidthInBytes, box.Height = out.ctypes.data, 3, 3, 4
    check(cu.cuMemcpy2D(box))
    return {
        "sets": bool((got == wanted).all()),
        "rectangle": bool((out == 1).all()),
        "beyond": cu.cuMemsetD8(int(pointer) + 1, 0, 4096)[0].name,
        "unaligned": cu.cuMemsetD32(int(pointer) + 1, 0, 1)[0].name,
    }


def functions():
    use_device()
    image = Path(sys.argv[2]).read_bytes()
    module = check(cu.cuModuleLoadData(image))
    mixed = check(cu.cuModuleGetFunction(module, b"mixed"))
    places = []
    while (answer := cu.cuFuncGetParamInfo(mixed, len(places)))[0] == SUCCESS:
        places.append(answer[1:])
    out = upload(np.zeros(1))
    types = (VOID, ctypes.c_int8, ctypes.c_int16, INT, LONG, ctypes.c_float, ctypes.c_double)
    launch(mixed, (1, 1, 1), (1, 1, 1), types, (int(out), 1, 2, 3, 4, 5.0, 6.0))
    count = check(cu.cuModuleGetFunction(module, b"count"))
    launch(count, (1, 1, 1), (1, 1, 1), (INT,), (41,))
    address, size = check(cu.cuModuleGetGlobal(module, b"counter"))
    counter = download(address, np.zeros(size // 4, dtype=np.int32))
    most = cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK
    answer = {
        "places": places,
        "mixed": float(download(out, np.zeros(1))[0]),
        "counter": counter.tolist(),
        "most_threads": check(cu.cuFuncGetAttribute(most, mixed)),
        "occupancy": check(cu.cuOccupancyMaxActiveBlocksPerMultiprocessor(mixed, 64, 0)),
        "no_function": cu.cuModuleGetFunction(module, b"no such")[0].name,
        "no_image": cu.cuModuleLoadData(b"\x7fELF" + bytes(100))[0].name,
    }
    library = check(cu.cuLibraryLoadData(image, [], [], 0, [], [], 0))
    kernel = check(cu.cuLibraryGetKernel(library, b"mixed"))
    launch(
        check(cu.cuKernelGetFunction(kernel)),
        (1, 1, 1),
        (1, 1, 1),
        types,
        (int(out), 2, 2, 3, 4, 5.0, 6.0),
    )
    answer["kernel"] = float(download(out, np.zeros(1))[0])
    check(cu.cuLibraryUnload(library))
    check(cu.cuModuleUnload(module))
    answer["after_unload"] = cu.cuFuncGetAttribute(most, mixed)[0].name
    answer["global_after_unload"] = cu.cuMemcpyHtoD(address, counter.ctypes.data, 4)[0].name
    return answer


def contexts():
    device, primary = use_device()
    before = check(cu.cuMemGetInfo())[0]
    own = check(cu.cuCtxCreate(None, 0, device))
    current = check(cu.cuCtxGetCurrent())
    check(cu.cuMemAlloc(1 << 20))
    module = check(cu.cuModuleLoadData(Path(sys.argv[2]).read_bytes()))
    inside = check(cu.cuMemGetInfo())[0]
    check(cu.cuCtxDestroy(own))
    back = check(cu.cuCtxGetCurrent())
    return {
        "own_is_current": int(current) == int(own),
        "taken": before - inside,
        "left": before - check(cu.cuMemGetInfo())[0],
        "primary_is_back": int(back) == int(primary),
        "dead": cu.cuCtxSetCurrent(own)[0].name,
        "dead_module": cu.cuModuleGetFunction(module, b"add")[0].name,
        "none_to_pop": [cu.cuCtxPopCurrent()[0].name, cu.cuCtxPopCurrent()[0].name],
        "without": cu.cuMemAlloc(1)[0].name,
    }


def flood():
    """Far more one-way calls than the ring holds."""
    use_device()
    add = load("add")
    data = upload(np.zeros(64, dtype=np.int32))
    packed = ((int(data), 1, 64), (VOID, INT, INT))
    for _ in range(30_000):
        cu.cuLaunchKernel(add, 1, 1, 1, 64, 1, 1, 0, 0, packed, 0)
    check(cu.cuCtxSynchronize())
    return {"sum": download(data, np.zeros(64, dtype=np.int32)).tolist()[:3]}


def misuse():
    """Each is refused, and the session goes on."""
    use_device()
    add = load("add")
    data = upload(np.zeros(64, dtype=np.int32))
    buffer = np.zeros(64, dtype=np.int32)
    packed = ((int(data), 1, 64), (VOID, INT, INT))
    answers = {
        "stream": cu.cuStreamSynchronize(cu.CUstream(0x1234))[0].name,
        "event as stream": cu.cuStreamSynchronize(cu.CUstream(int(check(cu.cuEventCreate(0)))))[0].name,
        "no block": cu.cuLaunchKernel(add, 1, 1, 1, 0, 1, 1, 0, 0, packed, 0)[0].name,
        "no pointer": cu.cuMemcpyDtoH(buffer.ctypes.data, 0x1000, 4)[0].name,
        "too long": cu.cuMemcpyDtoH(buffer.ctypes.data, data, 257)[0].name,
        "no bytes": cu.cuMemAlloc(0)[0].name,
        "foreign free": cu.cuMemFree(int(data) + 4)[0].name,
        "too many threads": cu.cuLaunchKernel(add, 1, 1, 1, 1 << 20, 1, 1, 0, 0, packed, 0)[0].name,
    }
    # Only the device knows how much memory a block may share.
    answers["too much shared"] = cu.cuLaunchKernel(add, 1, 1, 1, 1, 1, 1, 1 << 30, 0, packed, 0)[0].name
    answers["deferred"] = cu.cuCtxSynchronize()[0].name
    answers["then"] = cu.cuCtxSynchronize()[0].name
    answers["product"] = matrix_product(64)["error"] < 1e-3
    return answers


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
    address = {
        name: ctypes.cast(getattr(library, name), VOID).value
        for name in ("cuCtxGetDevice", "cuCtxGetDevice_v2", "cuMemAlloc_v2", "cuLaunchKernel", "cuLaunchKernel_ptsz",
                     "cuCtxCreate_v2", "cuCtxCreate_v4", "cuMemcpyHtoD_v2", "cuMemcpyHtoD_v2_ptds")
    }  # fmt: skip
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
        if _asked(name.encode(), version, flags) != address[symbol]
    ]
    return {"wrong": wrong, "too old": str(cu.cuGetProcAddress(b"cuLaunchKernelEx", 11000, 0)[2])}


def per_thread():
    """The thread's own default stream does not wait for another thread's."""
    _, context = use_device()
    spin = load("spin")
    launch(spin, (1, 1, 1), (1, 1, 1), (LONG,), (300_000_000,), 2)
    order = []

    def other():
        check(cu.cuCtxSetCurrent(context))
        launch(spin, (1, 1, 1), (1, 1, 1), (LONG,), (1000,), 2)
        check(cu.cuStreamSynchronize(2))
        order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    busy = cu.cuStreamQuery(2)[0].name
    check(cu.cuStreamSynchronize(2))
    return {"order": order, "mine": busy}


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
        "at": time.time(),
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
    """Wait in a call for a kernel that takes far longer than the test."""
    use_device()
    launch(load("spin"), (1, 1, 1), (1, 1, 1), (LONG,), (60_000_000_000,))
    print("working", flush=True)
    error = cu.cuCtxSynchronize()[0].name
    return {"at": time.time(), "errors": [error]}


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


def busy():
    """Keep the device as busy as it lets us, for about two seconds."""
    use_device()
    spin = load("spin")
    begun = time.monotonic()
    while time.monotonic() - begun < 2:
        launch(spin, (1, 1, 1), (1, 1, 1), (LONG,), (2_000_000,))
        check(cu.cuCtxSynchronize())
    return {"seconds": time.monotonic() - begun}


if __name__ == "__main__":
    if sys.argv[1] != "init":
        check(cu.cuInit(0))
    print(json.dumps(globals()[sys.argv[1]]()))
