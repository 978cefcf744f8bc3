"""Streams, events, profiler."""

from gpupool.dataplane.api.body import FORWARD, Answer, Create, Destroy, Hand, Same
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
from gpupool.dataplane.api.types import Untyped, destroyed, in_, new, out

_WAITS = Hand("A thread of its own waits when that takes long, and answers.")
# The default stream is in whatever context is current.
_OWN = "(CUcontext)public_handle(call.session, HANDLE_CONTEXT, stream.item.context)"
_CONTEXT_OF = f"number ? {_OWN} : current_top()"
_STREAM = in_("hStream", STREAM)

STREAMS = (
    call(
        "cuStreamCreate",
        2000,
        ONE_WAY,
        out("phStream", new(STREAM_HANDLE)),
        in_("Flags", STREAM_FLAGS),
        body=Same("cuStreamCreateWithPriority", {"flags": "Flags", "priority": "0"}),
    ),
    call(
        "cuStreamCreateWithPriority",
        5050,
        ONE_WAY,
        out("phStream", new(STREAM_HANDLE)),
        in_("flags", STREAM_FLAGS),
        in_("priority", PRIORITY),
        body=Create("stream_create", "stream", ("flags", "priority")),
    ),
    call(
        "cuStreamDestroy",
        4000,
        ONE_WAY,
        in_("hStream", destroyed(STREAM_HANDLE)),
        symbol="cuStreamDestroy_v2",
        also=(("cuStreamDestroy", 2000),),
        body=Destroy("stream_destroy"),
    ),
    call("cuStreamQuery", 2000, SYNCHRONOUS, _STREAM, twin="ptsz"),
    call("cuStreamSynchronize", 2000, SYNCHRONOUS, _STREAM, twin="ptsz", worker=_WAITS, waits=True),
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
    call(
        "cuStreamGetPriority",
        5050,
        LOCAL,
        _STREAM,
        out("priority", INT),
        twin="ptsz",
        body=Answer({"priority": "stream.priority"}),
    ),
    call(
        "cuStreamGetFlags",
        5050,
        LOCAL,
        _STREAM,
        out("flags", UINT),
        twin="ptsz",
        body=Answer({"flags": "stream.flags"}),
    ),
    call(
        "cuStreamGetId",
        12000,
        LOCAL,
        _STREAM,
        out("streamId", ID),
        twin="ptsz",
        body=Answer({"streamId": "public_handle(call.session, HANDLE_NONE, number)"}),
    ),
    call(
        "cuStreamGetCtx",
        9020,
        LOCAL,
        _STREAM,
        out("pctx", CONTEXT),
        twin="ptsz",
        body=Answer({"pctx": _CONTEXT_OF}),
    ),
    call(
        "cuStreamGetDevice",
        12080,
        LOCAL,
        _STREAM,
        out("device", DEVICE),
        twin="ptsz",
        body=Answer({"device": "call.session->ordinal"}),
    ),
)

# Since 12.5; a green context is a part of a device's processors, and there is none here.
GREEN = (
    call(
        "cuStreamGetCtx",
        12050,
        LOCAL,
        _STREAM,
        out("pCtx", CONTEXT),
        out("pGreenCtx", Untyped(), optional=True),
        symbol="cuStreamGetCtx_v2",
        twin="ptsz",
        body=Answer({"pCtx": _CONTEXT_OF, "pGreenCtx": "NULL"}),
    ),
)

EVENTS = (
    call(
        "cuEventCreate",
        2000,
        ONE_WAY,
        out("phEvent", new(EVENT)),
        in_("Flags", EVENT_FLAGS),
        body=Create("event_create"),
    ),
    call(
        "cuEventDestroy",
        4000,
        ONE_WAY,
        in_("hEvent", destroyed(EVENT)),
        symbol="cuEventDestroy_v2",
        also=(("cuEventDestroy", 2000),),
        body=Destroy("event_destroy"),
    ),
    call("cuEventQuery", 2000, SYNCHRONOUS, in_("hEvent", EVENT)),
    call("cuEventSynchronize", 2000, SYNCHRONOUS, in_("hEvent", EVENT), worker=_WAITS, waits=True),
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
    call("cuProfilerStart", 4000, LOCAL, body=Answer()),
    call("cuProfilerStop", 4000, LOCAL, body=Answer()),
)
