"""Device memory and pinned host memory."""

from gpupool.dataplane.api.body import Answer, Hand, Same
from gpupool.dataplane.api.cuda.types import (
    HOST_FLAGS,
    POINTER_ATTRIBUTE,
    REGISTER_FLAGS,
    RESERVED,
    SIZE,
    UINT,
)
from gpupool.dataplane.api.entry import LOCAL, ONE_WAY, SYNCHRONOUS, call
from gpupool.dataplane.api.length import bytes_of
from gpupool.dataplane.api.types import (
    Array,
    DeviceAddress,
    HostMemory,
    Number,
    Pinned,
    Use,
    in_,
    inout,
    out,
)

_RESERVES = Hand("It keeps the books on device memory, whose addresses it reserves in the program.")
_FORGETS = Hand("It looks for the address in the books of all devices.")
_PINS = Hand("It keeps the books on pinned memory.")
_BLOCK = HostMemory(pinned=Pinned.YES)
_ELEMENT = Number("unsigned int", (4, 8, 16))

MEMORY = (
    call(
        "cuMemAlloc",
        3020,
        SYNCHRONOUS,
        out("dptr", DeviceAddress(length=bytes_of("bytesize"), use=Use.NEW)),
        in_("bytesize", SIZE),
        symbol="cuMemAlloc_v2",
        body=_RESERVES,
        uses=("memory_allocate",),
    ),
    call(
        "cuMemAllocPitch",
        3020,
        SYNCHRONOUS,
        out("dptr", DeviceAddress(length=bytes_of("pPitch", "Height"), use=Use.NEW)),
        out("pPitch", SIZE),
        in_("WidthInBytes", SIZE),
        in_("Height", SIZE),
        in_("ElementSizeBytes", _ELEMENT),
        symbol="cuMemAllocPitch_v2",
        body=_RESERVES,
        uses=("memory_allocate_pitch",),
    ),
    call(
        "cuMemFree",
        3020,
        ONE_WAY,
        in_("dptr", DeviceAddress(use=Use.DESTROYED), optional=True),
        symbol="cuMemFree_v2",
        body=_FORGETS,
        uses=("memory_free",),
    ),
    call(
        "cuMemGetInfo",
        3020,
        SYNCHRONOUS,
        out("free_bytes", SIZE),
        out("total_bytes", SIZE),
        symbol="cuMemGetInfo_v2",
        worker=Hand("The ledger answers, not the device."),
    ),
    call(
        "cuMemGetAddressRange",
        3020,
        LOCAL,
        out("pbase", DeviceAddress(), optional=True),
        out("psize", SIZE, optional=True),
        in_("dptr", DeviceAddress()),
        symbol="cuMemGetAddressRange_v2",
        body=Answer({"pbase": "range.start", "psize": "range.bytes"}),
    ),
)

PINNED = (
    call(
        "cuMemHostAlloc",
        2020,
        LOCAL,
        out("pp", HostMemory(bytes_of("bytesize"), Pinned.YES, Use.NEW)),
        in_("bytesize", SIZE),
        in_("Flags", HOST_FLAGS),
        body=_PINS,
        uses=("host_register",),
    ),
    call(
        "cuMemAllocHost",
        3020,
        LOCAL,
        out("pp", HostMemory(bytes_of("bytesize"), Pinned.YES, Use.NEW)),
        in_("bytesize", SIZE),
        symbol="cuMemAllocHost_v2",
        body=Same("cuMemHostAlloc", {"Flags": "0"}),
    ),
    call(
        "cuMemFreeHost",
        2000,
        LOCAL,
        inout("p", HostMemory(pinned=Pinned.YES, use=Use.DESTROYED)),
        body=_PINS,
        uses=("host_unregister", "cuCtxSynchronize"),
    ),
    # Kernels can't reach host memory: the device attribute that would promise it says no.
    call(
        "cuMemHostGetDevicePointer",
        3020,
        LOCAL,
        out("pdptr", DeviceAddress()),
        inout("p", _BLOCK),
        in_("Flags", RESERVED),
        symbol="cuMemHostGetDevicePointer_v2",
        body=Answer(result="CUDA_ERROR_NOT_SUPPORTED"),
    ),
    call(
        "cuMemHostRegister",
        6050,
        LOCAL,
        inout("p", HostMemory(bytes_of("bytesize"), Pinned.NO)),
        in_("bytesize", SIZE),
        in_("Flags", REGISTER_FLAGS),
        symbol="cuMemHostRegister_v2",
        body=_PINS,
    ),
    call(
        "cuMemHostUnregister",
        4000,
        LOCAL,
        inout("p", HostMemory(pinned=Pinned.NO, use=Use.DESTROYED)),
        body=_PINS,
    ),
    call(
        "cuMemHostGetFlags",
        2030,
        LOCAL,
        out("pFlags", UINT),
        inout("p", _BLOCK),
        body=Answer({"pFlags": "block.flags"}),
    ),
)

_BY_ATTRIBUTE = Hand("The attribute decides what its value is.")

POINTERS = (
    call(
        "cuPointerGetAttribute",
        4000,
        LOCAL,
        out("data", HostMemory(bytes_of("attribute"))),
        in_("attribute", POINTER_ATTRIBUTE),
        in_("ptr", DeviceAddress(host=True)),
        body=_BY_ATTRIBUTE,
    ),
    call(
        "cuPointerGetAttributes",
        7000,
        LOCAL,
        in_("numAttributes", UINT),
        in_("attributes", Array(POINTER_ATTRIBUTE, "numAttributes")),
        out("data", Array(HostMemory(bytes_of("attributes")), "numAttributes")),
        in_("ptr", DeviceAddress(host=True)),
        body=_BY_ATTRIBUTE,
    ),
)
