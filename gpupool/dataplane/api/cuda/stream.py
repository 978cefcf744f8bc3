"""Streams, events, profiler."""

from gpupool.dataplane.api.body import FORWARD, LATER, Hand
from gpupool.dataplane.api.cuda.types import (
    CONTEXT,
    DEVICE,
    EVENT,
    EVENT_FLAGS,
    EVENT_USE_FLAGS,
    FLOAT,
    ID,
    INT,
    PRIORITY,
    STREAM,
    STREAM_FLAGS,
    STREAM_HANDLE,
    UINT,
)
from gpupool.dataplane.api.entry import LOCAL, ONE_WAY, SYNCHRONOUS, call
from gpupool.dataplane.api.types import destroyed, in_, new, out

_WAITS = Hand("A thread of its own waits when that takes long, and answers.")
_STREAM = in_("hStream", STREAM)

STREAMS = (
    call(
        "cuStreamCreate",
        2000,
        ONE_WAY,
        out("phStream", new(STREAM_HANDLE)),
        in_("Flags", STREAM_FLAGS),
        body=LATER,
        uses=("stream_create",),
    ),
    call(
        "cuStreamCreateWithPriority",
        5050,
        ONE_WAY,
        out("phStream", new(STREAM_HANDLE)),
        in_("flags", STREAM_FLAGS),
        in_("priority", PRIORITY),
        body=LATER,
        uses=("stream_create",),
    ),
    call(
        "cuStreamDestroy",
        4000,
        ONE_WAY,
        in_("hStream", destroyed(STREAM_HANDLE)),
        symbol="cuStreamDestroy_v2",
        also=(("cuStreamDestroy", 2000),),
        body=LATER,
        uses=("stream_destroy",),
    ),
    call("cuStreamQuery", 2000, SYNCHRONOUS, _STREAM, twin="ptsz"),
    call("cuStreamSynchronize", 2000, SYNCHRONOUS, _STREAM, twin="ptsz", worker=_WAITS),
    call(
        "cuStreamWaitEvent",
        3020,
        ONE_WAY,
        _STREAM,
        in_("hEvent", EVENT),
        in_("Flags", EVENT_USE_FLAGS),
        twin="ptsz",
        body=Hand("There is no wait between devices: for another's event the program waits here."),
        worker=FORWARD,
        uses=("cuEventSynchronize",),
    ),
    call("cuStreamGetPriority", 5050, LOCAL, _STREAM, out("priority", INT), twin="ptsz", body=LATER),
    call("cuStreamGetFlags", 5050, LOCAL, _STREAM, out("flags", UINT), twin="ptsz", body=LATER),
    call("cuStreamGetId", 12000, LOCAL, _STREAM, out("streamId", ID), twin="ptsz", body=LATER),
    call("cuStreamGetCtx", 9020, LOCAL, _STREAM, out("pctx", CONTEXT), twin="ptsz", body=LATER),
    call("cuStreamGetDevice", 12080, LOCAL, _STREAM, out("device", DEVICE), twin="ptsz", body=LATER),
)

EVENTS = (
    call(
        "cuEventCreate",
        2000,
        ONE_WAY,
        out("phEvent", new(EVENT)),
        in_("Flags", EVENT_FLAGS),
        body=LATER,
        uses=("event_create",),
    ),
    call(
        "cuEventDestroy",
        4000,
        ONE_WAY,
        in_("hEvent", destroyed(EVENT)),
        symbol="cuEventDestroy_v2",
        also=(("cuEventDestroy", 2000),),
        body=LATER,
        uses=("event_destroy",),
    ),
    call("cuEventQuery", 2000, SYNCHRONOUS, in_("hEvent", EVENT)),
    call("cuEventSynchronize", 2000, SYNCHRONOUS, in_("hEvent", EVENT), worker=_WAITS),
    call("cuEventRecord", 2000, ONE_WAY, in_("hEvent", EVENT), _STREAM, twin="ptsz"),
    call(
        "cuEventRecordWithFlags",
        11010,
        ONE_WAY,
        in_("hEvent", EVENT),
        _STREAM,
        in_("flags", EVENT_USE_FLAGS),
        twin="ptsz",
    ),
    call(
        "cuEventElapsedTime",
        2000,
        SYNCHRONOUS,
        out("pMilliseconds", FLOAT),
        in_("hStart", EVENT),
        in_("hEnd", EVENT),
        also=(("cuEventElapsedTime_v2", 12080),),
    ),
)

PROFILER = (
    call("cuProfilerStart", 4000, LOCAL, body=LATER),
    call("cuProfilerStop", 4000, LOCAL, body=LATER),
)
