"""Copies and memsets."""

from gpupool.dataplane.api.entry import ONE_WAY, SYNCHRONOUS, Call, call

_IN = ("copy_in", "copy_in_small", "copy_arena", "staging_wait")
_OUT = ("copy_out_small", "copy_arena", "cuStreamSynchronize")
_ANY = ("copy_device", *_IN, *_OUT)


# What follows cuMemcpy, since when, the suffix of the symbol, the parameters, the messages.
_FORMS = (
    ("HtoD", 3020, "_v2", "CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount", _IN),
    ("DtoH", 3020, "_v2", "void *dstHost, CUdeviceptr srcDevice, size_t ByteCount", _OUT),
    (
        "DtoD",
        3020,
        "_v2",
        "CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount",
        ("copy_device",),
    ),
    ("", 4000, "", "CUdeviceptr dst, CUdeviceptr src, size_t ByteCount", _ANY),
    (
        "Peer",
        4000,
        "",
        "CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice, CUcontext srcContext, "
        "size_t ByteCount",
        _ANY,
    ),
    ("2D", 3020, "_v2", "const CUDA_MEMCPY2D *pCopy", _ANY),
)


def copies() -> tuple[Call, ...]:
    """Return the copies that have a blocking form and one on a stream."""
    made = []
    for suffix, since, version, signature, uses in _FORMS:
        name = f"cuMemcpy{suffix}"
        kind = ONE_WAY if suffix in {"HtoD", "DtoD"} else SYNCHRONOUS
        made += [
            call(name, since, kind, signature, symbol=name + version, twin="ptds", uses=uses),
            call(
                f"{name}Async",
                since,
                kind,
                f"{signature}, CUstream hStream",
                symbol=f"{name}Async{version}",
                twin="ptsz",
                uses=uses,
            ),
        ]
    made.append(
        call(
            "cuMemcpy2DUnaligned",
            3020,
            SYNCHRONOUS,
            "const CUDA_MEMCPY2D *pCopy",
            symbol="cuMemcpy2DUnaligned_v2",
            twin="ptds",
            uses=_ANY,
        )
    )
    return tuple(made)


def sets() -> tuple[Call, ...]:
    """Return the memsets: of 8, 16 and 32 bits, in one and two dimensions, with and without a stream."""
    made = []
    for bits, c_type, value in (
        (8, "unsigned char", "uc"),
        (16, "unsigned short", "us"),
        (32, "unsigned int", "ui"),
    ):
        flat = f"CUdeviceptr dstDevice, {c_type} {value}, size_t N"
        box = f"CUdeviceptr dstDevice, size_t dstPitch, {c_type} {value}, size_t Width, size_t Height"
        for name, signature in ((f"cuMemsetD{bits}", flat), (f"cuMemsetD2D{bits}", box)):
            uses = ("memory_set",)
            made += [
                call(name, 3020, ONE_WAY, signature, symbol=f"{name}_v2", twin="ptds", uses=uses),
                call(
                    f"{name}Async",
                    3020,
                    ONE_WAY,
                    f"{signature}, CUstream hStream",
                    twin="ptsz",
                    uses=uses,
                ),
            ]
    return tuple(made)
