"""Memory, copies, memsets."""

import ctypes
import sys
import threading
from pathlib import Path

import numpy as np
from cuda.bindings import driver as cu

from tools import LONG, Gate, check, download, launch, load, matrix_product, upload, use_device


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


def copies_beside_a_wait():
    """A thread whose copy out waits for its stream, and one whose upload fills the staging memory."""
    _, context = use_device()
    gate, other = Gate(), check(cu.cuStreamCreate(1))
    mine = [check(cu.cuStreamCreate(1)) for _ in range(2)]
    data = np.arange(1 << 16, dtype=np.int32)
    pointer, into, much = upload(data), np.zeros_like(data), np.ones(8 << 20, dtype=np.uint8)
    large = check(cu.cuMemAlloc(much.nbytes))
    # An upload may return before it has arrived, and the streams wait for no other.
    check(cu.cuCtxSynchronize())
    gate.close(mine[0])
    gate.close(mine[1])

    def copy_out():
        check(cu.cuCtxSetCurrent(context))
        check(cu.cuMemcpyDtoHAsync(into.ctypes.data, pointer, into.nbytes, mine[0]))

    def fill():
        check(cu.cuCtxSetCurrent(context))
        check(cu.cuMemcpyHtoDAsync(large, much.ctypes.data, much.nbytes, mine[1]))

    threads = [threading.Thread(target=one) for one in (copy_out, fill)]
    for one in threads:
        one.start()
    back = np.zeros_like(data)
    for _ in range(50):
        check(cu.cuMemcpyDtoHAsync(back.ctypes.data, pointer, back.nbytes, other))
    waiting = [cu.cuStreamQuery(stream)[0].name for stream in mine]
    gate.open()
    for one in threads:
        one.join()
    check(cu.cuCtxSynchronize())
    return {
        "waiting": waiting,
        "right": bool((back == data).all() and (into == data).all()),
        "large": bool((download(large, much) == much).all()),
    }


def rectangles():
    """Rectangles that are empty, or whose rows are not all in one piece of memory."""
    use_device()
    pointer = int(check(cu.cuMemAlloc(4096)))
    out = np.full(4096, 9, dtype=np.uint8)

    def copy(width, height, pitch=64, y=0, kind=cu.CUmemorytype.CU_MEMORYTYPE_DEVICE):
        box = cu.CUDA_MEMCPY2D()
        box.srcMemoryType, box.srcDevice, box.srcPitch, box.srcY = kind, pointer, pitch, y
        box.dstMemoryType = cu.CUmemorytype.CU_MEMORYTYPE_HOST
        box.dstHost, box.dstPitch, box.WidthInBytes, box.Height = out.ctypes.data, 64, width, height
        return cu.cuMemcpy2D(box)[0].name

    unified = cu.CUmemorytype.CU_MEMORYTYPE_UNIFIED
    return {
        "empty": [copy(0, 1 << 62), copy(1 << 40, 0)],
        "beyond": [copy(64, 65), copy(64, 65, kind=unified), copy(1, 3, pitch=2048)],
        "overflow": [copy(4, 3, pitch=1 << 63), copy(1, 1, y=1 << 60), copy((1 << 64) - 1, 2)],
        "untouched": bool((out == 9).all()),
        "whole": copy(64, 64),
    }


def pinned_in_use():
    """Free a pinned block that is being written, while an earlier call's error is still to be told."""
    use_device()
    spin, stream = load("spin"), check(cu.cuStreamCreate(1))
    host = check(cu.cuMemHostAlloc(1 << 20, 0))
    pointer = check(cu.cuMemAlloc(1 << 20))
    launch(spin, (1, 1, 1), (1, 1, 1), (LONG,), (300_000_000,), stream)
    check(cu.cuMemcpyDtoHAsync(host, pointer, 1 << 20, stream))
    check(cu.cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 1 << 30, stream, ((0,), (LONG,)), 0))
    return {
        "free": cu.cuMemFreeHost(host)[0].name,
        "stream": cu.cuStreamQuery(stream)[0].name,
        "then": cu.cuCtxSynchronize()[0].name,
    }


def limits():
    """Raising a limit takes device memory, so it is charged as such."""
    use_device()
    heap = cu.CUlimit.CU_LIMIT_MALLOC_HEAP_SIZE
    free = check(cu.cuMemGetInfo())[0]
    before = check(cu.cuCtxGetLimit(heap))
    check(cu.cuCtxSetLimit(heap, before + (8 << 20)))
    raised = check(cu.cuMemGetInfo())[0]
    beyond = cu.cuCtxSetLimit(heap, before + (1 << 40))[0].name
    check(cu.cuCtxSetLimit(heap, before))
    return {
        "taken": free - raised,
        "beyond": beyond,
        "left": free - check(cu.cuMemGetInfo())[0],
    }


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
        "overflow": [
            cu.cuMemsetD32(pointer, 0, (1 << 62) + 1)[0].name,
            cu.cuMemsetD2D8(pointer, 1 << 63, 0, 4, 3)[0].name,
            cu.cuMemsetD2D32(pointer, 1 << 32, 0, 1, (1 << 32) + 1)[0].name,
        ],
    }


SMALL, LARGE, PINNED = 512, 20 << 20, 1 << 20


def _everywhere():
    """Return memory of all kinds: device, in small and large pieces; a module's variable; pinned."""
    pieces = [(check(cu.cuMemAlloc(size)), size) for size in [SMALL] * 100 + [LARGE] * 2]
    module = check(cu.cuModuleLoadData(Path(sys.argv[2]).read_bytes()))
    pieces.append(check(cu.cuModuleGetGlobal(module, b"counter")))
    return pieces, check(cu.cuMemHostAlloc(PINNED, 0))


def dirty():
    """Write everywhere, then wait."""
    use_device()
    pieces, pinned = _everywhere()
    for pointer, size in pieces:
        check(cu.cuMemsetD8(pointer, 0xA5, size))
    ctypes.memset(int(pinned), 0xA5, PINNED)
    upload(np.full(LARGE, 0xA5, np.uint8))
    check(cu.cuCtxSynchronize())
    print("working", flush=True)
    sys.stdin.readline()
    return {}


def residue():
    """Return how many bytes are not 0 in memory that this program has not written."""
    use_device()
    pieces, pinned = _everywhere()
    found = sum(int(np.count_nonzero(download(at, np.empty(size, np.uint8)))) for at, size in pieces)
    return {"device": found, "pinned": sum(map(bool, ctypes.string_at(int(pinned), PINNED)))}


def recycled():
    """Return how many bytes of memory that was freed and allocated again are not 0.

    Pieces of less than a page, between others that stay: the reference device gives these out as they
    are when it has come to the end of its addresses.
    """
    use_device()
    pieces = [check(cu.cuMemAlloc(SMALL)) for _ in range(16)]
    for piece in pieces:
        check(cu.cuMemsetD8(piece, 0xA5, SMALL))
    for piece in pieces[::2]:
        check(cu.cuMemFree(piece))
    again = [check(cu.cuMemAlloc(SMALL))]
    while int(again[0]) > int(pieces[-1]):
        check(cu.cuMemFree(again.pop()))
        again.append(check(cu.cuMemAlloc(SMALL)))
    again += [check(cu.cuMemAlloc(SMALL)) for _ in range(8)]
    found = [np.count_nonzero(download(piece, np.empty(SMALL, np.uint8))) for piece in again]
    return {"not_zero": int(sum(found))}
