"""Random valid calls of whatever libcuda.so.1 the loader finds, by the API table; prints what they did.

``python -m tests.functional.dataplane.random_calls SEED COUNT IMAGE``: one line of JSON for each call.
"""

import ctypes
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpupool.dataplane.api.body import Refuse
from gpupool.dataplane.api.cuda.table import REFERENCE
from gpupool.dataplane.api.cuda.types import LAUNCH_CONFIGURATION, RECTANGLE
from gpupool.dataplane.api.entry import Call
from tests.functional.dataplane.call_arguments import Maker, NothingLeftError, World, moves, structure

# Calls that a random order can't have, with what else tests them.
LEFT_OUT = {
    "cuInit": "the start",
    "cuDevicePrimaryCtxReset": "ends everything",
    "cuDevicePrimaryCtxRelease": "follows each retain",
    "cuCtxResetPersistingL2Cache": "the reference device lacks it",
    "cuCtxPopCurrent_v2": "follows each push",
    "cuCtxDestroy_v2": "follows each create",
    "cuModuleUnload": "its functions would have to be followed",
    "cuLibraryUnload": "its kernels would have to be followed",
    "cuMemHostGetDevicePointer_v2": "kernels can't reach host memory",
    "cuCtxEnablePeerAccess": "there is one device",
    "cuCtxDisablePeerAccess": "there is one device",
}
# Calls that gpupool answers otherwise on purpose: not compared, but for the result.
OTHERWISE = {
    "cuDeviceGetName": "a device's name on its host",
    "cuDeviceGetUuid": "a vGPU has one of its own",
    "cuDeviceTotalMem_v2": "the claim's",
    "cuMemGetInfo_v2": "the claim's",
    "cuDeviceGetAttribute": "features that are not carried are hidden",
    "cuCtxGetId": "a number of the library's own",
    "cuStreamGetId": "a number of the library's own",
    "cuEventElapsedTime": "time",
    "cuDeviceGetPCIBusId": "the worker's device",
    "cuKernelGetFunction": "a kernel is a function here",
    "cuLibraryGetModule": "a library is a module here",
    "cuCtxGetFlags": "those of a live primary context change here",
    "cuMemHostGetFlags": "pinned memory is not mapped",
    "cuGetProcAddress": "the reference device lacks functions",
    "cuGetProcAddress_v2": "the reference device lacks functions",
}
QUERIES = {"cuStreamQuery", "cuEventQuery", "cuEventElapsedTime"}
NOT_READY = 600
# What must follow a call, so that the next find the same context: the call, and the handle it takes.
FOLLOWED = {
    "cuDevicePrimaryCtxRetain": "cuDevicePrimaryCtxRelease",
    "cuCtxPushCurrent_v2": "cuCtxPopCurrent_v2",
    "cuCtxCreate_v2": "cuCtxDestroy_v2",
    "cuCtxCreate_v3": "cuCtxDestroy_v2",
    "cuCtxCreate_v4": "cuCtxDestroy_v2",
}
BY_KEY = {call.key: call for call in REFERENCE if not isinstance(call.body, Refuse)}


class Program:
    """Calls one library."""

    def __init__(self, library: ctypes.CDLL, seed: int, image: Path) -> None:
        self.library, self.path = library, image
        self.world = World(random.Random(seed), image.read_bytes())
        self.symbols: dict[str, Any] = {}

    def run(self, count: int) -> Iterator[list[Any]]:
        """Yield what each call returned and wrote."""
        yield from map(self.call, ("cuInit",))
        yield self.start()
        keys = [key for key in BY_KEY if key not in LEFT_OUT]
        for key in (*START, *(self.world.pick.choice(keys) for _ in range(count))):
            yield self.call(key)
            if key in FOLLOWED:
                yield self.call(FOLLOWED[key])
        yield self.call("cuCtxSynchronize")
        yield ["memory", [self._read(start, size) for start, size in self.world.memory.items()]]

    def start(self) -> list[Any]:
        """Make the primary context current: that of all calls."""
        context = ctypes.c_void_p()
        result = self.library.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
        assert context.value
        self.world.handles["CUcontext"] = [context.value]
        self.world.name(context.value, "CUcontext")
        return ["start", result, self.library.cuCtxSetCurrent(context)]

    def call(self, key: str) -> list[Any]:
        """Make one call; return its name, its result and what it wrote."""
        call = BY_KEY[key]
        maker = Maker(self.world, call, self._fitted(call))
        try:
            prepared = [maker.make(one) for one in call.arguments]
        except NothingLeftError:
            return [key, "left out"]
        self.world.kept.append(prepared)
        result = self._function(call)(*(one.value for one in prepared))
        if result != 0:
            return [key, "query" if key in QUERIES and result == NOT_READY else result]
        if moves(call):
            self.library.cuCtxSynchronize()
        # Numbers first: the bytes of new memory may depend on what came back.
        told = [one.done(maker.values) for one in reversed(prepared)][::-1]
        self._cleared(call)
        if key in QUERIES:
            return [key, "query"]
        return [key, 0, None if key in OTHERWISE else told]

    def _function(self, call: Call) -> Any:
        symbol = call.key
        if call.twin and self.world.pick.random() < 0.3:
            symbol += f"_{call.twin}"
        return getattr(self.library, symbol)

    def _cleared(self, call: Call) -> None:
        """New memory is what it was before, or zero: make it the same everywhere."""
        if call.key in {"cuMemAlloc_v2", "cuMemAllocPitch_v2"}:
            start, size = [*self.world.memory.items()][-1]
            self.library.cuMemsetD8_v2(ctypes.c_uint64(start), 0, ctypes.c_size_t(size))
            # Streams that do not wait for the default one may be next.
            self.library.cuCtxSynchronize()

    def _read(self, start: int, size: int) -> str:
        content = ctypes.create_string_buffer(size)
        self.library.cuMemcpyDtoH_v2(content, ctypes.c_uint64(start), ctypes.c_size_t(size))
        return content.raw.hex()

    # --- what types do not say ---

    def _fitted(self, call: Call) -> dict[str, Any]:
        pick = self.world.pick
        fitted: dict[str, Any] = {}
        names = {one.name for one in call.arguments}
        if "kernelParams" in names:
            fitted |= self._launch()
        if "dstPitch" in names:
            fitted |= {"dstPitch": 64, "Width": pick.randrange(1, 17), "Height": pick.randrange(1, 9)}
        if "pCopy" in names:
            fitted["pCopy"] = ctypes.byref(self._rectangle())
        return fitted | FITTED.get(call.key, lambda _: {})(self)

    def _launch(self) -> dict[str, Any]:
        parameters = [
            ctypes.c_uint64(self.world.pick.choice([*self.world.memory])),
            ctypes.c_int(self.world.pick.randrange(100)),
            ctypes.c_int(16),
        ]
        pointers = (ctypes.c_void_p * 3)(*map(ctypes.addressof, parameters))
        config = structure(LAUNCH_CONFIGURATION)(1, 1, 1, 32, 1, 1, 0, None, None, 0)
        self.world.kept.append((parameters, pointers, config))
        sizes = {f"gridDim{axis}": 1 for axis in "XYZ"} | {f"blockDim{axis}": 1 for axis in "YZ"}
        sizes |= {"blockDimX": self.world.pick.randrange(1, 33), "sharedMemBytes": 0}
        function = self.world.handles["CUfunction"][0]
        return {
            **sizes,
            "f": function,
            "kernelParams": pointers,
            "extra": None,
            "config": ctypes.byref(config),
        }

    def _rectangle(self) -> Any:
        """Device to device or between it and host memory; rows do not overlap."""
        pick = self.world.pick
        box = structure(RECTANGLE)(WidthInBytes=pick.randrange(1, 33), Height=pick.randrange(1, 5))
        host = ctypes.create_string_buffer(PITCH * 8)
        self.world.kept.append((box, host))
        for side, memory in zip(("src", "dst"), pick.sample([*self.world.memory], 2), strict=True):
            setattr(box, f"{side}Pitch", PITCH)
            setattr(box, f"{side}XInBytes", pick.randrange(8))
            setattr(box, f"{side}Y", pick.randrange(3))
            kind = pick.choice([HOST, DEVICE, UNIFIED])
            setattr(box, f"{side}MemoryType", kind)
            setattr(
                box,
                f"{side}Host" if kind == HOST else f"{side}Device",
                ctypes.addressof(host) if kind == HOST else memory,
            )
        return box

    def pointer(self) -> dict[str, Any]:
        """Return an address of device memory."""
        return {"ptr": ctypes.c_uint64(self.world.pick.choice([*self.world.memory]) + 8)}

    def attribute(self) -> int:
        """Return an attribute that device memory has, whose value is no number of the library's own."""
        return self.world.pick.choice(TOLD_ATTRIBUTES)

    def attributes(self) -> dict[str, Any]:
        """Return some of them."""
        count = self.world.pick.randrange(1, 5)
        chosen = (ctypes.c_int * count)(*(self.attribute() for _ in range(count)))
        return {"numAttributes": count, "attributes": chosen}


# Context, memory type, device pointer, is managed, ordinal, start, size.
TOLD_ATTRIBUTES = (1, 2, 3, 8, 9, 11, 12)
HOST, DEVICE, UNIFIED = 1, 2, 4
PITCH = 64
FITTED: dict[str, Any] = {
    "cuModuleLoad": lambda program: {"fname": str(program.path).encode()},
    "cuModuleGetFunction": lambda program: {"name": b"add"},
    "cuModuleGetGlobal_v2": lambda program: {"name": b"counter"},
    "cuLibraryGetKernel": lambda program: {"name": b"add"},
    "cuLibraryGetGlobal": lambda program: {"name": b"counter"},
    "cuDeviceGetByPCIBusId": lambda program: {"pciBusId": b"0000:ff:1f.0"},
    "cuGetProcAddress": lambda program: {"symbol": b"cuMemAlloc"},
    "cuGetProcAddress_v2": lambda program: {
        "symbol": b"cuMemAlloc",
        "symbolStatus": ctypes.byref(ctypes.c_int()),
    },
    "cuFuncSetAttribute": lambda program: {"attrib": 8, "value": 4096},
    "cuKernelSetAttribute": lambda program: {"attrib": 8, "val": 4096},
    "cuMemAlloc_v2": lambda program: {"bytesize": PAGE * program.world.pick.randrange(1, 5)},
    "cuMemHostAlloc": lambda program: {"bytesize": PAGE},
    "cuMemAllocHost_v2": lambda program: {"bytesize": PAGE},
    "cuPointerGetAttribute": lambda program: program.pointer() | {"attribute": program.attribute()},
    "cuPointerGetAttributes": lambda program: program.pointer() | program.attributes(),
    # What the reference device has; others are clamped there, and told as they were asked for here.
    "cuStreamCreateWithPriority": lambda program: {"priority": program.world.pick.randrange(-2, 1)},
    "cuCtxCreate_v3": lambda program: {"paramsArray": None, "numParams": 0},
    "cuCtxSetCurrent": lambda program: {"ctx": ctypes.c_void_p(program.world.handles["CUcontext"][0])},
}
PAGE = 4096
# What most calls need.
START = (
    *("cuModuleLoadData", "cuModuleGetFunction", "cuLibraryLoadData", "cuLibraryGetKernel"),
    *("cuMemAlloc_v2", "cuMemAlloc_v2", "cuMemAlloc_v2", "cuMemHostAlloc", "cuMemHostAlloc"),
    *("cuStreamCreate", "cuEventCreate", "cuEventRecord", "cuMemHostRegister_v2"),
)


def main() -> None:
    """Print the trace."""
    seed, count, image = sys.argv[1:]
    program = Program(ctypes.CDLL("libcuda.so.1"), int(seed), Path(image))
    for line in program.run(int(count)):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
