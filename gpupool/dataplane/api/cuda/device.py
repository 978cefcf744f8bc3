"""Start, errors, symbol lookup and devices."""

from gpupool.dataplane.api.body import Answer, Hand
from gpupool.dataplane.api.cuda.types import (
    BOOLEAN,
    DEVICE,
    DEVICE_ATTRIBUTE,
    INT,
    ORDINAL,
    P2P_ATTRIBUTE,
    QUERY_RESULT,
    RESERVED,
    RESULT,
    SIZE,
    UUID,
    VERSION,
)
from gpupool.dataplane.api.entry import LOCAL, call
from gpupool.dataplane.api.types import EntryPoint, Number, Text, in_, out

_LOOK_UP_FLAGS = Number("uint64_t", range(3))
_LOOK_UP = (
    in_("symbol", Text()),
    out("pfn", EntryPoint()),
    in_("cudaVersion", VERSION),
    in_("flags", _LOOK_UP_FLAGS),
)

_SYMBOLS = Hand("It looks into the table of symbols, which it is in.")

EARLY = (
    call("cuInit", 2000, LOCAL, in_("Flags", RESERVED), early=True, body=Hand("It starts the process.")),
    call(
        "cuDriverGetVersion",
        2020,
        LOCAL,
        out("driverVersion", INT),
        early=True,
        body=Hand("It has an answer without a device, and one with."),
        uses=("snapshot",),
    ),
    call(
        "cuGetErrorName",
        6000,
        LOCAL,
        in_("error", RESULT),
        out("pStr", Text()),
        early=True,
        body=Hand("It looks into the table of results."),
    ),
    call(
        "cuGetErrorString",
        6000,
        LOCAL,
        in_("error", RESULT),
        out("pStr", Text()),
        early=True,
        body=Hand("It looks into the table of results."),
    ),
    call(
        "cuGetProcAddress",
        11030,
        LOCAL,
        *_LOOK_UP,
        early=True,
        body=_SYMBOLS,
    ),
    call(
        "cuGetProcAddress",
        12000,
        LOCAL,
        *_LOOK_UP,
        out("symbolStatus", QUERY_RESULT, optional=True),
        symbol="cuGetProcAddress_v2",
        early=True,
        body=_SYMBOLS,
    ),
)


def _attribute(name: str) -> str:
    return f"session->device->snapshot.attributes[CU_DEVICE_ATTRIBUTE_{name}]"


DEVICES = (
    call(
        "cuDeviceGet",
        2000,
        LOCAL,
        out("device", DEVICE),
        in_("ordinal", ORDINAL),
        body=Answer({"device": "ordinal"}),
    ),
    call(
        "cuDeviceGetCount",
        2000,
        LOCAL,
        out("count", INT),
        body=Answer({"count": "process_device_count()"}),
    ),
    call(
        "cuDeviceGetName",
        2000,
        LOCAL,
        out("name", Text(room="len")),
        in_("len", INT),
        in_("dev", DEVICE),
        body=Answer({"name": "session->device->snapshot.name"}),
        uses=("snapshot",),
    ),
    # The vGPU's, as a MIG instance has one of its own: several on one device would be taken for one.
    call(
        "cuDeviceGetUuid",
        9020,
        LOCAL,
        out("uuid", UUID),
        in_("dev", DEVICE),
        also=(("cuDeviceGetUuid_v2", 11040),),
        body=Answer({"uuid": "vgpu->uuid"}),
    ),
    call(
        "cuDeviceTotalMem",
        3020,
        LOCAL,
        out("bytes", SIZE),
        in_("dev", DEVICE),
        symbol="cuDeviceTotalMem_v2",
        body=Answer({"bytes": "process_device_memory(dev)"}),
    ),
    call(
        "cuDeviceGetAttribute",
        2000,
        LOCAL,
        out("pi", INT),
        in_("attrib", DEVICE_ATTRIBUTE),
        in_("dev", DEVICE),
        body=Hand("It knows which attributes the device has."),
        uses=("snapshot",),
    ),
    call(
        "cuDeviceComputeCapability",
        2000,
        LOCAL,
        out("major", INT),
        out("minor", INT),
        in_("dev", DEVICE),
        body=Answer(
            {
                "major": _attribute("COMPUTE_CAPABILITY_MAJOR"),
                "minor": _attribute("COMPUTE_CAPABILITY_MINOR"),
            }
        ),
        uses=("snapshot",),
    ),
    call(
        "cuDeviceGetPCIBusId",
        4010,
        LOCAL,
        out("pciBusId", Text(room="len", whole=True)),
        in_("len", INT),
        in_("dev", DEVICE),
        body=Answer({"pciBusId": "session->device->snapshot.bus"}),
        uses=("snapshot",),
    ),
    call(
        "cuDeviceGetByPCIBusId",
        4010,
        LOCAL,
        out("dev", DEVICE),
        in_("pciBusId", Text()),
        body=Hand("It searches all devices."),
        uses=("snapshot",),
    ),
    # vGPUs never reach into each other.
    call(
        "cuDeviceCanAccessPeer",
        4000,
        LOCAL,
        out("canAccessPeer", BOOLEAN),
        in_("dev", DEVICE),
        in_("peerDev", DEVICE),
        body=Answer({"canAccessPeer": "0"}),
    ),
    call(
        "cuDeviceGetP2PAttribute",
        8000,
        LOCAL,
        out("value", INT),
        in_("attrib", P2P_ATTRIBUTE),
        in_("srcDevice", DEVICE),
        in_("dstDevice", DEVICE),
        body=Hand("It tells whether the two devices are one."),
    ),
)
