"""The runtime's share of the generated C. Standard library only."""

from collections.abc import Iterable, Sequence

from gpupool.dataplane.api.body import Forward
from gpupool.dataplane.api.entry import Call
from gpupool.dataplane.generator.bodies import body, signature
from gpupool.dataplane.generator.c_types import parameters, prototype
from gpupool.dataplane.generator.symbols import symbols


def calls_header(calls: Iterable[Call]) -> str:
    """Return the prototypes of the functions behind the exported symbols."""
    lines = [
        "#ifndef GPUPOOL_CALLS_H\n#define GPUPOOL_CALLS_H\n\n",
        '#include <stdbool.h>\n\n#include "cuda/cuda_abi.h"\n\n',
    ]
    lines += [signature(call) + ";\n" for call in calls]
    return "".join([*lines, "\n#endif\n"])


def forwards(calls: Sequence[Call]) -> str:
    """Return those of them that forward: others call these, so they are a file of their own."""
    return _bodies([call for call in calls if isinstance(call.body, Forward)], calls)


def bodies(calls: Sequence[Call]) -> str:
    """Return those of them that are generated in another form."""
    return _bodies([call for call in calls if not isinstance(call.body, Forward)], calls)


def _bodies(wanted: Iterable[Call], calls: Sequence[Call]) -> str:
    by_key = {call.key: call for call in calls}
    return "\n".join(filter(None, (body(call, by_key) for call in wanted)))


def exports(calls: Sequence[Call], unsupported: Iterable[str]) -> str:
    """Return the exported symbols, and the table that cuGetProcAddress looks into."""
    parts = [_export(call) for call in calls]
    parts += [f"UNSUPPORTED({name})\n" for name in unsupported]
    parts.append("\nstatic const struct symbol symbols[] = {\n")
    rows = [row for call in calls for row in _rows(call)]
    rows += [(name, f'    {{"{name}", 0, 0, (void *){name}}},\n') for name in unsupported]
    parts += [text for _, text in sorted(rows, key=lambda row: row[0])]
    return "".join([*parts, "};\n"])


def _export(call: Call) -> str:
    names = [one.name for one in call.arguments]
    entered = "" if call.early else "    ENTER();\n"
    text = ""
    for one in symbols(call):
        arguments = ", ".join([*names, str(one.per_thread).lower()] if call.twin else names)
        head = prototype(one.symbol, parameters(call.key, call.arguments))
        text += (
            f"EXPORT {head};\n{head}\n{{\n{entered}    return runtime_{call.key}({arguments});\n}}\n\n"
        )
    return text


def _rows(call: Call) -> list[tuple[str, str]]:
    return [
        (
            f"{one.name} {one.since:05}",
            f'    {{"{one.name}", {one.since}, {int(one.per_thread)}, (void *){one.symbol}}},\n',
        )
        for one in symbols(call)
    ]
