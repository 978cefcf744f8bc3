"""The reference device's share of the generated C. Standard library only."""

from collections.abc import Iterable

from gpupool.dataplane.api.entry import Call
from gpupool.dataplane.generator.c_types import parameters, prototype
from gpupool.dataplane.generator.symbols import symbols


def header(calls: Iterable[Call]) -> str:
    """Return the prototypes of every function of the library, by its exported name."""
    lines = [
        "#ifndef REFCUDA_FUNCTIONS_H\n#define REFCUDA_FUNCTIONS_H\n\n",
        '#include "cuda/cuda_abi.h"\n\n',
    ]
    for call in calls:
        inside = parameters(call.key, call.arguments)
        lines += [f"{prototype(one.symbol, inside)};\n" for one in symbols(call)]
    return "".join([*lines, "\n#endif\n"])


def rows(calls: Iterable[Call]) -> str:
    """Return the rows of the table that cuGetProcAddress looks into."""
    return "".join(
        f'{{"{one.name}", {one.since}, {str(one.per_thread).lower()}, (any_function){one.symbol}}},\n'
        for call in calls
        for one in symbols(call)
    )
