"""What travels, where it is not just a call's own arguments."""

from gpupool.dataplane.api.body import Hand
from gpupool.dataplane.api.bulk import Bulk, Complete, End, Place
from gpupool.dataplane.api.cuda.types import (
    CONTEXT,
    EVENT,
    EVENT_FLAGS,
    FUNCTION,
    MODULE,
    PRIORITY,
    STREAM,
    STREAM_FLAGS,
    STREAM_HANDLE,
)
from gpupool.dataplane.api.entry import ONE_WAY, SYNCHRONOUS, Message
from gpupool.dataplane.api.length import REST, bytes_of
from gpupool.dataplane.api.types import (
    Access,
    Array,
    DeviceAddress,
    Number,
    Offset,
    Position,
    Use,
    destroyed,
    in_,
    new,
    out,
)

U64 = Number("uint64_t")
U32 = Number("uint32_t")
I32 = Number("int32_t")
CHAR = Number("char")
BYTE = Number("uint8_t")
FLAG = Number("uint32_t", range(2))
ELEMENT = Number("uint32_t", (1, 2, 4))
PITCHED = Number("uint32_t", (4, 8, 16))

_BYTES = bytes_of("bytes")
_SIZE = in_("bytes", U64)
_STREAM = in_("stream", STREAM)
_PAD = in_("reserved", U32)
_RECORD, _REPLY, _STAGING, _WORKER = (
    End(Place.RECORD),
    End(Place.REPLY),
    End(Place.STAGING, "position"),
    End(Place.WORKER),
)

_CHARGED = Hand("What it makes is charged, and cleared where the device is asked to.")
_ANY_DEVICE = Hand("It is served on any kind of device, by its backend.")
_NAMED = (Bulk(_RECORD, _WORKER, REST, Complete.SERVED, what="the name"),)

STARTING = (
    Message(
        "snapshot",
        SYNCHRONOUS,
        (),
        (
            out("driver_version", I32),
            out("attribute_count", U32),
            out("reserved0", U32),
            out("reserved1", U32),
            out("name", Array(CHAR, 256)),
            out("uuid", Array(CHAR, 16)),
            out("bus", Array(CHAR, 32)),
            out("attributes", Array(I32, 160)),
            out("known", Array(BYTE, 160)),
        ),
        body=Hand("It asks the device many things, and hides what gpupool does not carry."),
        note="What the runtime answers by itself from then on; known[n] is 1 where attribute n exists. "
        "The uuid is the device's, which only runtimes of earlier versions tell programs.",
    ),
)

MEMORY = (
    Message(
        "memory_allocate",
        SYNCHRONOUS,
        (_SIZE, in_("context", CONTEXT)),
        (out("address", DeviceAddress(length=_BYTES, use=Use.NEW)),),
        body=_CHARGED,
    ),
    Message(
        "memory_allocate_pitch",
        SYNCHRONOUS,
        (
            in_("width", U64),
            in_("height", U64),
            in_("context", CONTEXT),
            in_("element_bytes", PITCHED),
            _PAD,
        ),
        (
            out("address", DeviceAddress(length=bytes_of("pitch", "height"), use=Use.NEW)),
            out("pitch", U64),
        ),
        body=_CHARGED,
    ),
    Message(
        "memory_free",
        ONE_WAY,
        (in_("address", DeviceAddress(use=Use.DESTROYED)),),
        body=Hand("What was charged is given back."),
    ),
    Message(
        "memory_set",
        ONE_WAY,
        (
            in_("address", DeviceAddress(Access.WRITE)),
            in_("pitch", U64),
            in_("width", U64),
            in_("height", U64),
            _STREAM,
            in_("value", U32),
            in_("element_bytes", ELEMENT),
        ),
        bulk=(
            Bulk(
                End(Place.VALUE, "value"),
                End(Place.DEVICE, "address"),
                bytes_of("width", "height", "element_bytes"),
                Complete.STREAM,
            ),
        ),
        body=Hand("One message stands for six functions of the device's library."),
        note="Height 1 is a plain run of width elements.",
    ),
)

COPIES = (
    Message(
        "copy_in",
        ONE_WAY,
        (
            in_("destination", DeviceAddress(Access.WRITE, _BYTES)),
            _SIZE,
            in_("position", Position()),
            _STREAM,
        ),
        bulk=(Bulk(_STAGING, End(Place.DEVICE, "destination"), _BYTES, Complete.STREAM),),
        body=Hand("Staging is freed when the copy is done, and also when it is refused."),
        note="From staging, at position modulo its size; staging up to position + bytes is free again "
        "when the copy is done.",
    ),
    Message(
        "copy_in_small",
        ONE_WAY,
        (in_("destination", DeviceAddress(Access.WRITE, _BYTES)), _SIZE, _STREAM),
        bulk=(Bulk(_RECORD, End(Place.DEVICE, "destination"), _BYTES, Complete.SERVED),),
        body=_ANY_DEVICE,
    ),
    Message(
        "copy_out_small",
        SYNCHRONOUS,
        (in_("source", DeviceAddress(Access.READ, _BYTES)), _SIZE, _STREAM),
        bulk=(Bulk(End(Place.DEVICE, "source"), _REPLY, _BYTES, Complete.SERVED),),
        body=Hand("The device writes where the answer lies; a thread of its own may wait for that."),
    ),
    Message(
        "copy_arena",
        ONE_WAY,
        (
            in_("device", DeviceAddress(Access.WRITE, _BYTES)),
            in_("offset", Offset()),
            _SIZE,
            _STREAM,
            in_("to_device", FLAG),
            _PAD,
        ),
        bulk=(
            Bulk(
                End(Place.ARENA, "offset"),
                End(Place.DEVICE, "device"),
                _BYTES,
                Complete.STREAM,
                only_if=("to_device", 1),
            ),
            Bulk(
                End(Place.DEVICE, "device"),
                End(Place.ARENA, "offset"),
                _BYTES,
                Complete.STREAM,
                only_if=("to_device", 0),
            ),
        ),
        body=_ANY_DEVICE,
        note="Between device memory and the bounce or heap part of the arena.",
    ),
    Message(
        "copy_device",
        ONE_WAY,
        (
            in_("destination", DeviceAddress(Access.WRITE, _BYTES)),
            in_("source", DeviceAddress(Access.READ, _BYTES)),
            _SIZE,
            _STREAM,
        ),
        bulk=(
            Bulk(End(Place.DEVICE, "source"), End(Place.DEVICE, "destination"), _BYTES, Complete.STREAM),
        ),
        body=_ANY_DEVICE,
    ),
    Message(
        "staging_wait",
        SYNCHRONOUS,
        (in_("position", Position()),),
        body=Hand("A thread of its own waits when that takes long, and answers."),
        waits=True,
        note="Until staging is free up to there.",
    ),
    Message(
        "host_register",
        ONE_WAY,
        (in_("offset", Offset()), _SIZE),
        body=Hand("A device that can't pin is no error."),
    ),
    Message(
        "host_unregister",
        ONE_WAY,
        (in_("offset", Offset()),),
        body=Hand("A device that can't pin is no error."),
    ),
)

MODULES = (
    Message(
        "image_part",
        ONE_WAY,
        (in_("position", Position()), _SIZE),
        bulk=(Bulk(_STAGING, _WORKER, _BYTES, Complete.SERVED),),
        body=Hand("The image's room is charged."),
        note="Appended to the image that the next module_load takes.",
    ),
    Message(
        "module_load",
        SYNCHRONOUS,
        (in_("module", new(MODULE)), _SIZE, in_("option_count", U32), _PAD),
        (out("information_bytes", U32), out("error_bytes", U32)),
        bulk=(
            Bulk(
                _RECORD,
                _WORKER,
                bytes_of("option_count", scale=16),
                Complete.SERVED,
                what="pairs of 64-bit option and value",
            ),
            Bulk(
                _WORKER,
                _REPLY,
                bytes_of("information_bytes") + bytes_of("error_bytes"),
                Complete.SERVED,
                what="the compiler's two logs",
            ),
        ),
        body=Hand("What the module takes is measured and charged."),
    ),
    Message(
        "module_unload",
        ONE_WAY,
        (in_("module", destroyed(MODULE)),),
        body=Hand("It ends the module's functions and globals."),
        note="Ends its functions too.",
    ),
    Message(
        "module_function",
        SYNCHRONOUS,
        (in_("module", MODULE), in_("function", new(FUNCTION))),
        (
            out("parameter_count", U32),
            out("parameter_bytes", U32),
            out("layout_known", FLAG),
            out("reserved", U32),
        ),
        bulk=(
            *_NAMED,
            Bulk(
                _WORKER,
                _REPLY,
                bytes_of("parameter_count", scale=4),
                Complete.SERVED,
                what="16-bit pairs of offset and size",
            ),
        ),
        body=Hand("It asks the driver where the parameters lie."),
    ),
    Message(
        "module_global",
        SYNCHRONOUS,
        (in_("module", MODULE),),
        (out("address", DeviceAddress(length=_BYTES)), out("bytes", U64)),
        bulk=_NAMED,
        body=Hand("It keeps the books on device memory."),
    ),
    Message(
        "launch",
        ONE_WAY,
        (
            in_("function", FUNCTION),
            _STREAM,
            in_("grid", Array(U32, 3)),
            in_("block", Array(U32, 3)),
            in_("shared_bytes", U32),
            in_("attribute_count", U32),
            in_("parameter_bytes", U32),
            in_("cooperative", FLAG),
        ),
        bulk=(
            Bulk(
                _RECORD,
                _WORKER,
                bytes_of("attribute_count", scale=72),
                Complete.SERVED,
                what="launch attributes of 72 bytes each",
            ),
            Bulk(
                _RECORD,
                _WORKER,
                bytes_of("parameter_bytes"),
                Complete.SERVED,
                what="the parameters at their own offsets",
            ),
        ),
        body=Hand("The fastest path."),
    ),
)

OBJECTS = (
    Message(
        "stream_create",
        ONE_WAY,
        (in_("stream", new(STREAM_HANDLE)), in_("flags", STREAM_FLAGS), in_("priority", PRIORITY)),
        body=Hand("What it makes is charged."),
    ),
    Message(
        "stream_destroy",
        ONE_WAY,
        (in_("stream", destroyed(STREAM_HANDLE)),),
        body=Hand("A thread that waits for it keeps it for so long; its open span ends."),
    ),
    Message(
        "event_create",
        ONE_WAY,
        (in_("event", new(EVENT)), in_("flags", EVENT_FLAGS), _PAD),
        body=Hand("What it makes is charged."),
    ),
    Message(
        "event_destroy",
        ONE_WAY,
        (in_("event", destroyed(EVENT)),),
        body=Hand("A thread that waits for it keeps it for so long."),
    ),
)

MESSAGES = (*STARTING, *MEMORY, *COPIES, *MODULES, *OBJECTS)
