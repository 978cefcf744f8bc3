"""Streams, events, profiler."""

from gpupool.dataplane.api.entry import GENERATED, HAND, LOCAL, ONE_WAY, SYNCHRONOUS, call, stub

STREAMS = (
    call(
        "cuStreamCreate",
        2000,
        ONE_WAY,
        "CUstream *phStream, unsigned int Flags",
        uses=("stream_create",),
    ),
    call(
        "cuStreamCreateWithPriority",
        5050,
        ONE_WAY,
        "CUstream *phStream, unsigned int flags, int priority",
        uses=("stream_create",),
    ),
    call(
        "cuStreamDestroy",
        4000,
        ONE_WAY,
        "CUstream hStream",
        symbol="cuStreamDestroy_v2",
        also=(("cuStreamDestroy", 2000),),
        uses=("stream_destroy",),
    ),
    stub("cuStreamQuery", 2000, SYNCHRONOUS, "CUstream hStream", twin="ptsz"),
    stub("cuStreamSynchronize", 2000, SYNCHRONOUS, "CUstream hStream", twin="ptsz", worker=HAND),
    call(
        "cuStreamWaitEvent",
        3020,
        ONE_WAY,
        "CUstream hStream, CUevent hEvent, unsigned int Flags",
        twin="ptsz",
        worker=GENERATED,
        uses=("cuEventSynchronize",),
    ),
    call("cuStreamGetPriority", 5050, LOCAL, "CUstream hStream, int *priority", twin="ptsz"),
    call("cuStreamGetFlags", 5050, LOCAL, "CUstream hStream, unsigned int *flags", twin="ptsz"),
    call("cuStreamGetId", 12000, LOCAL, "CUstream hStream, unsigned long long *streamId", twin="ptsz"),
    call("cuStreamGetCtx", 9020, LOCAL, "CUstream hStream, CUcontext *pctx", twin="ptsz"),
    call("cuStreamGetDevice", 12080, LOCAL, "CUstream hStream, CUdevice *device", twin="ptsz"),
    call("cuEventCreate", 2000, ONE_WAY, "CUevent *phEvent, unsigned int Flags", uses=("event_create",)),
    call(
        "cuEventDestroy",
        4000,
        ONE_WAY,
        "CUevent hEvent",
        symbol="cuEventDestroy_v2",
        also=(("cuEventDestroy", 2000),),
        uses=("event_destroy",),
    ),
    stub("cuEventQuery", 2000, SYNCHRONOUS, "CUevent hEvent"),
    stub("cuEventSynchronize", 2000, SYNCHRONOUS, "CUevent hEvent", worker=HAND),
    stub("cuEventRecord", 2000, ONE_WAY, "CUevent hEvent, CUstream hStream", twin="ptsz"),
    stub(
        "cuEventRecordWithFlags",
        11010,
        ONE_WAY,
        "CUevent hEvent, CUstream hStream, unsigned int flags",
        twin="ptsz",
    ),
    stub(
        "cuEventElapsedTime",
        2000,
        SYNCHRONOUS,
        "float *pMilliseconds, CUevent hStart, CUevent hEnd",
        also=(("cuEventElapsedTime_v2", 12080),),
    ),
)

PROFILER = (
    call("cuProfilerStart", 4000, LOCAL, ""),
    call("cuProfilerStop", 4000, LOCAL, ""),
)
