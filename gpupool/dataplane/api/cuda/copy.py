"""Copies and memsets."""

from collections.abc import Iterator
from dataclasses import dataclass

from gpupool.dataplane.api.body import Body, Copy, Fill, Same
from gpupool.dataplane.api.bulk import Bulk, Complete, End, Place
from gpupool.dataplane.api.cuda.types import CONTEXT, RECTANGLE, SIZE, STREAM
from gpupool.dataplane.api.entry import ONE_WAY, SYNCHRONOUS, Call, Class, call
from gpupool.dataplane.api.length import Length, bytes_of
from gpupool.dataplane.api.types import (
    Access,
    Argument,
    DeviceAddress,
    HostMemory,
    Number,
    in_,
    out,
)

_IN = ("copy_in", "copy_in_small", "copy_arena", "staging_wait")
_OUT = ("copy_out_small", "copy_arena", "cuStreamSynchronize")
_ANY = ("copy_device", *_IN, *_OUT)

_BYTES = bytes_of("ByteCount")
_COUNT = in_("ByteCount", SIZE)
_ON_STREAM = in_("hStream", STREAM)
_TO, _FROM = (DeviceAddress(access, _BYTES) for access in (Access.WRITE, Access.READ))
_ANY_TO, _ANY_FROM = (DeviceAddress(access, _BYTES, host=True) for access in (Access.WRITE, Access.READ))


@dataclass(frozen=True)
class _Form:
    """A copy: ``suffix`` follows cuMemcpy, ``version`` the symbol."""

    suffix: str
    since: int
    version: str
    kind: Class
    arguments: tuple[Argument, ...]
    source: End
    target: End
    uses: tuple[str, ...]
    length: Length = _BYTES

    def bulk(self, complete: Complete) -> tuple[Bulk, ...]:
        return (Bulk(self.source, self.target, self.length, complete),)


_FORMS = (
    _Form(
        "HtoD",
        3020,
        "_v2",
        ONE_WAY,
        (in_("dstDevice", _TO), in_("srcHost", HostMemory(_BYTES)), _COUNT),
        End(Place.HOST, "srcHost"),
        End(Place.DEVICE, "dstDevice"),
        _IN,
    ),
    _Form(
        "DtoH",
        3020,
        "_v2",
        SYNCHRONOUS,
        (out("dstHost", HostMemory(_BYTES)), in_("srcDevice", _FROM), _COUNT),
        End(Place.DEVICE, "srcDevice"),
        End(Place.HOST, "dstHost"),
        _OUT,
    ),
    _Form(
        "DtoD",
        3020,
        "_v2",
        ONE_WAY,
        (in_("dstDevice", _TO), in_("srcDevice", _FROM), _COUNT),
        End(Place.DEVICE, "srcDevice"),
        End(Place.DEVICE, "dstDevice"),
        ("copy_device",),
    ),
    _Form(
        "",
        4000,
        "",
        SYNCHRONOUS,
        (in_("dst", _ANY_TO), in_("src", _ANY_FROM), _COUNT),
        End(Place.EITHER, "src"),
        End(Place.EITHER, "dst"),
        _ANY,
    ),
    _Form(
        "Peer",
        4000,
        "",
        SYNCHRONOUS,
        (
            in_("dstDevice", _TO),
            in_("dstContext", CONTEXT),
            in_("srcDevice", _FROM),
            in_("srcContext", CONTEXT),
            _COUNT,
        ),
        End(Place.DEVICE, "srcDevice", "srcContext"),
        End(Place.DEVICE, "dstDevice", "dstContext"),
        _ANY,
    ),
    _Form(
        "2D",
        3020,
        "_v2",
        SYNCHRONOUS,
        (in_("pCopy", RECTANGLE),),
        End(Place.EITHER, "pCopy"),
        End(Place.EITHER, "pCopy"),
        _ANY,
        bytes_of("WidthInBytes", "Height"),
    ),
)


def copies() -> tuple[Call, ...]:
    """Return the copies: each has a blocking form and one on a stream."""
    return (*(one for form in _FORMS for one in _copy(form)), _unaligned(_FORMS[-1]))


def _copy(form: _Form) -> Iterator[Call]:
    name = f"cuMemcpy{form.suffix}"
    yield call(
        name,
        form.since,
        form.kind,
        *form.arguments,
        symbol=name + form.version,
        twin="ptds",
        bulk=form.bulk(Complete.TAKEN if form.kind is ONE_WAY else Complete.CALL),
        body=Copy(),
        uses=form.uses,
    )
    yield call(
        f"{name}Async",
        form.since,
        form.kind,
        *form.arguments,
        _ON_STREAM,
        symbol=f"{name}Async{form.version}",
        twin="ptsz",
        bulk=form.bulk(Complete.STREAM),
        body=Copy(),
        uses=form.uses,
    )


def _unaligned(form: _Form) -> Call:
    return call(
        "cuMemcpy2DUnaligned",
        form.since,
        form.kind,
        *form.arguments,
        symbol="cuMemcpy2DUnaligned_v2",
        twin="ptds",
        bulk=form.bulk(Complete.CALL),
        body=Same("cuMemcpy2D_v2"),
    )


# Bytes of an element, and its argument.
_VALUES = (
    (1, in_("uc", Number("unsigned char"))),
    (2, in_("us", Number("unsigned short"))),
    (4, in_("ui", Number("unsigned int"))),
)
_RUN, _ROWS = in_("N", SIZE), (in_("Width", SIZE), in_("Height", SIZE))


def sets() -> tuple[Call, ...]:
    """Return the memsets: of 8, 16 and 32 bits, in one and two dimensions, with and without a stream."""
    return tuple(one for size, value in _VALUES for one in _sets(size, value))


def _sets(size: int, value: Argument) -> Iterator[Call]:
    """Return the memsets of elements of ``size`` bytes."""
    run, rows = bytes_of("N", scale=size), bytes_of("dstPitch", "Height")
    flat = (in_("dstDevice", DeviceAddress(Access.WRITE, run)), value, _RUN)
    box = (in_("dstDevice", DeviceAddress(Access.WRITE, rows)), in_("dstPitch", SIZE), value, *_ROWS)
    common = {"address": "dstDevice", "value": value.name, "element_bytes": str(size)}
    one = Fill({**common, "width": "N", "height": "1"})
    two = Fill({**common, "pitch": "dstPitch", "width": "Width", "height": "Height"})
    area = bytes_of("Width", "Height", scale=size)
    yield from _set(f"cuMemsetD{8 * size}", flat, one, run)
    yield from _set(f"cuMemsetD2D{8 * size}", box, two, area)


def _set(name: str, arguments: tuple[Argument, ...], body: Fill, length: Length) -> Iterator[Call]:
    """Return a memset on a stream, and the one that is the same on the default one."""
    moved = End(Place.VALUE, body.fields["value"]), End(Place.DEVICE, "dstDevice")
    forms: tuple[tuple[str, str, tuple[Argument, ...], Body], ...] = (
        (f"{name}_v2", "ptds", (), Same(f"{name}Async", {"hStream": "NULL"})),
        (f"{name}Async", "ptsz", (_ON_STREAM,), body),
    )
    for symbol, twin, more, form in forms:
        yield call(
            symbol.removesuffix("_v2"),
            3020,
            ONE_WAY,
            *arguments,
            *more,
            symbol=symbol,
            twin=twin,
            bulk=(Bulk(*moved, length, Complete.STREAM),),
            body=form,
        )
