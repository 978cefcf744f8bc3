"""Kernels, streams, threads, devices."""

import ctypes
import json
import mmap
import os
import sys
import threading
from pathlib import Path

import numpy as np
from cuda.bindings import driver as cu

from tools import (
    INT,
    LONG,
    SUCCESS,
    VOID,
    Gate,
    check,
    download,
    launch,
    load,
    matrix_product,
    upload,
    use_device,
)


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


def addresses_of_two():
    """Allocate on two devices by turns, and fill each piece with a number of its own."""
    contexts = [use_device(ordinal)[1] for ordinal in range(2)]
    ordinal_of = cu.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    held = []
    for number in range(8):
        check(cu.cuCtxSetCurrent(contexts[number % 2]))
        held.append((upload(data := np.full(1 << 18, number, dtype=np.int32)), data))
    answer = {
        "ordinals": [check(cu.cuPointerGetAttribute(ordinal_of, pointer)) for pointer, _ in held],
        "right": [bool((download(pointer, data) == data).all()) for pointer, data in held],
    }
    for pointer, _ in held:
        check(cu.cuMemFree(pointer))
    answer["free"] = []
    for context in contexts:
        check(cu.cuCtxSetCurrent(context))
        answer["free"].append(check(cu.cuMemGetInfo())[0])
    return answer


def own_memory_at_the_devices_addresses():
    """A child, whose device allocates like its parent's, takes those addresses first."""
    use_device()
    size = 1 << 20
    address = int(check(cu.cuMemAlloc(size))) // mmap.PAGESIZE * mmap.PAGESIZE
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, json.dumps(_beside_own_memory(address, size)).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    return json.loads(os.read(reader, 4096))


def _beside_own_memory(address, size):
    library = ctypes.CDLL(None)
    library.mmap.restype, library.mmap.argtypes = VOID, (VOID, LONG, INT, INT, INT, LONG)
    fixed_noreplace = 0x100000
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | fixed_noreplace
    assert library.mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) == address
    ctypes.memset(address, 7, size)
    check(cu.cuInit(0))
    use_device()
    pointer = upload(np.zeros(size, dtype=np.uint8))
    return {
        "apart": abs(int(pointer) - address) >= size,
        "kept": ctypes.string_at(address, size) == bytes([7]) * size,
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
    before = check(cu.cuMemGetInfo())[0]
    started = [threading.Thread(target=_thread, args=(context, function, n, results)) for n in range(8)]
    for one in started:
        one.start()
    for one in started:
        one.join()
    left = before - check(cu.cuMemGetInfo())[0]
    return {"right": results.count(True), "all": len(results), "left": left}


def streams_and_events():
    use_device()
    gate, add = Gate(), load("add")
    first, second = (check(cu.cuStreamCreateWithPriority(1, -1)) for _ in range(2))
    start, end = (check(cu.cuEventCreate(0)) for _ in range(2))
    data = upload(np.zeros(256, dtype=np.int32))
    check(cu.cuEventRecord(start, first))
    launch(load("spin"), (1, 1, 1), (1, 1, 1), (LONG,), (50_000_000,), first)
    gate.close(first)
    launch(add, (1, 1, 1), (256, 1, 1), (VOID, INT, INT), (int(data), 7, 256), first)
    check(cu.cuEventRecord(end, first))
    busy = [cu.cuStreamQuery(first)[0].name, cu.cuEventQuery(end)[0].name]
    early = cu.cuEventElapsedTime(start, end)[0].name
    # The second stream may read only after the first has added.
    check(cu.cuStreamWaitEvent(second, end, 0))
    gate.open()
    back = np.zeros(256, dtype=np.int32)
    check(cu.cuMemcpyDtoHAsync(back.ctypes.data, data, back.nbytes, second))
    check(cu.cuStreamSynchronize(second))
    check(cu.cuEventSynchronize(end))
    check(cu.cuStreamSynchronize(first))
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


def _potential_block(function):
    """Ask the library itself: the bindings want a callback."""
    grid, block = INT(), INT()
    ask = ctypes.CDLL("libcuda.so.1").cuOccupancyMaxPotentialBlockSize
    error = ask(
        ctypes.byref(grid), ctypes.byref(block), VOID(int(function)), None, ctypes.c_size_t(0), 100
    )
    return [error, grid.value > 0, block.value]


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
        "potential": _potential_block(mixed),
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


def images():
    """Files that end early, at every place near a header's end and some others."""
    use_device()
    image = Path(sys.argv[2]).read_bytes()
    path = Path(sys.argv[3])
    lengths = [*range(80), *range(80, len(image), len(image) // 40), len(image) - 2]
    answers = set()
    for length in lengths:
        path.write_bytes(image[:length])
        answers.add(cu.cuModuleLoad(str(path).encode())[0].name)
    path.write_bytes(b"// no NUL behind this text")
    text = cu.cuModuleLoad(str(path).encode())[0].name
    path.write_bytes(image)
    return {"cut": sorted(answers), "text": text, "whole": cu.cuModuleLoad(str(path).encode())[0].name}


def library():
    """Libraries are no context's: loaded with none, alive after one."""
    image = Path(sys.argv[2]).read_bytes()
    first = check(cu.cuLibraryLoadData(image, [], [], 0, [], [], 0))
    device, _ = use_device()
    own = check(cu.cuCtxCreate(None, 0, device))
    second = check(cu.cuLibraryLoadData(image, [], [], 0, [], [], 0))
    check(cu.cuCtxDestroy(own))
    sums = []
    for one in (first, second):
        data = upload(np.zeros(64, dtype=np.int32))
        add = check(cu.cuKernelGetFunction(check(cu.cuLibraryGetKernel(one, b"add"))))
        launch(add, (1, 1, 1), (64, 1, 1), (VOID, INT, INT), (int(data), 3, 64))
        sums.append(int(download(data, np.zeros(64, dtype=np.int32)).sum()))
    return {"sums": sums}


def launch_attributes():
    """Those with handles of the program are refused at the launch, plain ones go through."""
    use_device()
    nothing = load("nothing")
    ids = cu.CUlaunchAttributeID

    def try_one(kind):
        attribute, config = cu.CUlaunchAttribute(), cu.CUlaunchConfig()
        attribute.id = kind
        config.gridDimX = config.gridDimY = config.gridDimZ = 1
        config.blockDimX = config.blockDimY = config.blockDimZ = 1
        config.attrs, config.numAttrs = [attribute], 1
        return cu.cuLaunchKernelEx(config, nothing, ((0,), (INT,)), 0)[0].name

    return {
        "event": try_one(ids.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT),
        "after": cu.cuCtxSynchronize()[0].name,
        "serialization": try_one(ids.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION),
    }


def contexts():
    device, primary = use_device()
    before = check(cu.cuMemGetInfo())[0]
    own = check(cu.cuCtxCreate(None, 0, device))
    current = check(cu.cuCtxGetCurrent())
    pointer, context = check(cu.cuMemAlloc(1 << 20)), cu.CUpointer_attribute.CU_POINTER_ATTRIBUTE_CONTEXT
    inside = check(cu.cuMemGetInfo())[0]
    module = check(cu.cuModuleLoadData(Path(sys.argv[2]).read_bytes()))
    variable = check(cu.cuModuleGetGlobal(module, b"counter"))[0]
    pointers = [
        int(check(cu.cuPointerGetAttribute(context, one))) == int(own) for one in (pointer, variable)
    ]
    check(cu.cuCtxDestroy(own))
    back = check(cu.cuCtxGetCurrent())
    return {
        "own_is_current": int(current) == int(own),
        "pointers": pointers,
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


def per_thread():
    """The thread's own default stream does not wait for another thread's."""
    _, context = use_device()
    gate, nothing = Gate(), load("nothing")
    gate.close(2)
    order = []

    def other():
        check(cu.cuCtxSetCurrent(context))
        launch(nothing, (1, 1, 1), (1, 1, 1), (INT,), (0,), 2)
        check(cu.cuStreamSynchronize(2))
        order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    busy = cu.cuStreamQuery(2)[0].name
    gate.open()
    check(cu.cuStreamSynchronize(2))
    return {"order": order, "mine": busy}
