"""Programs that use a CUDA device through NVIDIA's cuda-bindings and know nothing of gpupool.

``python -m tests.unit.refcuda.programs NAME`` runs one; KERNELS names the image of native/kernels.c.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cuda.bindings import driver

MIB = 1 << 20
Result = driver.CUresult


def check(answer: tuple[Any, ...]) -> Any:
    """What a call returned, without the result, which has to be success."""
    assert answer[0] == Result.CUDA_SUCCESS, answer[0]
    return answer[1] if len(answer) == 2 else answer[1:]


def refused(result: Any, answer: tuple[Any, ...]) -> None:
    assert answer[0] == result, (answer[0], result)


def create_context(device: int = 0) -> Any:
    """The call has one argument more since version 13 of the bindings."""
    if "ctxCreateParams" in (driver.cuCtxCreate.__doc__ or ""):
        return check(driver.cuCtxCreate(None, 0, device))
    return check(driver.cuCtxCreate(0, device))


def begin() -> Any:
    check(driver.cuInit(0))
    return create_context()


def kernel(name: str) -> Any:
    module = check(driver.cuModuleLoadData(Path(os.environ["KERNELS"]).read_bytes()))
    return check(driver.cuModuleGetFunction(module, name.encode()))


def launch(
    function: Any, grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: Any, **more: int
) -> None:
    """Arguments: (value, ctypes type) each; None as the type for a handle or an address."""
    values, types = zip(*arguments, strict=True) if arguments else ((), ())
    check(
        driver.cuLaunchKernel(
            function, *grid, *block, more.get("shared", 0), more.get("stream", 0), (values, types), 0
        )
    )


def upload(array: np.ndarray) -> Any:
    address = check(driver.cuMemAlloc(array.nbytes))
    check(driver.cuMemcpyHtoD(address, array, array.nbytes))
    return address


def download(address: Any, like: np.ndarray) -> np.ndarray:
    result = np.empty_like(like)
    check(driver.cuMemcpyDtoH(result, address, result.nbytes))
    return result


def matrix_product() -> None:
    begin()
    module = check(driver.cuModuleLoad(os.environ["MATMUL"].encode()))
    function = check(driver.cuModuleGetFunction(module, b"matmul"))
    random = np.random.default_rng(1)
    for n, tile in ((1, 16), (100, 16), (257, 32), (64, 7)):
        a, b = (random.random((n, n), dtype=np.float32) for _ in range(2))
        c = upload(np.full((n, n), np.nan, dtype=np.float32))
        blocks = -(-n // tile)
        launch(
            function,
            (blocks, blocks, 1),
            (tile, tile, 1),
            *((upload(matrix), None) for matrix in (a, b)),
            (c, None),
            (n, ctypes.c_int),
        )
        np.testing.assert_allclose(download(c, a), a @ b, rtol=1e-4)


def devices() -> None:
    check(driver.cuInit(0))
    assert check(driver.cuDeviceGetCount()) == 2
    assert check(driver.cuDriverGetVersion()) == 13000
    identities = set()
    for ordinal in range(2):
        device = check(driver.cuDeviceGet(ordinal))
        assert b"simulated" in check(driver.cuDeviceGetName(100, device))
        assert check(driver.cuDeviceTotalMem(device)) == 64 * MIB
        identities.add(bytes(check(driver.cuDeviceGetUuid(device)).bytes))
        bus = check(driver.cuDeviceGetPCIBusId(13, device))
        assert int(check(driver.cuDeviceGetByPCIBusId(bus))) == ordinal
    assert len(identities) == 2
    attribute = driver.CUdevice_attribute
    assert check(driver.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0)) == 3
    assert check(driver.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 0)) == 0
    refused(Result.CUDA_ERROR_INVALID_DEVICE, driver.cuDeviceGet(2))
    refused(Result.CUDA_ERROR_INVALID_DEVICE, driver.cuDeviceGet(-1))


def names() -> None:
    for result in (Result.CUDA_SUCCESS, Result.CUDA_ERROR_OUT_OF_MEMORY, Result.CUDA_ERROR_UNKNOWN):
        assert check(driver.cuGetErrorName(result)).decode() == result.name
        assert check(driver.cuGetErrorString(result))
    check(driver.cuInit(0))
    for attribute in driver.CUdevice_attribute:
        if int(attribute) <= 147:
            check(driver.cuDeviceGetAttribute(attribute, 0))


def resolve() -> None:
    """By name, version and flags, as the runtimes of CUDA 11 to 13 ask."""
    library = ctypes.CDLL("libcuda.so.1")

    def address(exported: str) -> int | None:
        return ctypes.cast(getattr(library, exported), ctypes.c_void_p).value

    def find(name: bytes, version: int, flags: int = 0) -> tuple[int, int | None, int]:
        function, status = ctypes.c_void_p(), ctypes.c_int(-1)
        result = library.cuGetProcAddress_v2(
            name, ctypes.byref(function), version, ctypes.c_uint64(flags), ctypes.byref(status)
        )
        return result, function.value, status.value

    for name, version, flags, exported in (
        (b"cuMemAlloc", 3020, 0, "cuMemAlloc_v2"),
        (b"cuMemAlloc", 13000, 2, "cuMemAlloc_v2"),
        (b"cuCtxGetDevice", 12080, 0, "cuCtxGetDevice"),
        (b"cuCtxGetDevice", 13000, 0, "cuCtxGetDevice_v2"),
        (b"cuCtxCreate", 11030, 0, "cuCtxCreate_v2"),
        (b"cuCtxCreate", 11040, 0, "cuCtxCreate_v3"),
        (b"cuCtxCreate", 12050, 0, "cuCtxCreate_v4"),
        (b"cuGetProcAddress", 11030, 0, "cuGetProcAddress"),
        (b"cuGetProcAddress", 12000, 0, "cuGetProcAddress_v2"),
        (b"cuLaunchKernel", 12000, 0, "cuLaunchKernel"),
        (b"cuLaunchKernel", 12000, 1, "cuLaunchKernel"),
        (b"cuLaunchKernel", 12000, 2, "cuLaunchKernel_ptsz"),
        (b"cuLaunchKernel", 4000, 2, "cuLaunchKernel"),
        (b"cuMemcpyHtoD", 12000, 2, "cuMemcpyHtoD_v2_ptds"),
        (b"cuStreamGetCtx", 12050, 2, "cuStreamGetCtx_v2_ptsz"),
    ):
        assert find(name, version, flags) == (0, address(exported), 0), name
    assert find(b"cuNoSuchFunction", 13000) == (0, None, 1)
    assert find(b"cuLaunchKernelEx", 11000) == (0, None, 2)
    assert find(b"cuMemAlloc", 13010) == (1, None, -1)
    assert find(b"cuMemAlloc", 13000, 3)[0] == 1
    assert address("cuMemAlloc") == address("cuMemAlloc_v2")
    function = ctypes.c_void_p()
    missing = (b"cuNoSuchFunction", ctypes.byref(function), 13000, ctypes.c_uint64(0))
    assert library.cuGetProcAddress(*missing) == Result.CUDA_ERROR_NOT_FOUND
    assert library.cuGetProcAddress(b"cuInit", *missing[1:]) == 0
    assert function.value == address("cuInit")


def not_initialized() -> None:
    refused(Result.CUDA_ERROR_NOT_INITIALIZED, driver.cuDeviceGetCount())
    refused(Result.CUDA_ERROR_NOT_INITIALIZED, driver.cuMemAlloc(1))
    refused(Result.CUDA_ERROR_INVALID_VALUE, driver.cuInit(1))
    check(driver.cuInit(0))
    refused(Result.CUDA_ERROR_INVALID_CONTEXT, driver.cuMemAlloc(1))


def forked() -> None:
    begin()
    child = os.fork()
    if not child:
        try:
            refused(Result.CUDA_ERROR_NOT_INITIALIZED, driver.cuInit(0))
            refused(Result.CUDA_ERROR_NOT_INITIALIZED, driver.cuMemAlloc(1))
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    check(driver.cuMemAlloc(1))


def out_of_memory() -> None:
    begin()
    refused(Result.CUDA_ERROR_OUT_OF_MEMORY, driver.cuMemAlloc(65 * MIB))
    first = check(driver.cuMemAlloc(40 * MIB))
    refused(Result.CUDA_ERROR_OUT_OF_MEMORY, driver.cuMemAlloc(25 * MIB))
    assert check(driver.cuMemGetInfo()) == (24 * MIB, 64 * MIB)
    check(driver.cuMemsetD8(first, 1, 40 * MIB))
    check(driver.cuMemFree(first))
    check(driver.cuMemAlloc(64 * MIB))
    create_context(1)
    assert check(driver.cuMemGetInfo()) == (64 * MIB, 64 * MIB)


def gate() -> tuple[Any, Any, Any]:
    """A kernel that runs until a flag in pinned memory is set: its function, the flag, its address."""
    memory = check(driver.cuMemHostAlloc(4, 0))
    address = memory if isinstance(memory, int) else int(memory)
    flag = ctypes.c_int.from_address(address)
    flag.value = 0
    return kernel("wait_for_flag"), flag, check(driver.cuMemHostGetDevicePointer(memory, 0))


def asynchrony() -> None:
    begin()
    function, flag, address = gate()
    held, free = (check(driver.cuStreamCreate(1)) for _ in range(2))
    done = check(driver.cuEventCreate(0))
    data = upload(np.zeros(4, np.uint8))
    launch(function, (1, 1, 1), (1, 1, 1), (address, None), stream=held)
    check(driver.cuMemsetD8Async(data, 1, 4, held))
    check(driver.cuEventRecord(done, held))
    refused(Result.CUDA_ERROR_NOT_READY, driver.cuStreamQuery(held))
    refused(Result.CUDA_ERROR_NOT_READY, driver.cuEventQuery(done))
    check(driver.cuMemsetD8Async(data, 2, 4, free))
    check(driver.cuStreamSynchronize(free))
    assert list(download(data, np.empty(4, np.uint8))) == [2] * 4
    check(driver.cuStreamWaitEvent(free, done, 0))
    check(driver.cuMemsetD8Async(data, 3, 2, free))
    flag.value = 1
    check(driver.cuStreamSynchronize(free))
    assert list(download(data, np.empty(4, np.uint8))) == [3, 3, 1, 1]


def event_times() -> None:
    """Between what passed for certain between the events, and what the program saw pass around them."""
    begin()
    function, flag, address = gate()
    stream = check(driver.cuStreamCreate(0))
    start, end, never, timeless = (check(driver.cuEventCreate(flags)) for flags in (0, 0, 0, 2))
    before = time.monotonic()
    check(driver.cuEventRecord(start, stream))
    launch(function, (1, 1, 1), (1, 1, 1), (address, None), stream=stream)
    check(driver.cuEventRecord(end, stream))
    check(driver.cuEventRecord(timeless, stream))
    check(driver.cuEventSynchronize(start))
    reached = time.monotonic()
    time.sleep(0.02)
    slept = time.monotonic() - reached
    flag.value = 1
    check(driver.cuEventSynchronize(end))
    passed = time.monotonic() - before
    milliseconds = check(driver.cuEventElapsedTime(start, end))
    assert slept * 1000 <= milliseconds * 1.001
    assert milliseconds <= passed * 1000 * 1.001
    assert check(driver.cuEventElapsedTime(end, start)) == -milliseconds
    refused(Result.CUDA_ERROR_INVALID_HANDLE, driver.cuEventElapsedTime(start, never))
    refused(Result.CUDA_ERROR_INVALID_HANDLE, driver.cuEventElapsedTime(start, timeless))
    check(driver.cuStreamSynchronize(stream))


def grids() -> None:
    """Every thread of every block runs once, with its own indices, whatever the shape."""
    begin()
    function = kernel("identify")
    for grid, block in (((1, 1, 1), (1, 1, 1)), ((7, 3, 2), (5, 2, 3)), ((1000, 1, 1), (64, 1, 1))):
        blocks, threads = int(np.prod(grid)), int(np.prod(block))
        out = upload(np.full(blocks * threads, 0xFFFFFFFF, np.uint32))
        launch(function, grid, block, (out, None))
        wanted = np.arange(blocks)[:, None] * 1000 + np.arange(threads)
        assert (download(out, np.empty(wanted.shape, np.uint32)) == wanted).all()


def shared_memory() -> None:
    begin()
    function = kernel("reverse")
    data = upload(np.arange(256, dtype=np.int32))
    launch(function, (4, 1, 1), (64, 1, 1), (data, None), shared=64 * 4)
    wanted = np.arange(256).reshape(4, 64)[:, ::-1].ravel()
    assert (download(data, np.empty(256, np.int32)) == wanted).all()
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    limit = check(driver.cuFuncGetAttribute(attribute, function))
    parameters = (((data,), (None,)), 0)
    size = (1, 1, 1, 64, 1, 1)
    refused(
        Result.CUDA_ERROR_INVALID_VALUE,
        driver.cuLaunchKernel(function, *size, limit + 1, 0, *parameters),
    )
    check(driver.cuFuncSetAttribute(function, attribute, limit + 1))
    check(driver.cuLaunchKernel(function, *size, limit + 1, 0, *parameters))
    check(driver.cuCtxSynchronize())
    refused(Result.CUDA_ERROR_INVALID_VALUE, driver.cuFuncSetAttribute(function, attribute, 1 << 30))


def parameters() -> None:
    begin()
    function = kernel("collect")
    layout = []
    while True:
        answer = driver.cuFuncGetParamInfo(function, len(layout))
        if answer[0] == Result.CUDA_ERROR_INVALID_VALUE:
            break
        layout.append(check(answer))
    assert layout == [(0, 1), (8, 8), (16, 2), (20, 4), (24, 1), (32, 8)]
    out = upload(np.zeros(5))
    c = ctypes
    values = ((1, c.c_char), (2.5, c.c_double), (-3, c.c_short), (1 << 20, c.c_int), (5, c.c_char))
    launch(function, (1, 1, 1), (1, 1, 1), *values, (out, None))
    assert list(download(out, np.empty(5))) == [1, 2.5, -3, 1 << 20, 5]
    packed(function, out)


def packed(function: Any, out: Any) -> None:
    """The same by a buffer that the program packs."""
    buffer = (ctypes.c_char * 40)()
    for offset, value in (
        (0, ctypes.c_char(7)),
        (8, ctypes.c_double(0.5)),
        (16, ctypes.c_short(-1)),
        (20, ctypes.c_int(9)),
        (24, ctypes.c_char(2)),
        (32, ctypes.c_uint64(int(out))),
    ):
        ctypes.memmove(ctypes.addressof(buffer) + offset, ctypes.byref(value), ctypes.sizeof(value))
    for size, result in ((40, Result.CUDA_SUCCESS), (39, Result.CUDA_ERROR_INVALID_VALUE)):
        count = ctypes.c_size_t(size)
        extra = (ctypes.c_void_p * 5)(1, ctypes.addressof(buffer), 2, ctypes.addressof(count), 0)
        answer = driver.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, 0, 0, ctypes.addressof(extra))
        refused(result, answer)
    assert list(download(out, np.empty(5))) == [7, 0.5, -1, 9, 2]


def bad_launches() -> None:
    begin()
    function = kernel("nothing")
    stream = check(driver.cuStreamCreate(0))
    for grid, block in (
        ((0, 1, 1), (1, 1, 1)),
        ((1, 65536, 1), (1, 1, 1)),
        ((1, 1, 1), (0, 1, 1)),
        ((1, 1, 1), (1025, 1, 1)),
        ((1, 1, 1), (1, 1, 65)),
        ((1, 1, 1), (64, 64, 64)),
        ((1, 1, 1), (65536, 65536, 1)),
    ):
        answer = driver.cuLaunchKernel(function, *grid, *block, 0, 0, 0, 0)
        refused(Result.CUDA_ERROR_INVALID_VALUE, answer)
    one = (1, 1, 1, 1, 1, 1, 0)
    check(driver.cuLaunchKernel(function, *one, stream, 0, 0))
    refused(Result.CUDA_ERROR_INVALID_VALUE, driver.cuLaunchKernel(kernel("scale"), *one, 0, 0, 0))
    refused(Result.CUDA_ERROR_INVALID_HANDLE, driver.cuLaunchKernel(stream, *one, 0, 0, 0))
    refused(Result.CUDA_ERROR_INVALID_HANDLE, driver.cuLaunchKernel(0x1234567, *one, 0, 0, 0))
    refused(Result.CUDA_ERROR_INVALID_HANDLE, driver.cuLaunchKernel(function, *one, 0x1234567, 0, 0))
    create_context()
    refused(Result.CUDA_ERROR_INVALID_HANDLE, driver.cuLaunchKernel(function, *one, 0, 0, 0))


def modules() -> None:
    begin()
    image = Path(os.environ["KERNELS"]).read_bytes()
    module = check(driver.cuModuleLoadData(image))
    assert check(driver.cuModuleGetFunctionCount(module)) == 8
    refused(Result.CUDA_ERROR_NOT_FOUND, driver.cuModuleGetFunction(module, b"no_such_kernel"))
    refused(Result.CUDA_ERROR_NOT_FOUND, driver.cuModuleGetGlobal(module, b"no_such_variable"))
    address, size = check(driver.cuModuleGetGlobal(module, b"table"))
    assert size == 32
    check(driver.cuMemcpyHtoD(address, np.arange(4.0), 32))
    assert list(download(address, np.empty(4))) == [0, 1, 2, 3]
    refused(Result.CUDA_ERROR_FILE_NOT_FOUND, driver.cuModuleLoad(b"/no/such/file"))
    refused(Result.CUDA_ERROR_INVALID_IMAGE, driver.cuModuleLoad(b"/etc/passwd"))
    check(driver.cuModuleUnload(module))
    refused(Result.CUDA_ERROR_INVALID_HANDLE, driver.cuModuleGetFunction(module, b"nothing"))


def bad_images() -> None:
    """Each is refused, and the error log says what was wrong."""
    begin()
    image = Path(os.environ["KERNELS"]).read_bytes()
    for bad, why in (
        (b".version 8.0\n.target sm_80\n" + bytes(64), b"PTX"),
        ((0x466243B1).to_bytes(4, "little") + bytes(64), b"fat binary"),
        (b"hello" + bytes(64), b"no ELF"),
        (image[:4] + b"\x01" + image[5:], b"64-bit"),
        (image[:18] + (190).to_bytes(2, "little") + image[20:], b"cubin"),
        (image[:18] + (40).to_bytes(2, "little") + image[20:], b"machine 40"),
        (image[:16] + (2).to_bytes(2, "little") + image[18:], b"type 2"),
        (image[:40] + (1 << 62).to_bytes(8, "little") + image[48:], b"cut off"),
        (Path(os.environ["OTHER_IMAGE"]).read_bytes(), b"refcuda_kernel.h"),
        (Path(os.environ["UNDEFINED_IMAGE"]).read_bytes(), b"no_such_function"),
    ):
        log = bytearray(500)
        option = driver.CUjit_option
        options = [option.CU_JIT_ERROR_LOG_BUFFER, option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES]
        answer = driver.cuModuleLoadDataEx(bad, 2, options, [log, len(log)])
        refused(Result.CUDA_ERROR_INVALID_IMAGE, answer)
        assert why in log, (why, log)
    check(driver.cuModuleLoadData(image))


def pointers() -> None:
    context = begin()
    address = check(driver.cuMemAlloc(1000))
    pinned = check(driver.cuMemHostAlloc(100, 0))
    attribute = driver.CUpointer_attribute
    asked = [
        attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
        attribute.CU_POINTER_ATTRIBUTE_CONTEXT,
        attribute.CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
        attribute.CU_POINTER_ATTRIBUTE_RANGE_SIZE,
        attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
        attribute.CU_POINTER_ATTRIBUTE_IS_MANAGED,
    ]
    inside = int(address) + 10
    answers = check(driver.cuPointerGetAttributes(len(asked), asked, inside))
    assert [int(answer) for answer in answers] == [2, int(context), int(address), 1000, 0, 0]
    host = check(driver.cuPointerGetAttribute(attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, int(pinned)))
    assert int(host) == 1
    unknown = check(driver.cuPointerGetAttributes(1, asked[:1], 0x1000))
    assert int(unknown[0]) == 0
    refused(Result.CUDA_ERROR_INVALID_VALUE, driver.cuPointerGetAttribute(asked[0], 0x1000))


def two_devices() -> None:
    first, second = begin(), create_context(1)
    there = upload(np.arange(10, dtype=np.uint8))
    check(driver.cuCtxSetCurrent(first))
    here = upload(np.zeros(10, np.uint8))
    check(driver.cuMemcpyPeer(here, first, there, second, 10))
    assert list(download(here, np.empty(10, np.uint8))) == list(range(10))
    assert check(driver.cuDeviceCanAccessPeer(0, 1)) == 1
    check(driver.cuCtxEnablePeerAccess(second, 0))
    refused(Result.CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, driver.cuCtxEnablePeerAccess(second, 0))
    assert int(check(driver.cuCtxGetDevice())) == 0
    check(driver.cuCtxDestroy(second))
    refused(Result.CUDA_ERROR_INVALID_VALUE, driver.cuMemcpyDtoD(here, there, 10))
    refused(Result.CUDA_ERROR_INVALID_CONTEXT, driver.cuMemcpyPeer(here, first, there, second, 10))


def no_devices() -> None:
    refused(Result.CUDA_ERROR_NO_DEVICE, driver.cuInit(0))


def bad_setting() -> None:
    refused(Result.CUDA_ERROR_INVALID_VALUE, driver.cuInit(0))


PROGRAMS: tuple[Callable[[], None], ...] = (
    matrix_product,
    devices,
    names,
    resolve,
    not_initialized,
    forked,
    out_of_memory,
    asynchrony,
    event_times,
    grids,
    shared_memory,
    parameters,
    bad_launches,
    modules,
    bad_images,
    pointers,
    two_devices,
)

if __name__ == "__main__":
    globals()[sys.argv[1]]()
