"""Writes the C that the API table yields: ``python generator/write.py OUTDIR [DEPFILE]``.

DEPFILE gets what it was made of, as Make and Ninja read it. Standard library only.

| file | what |
|---|---|
| gpupool_messages.h | numbers and structs of what travels |
| gpupool_message_view.h | what a relay needs to know of each message |
| gpupool_calls.h | prototypes of the runtime's functions behind the exported symbols |
| runtime_forwards.inc, runtime_bodies.inc | those of them that are generated |
| runtime_exports.inc | the exported symbols, and the table that cuGetProcAddress looks into |
| worker_driver.h, worker_driver.inc | the device library's functions, and how to find them |
| worker_serve.h | prototypes of the worker's functions that serve a message and are written by hand |
| worker_services.h | a row of the dispatch table for each message, whoever serves it |
| worker_dispatch.inc | one function per message that needs no thought, and the dispatch table |
| refcuda_functions.h | prototypes of the reference device's functions |
| refcuda_symbols.inc | its table that cuGetProcAddress looks into |
| protocol.rst | what travels, and the calls' arguments, as documentation |
| driver_calls.rst | which calls there are, for users |
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run by path: make the package importable and keep this folder's names out of the way.
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from gpupool.dataplane.api.cuda.numbers import NUMBERED
from gpupool.dataplane.api.cuda.table import CALLS, GROUPS, MESSAGES, REFERENCE, UNSUPPORTED, reason
from gpupool.dataplane.api.cuda.turns import TURNS
from gpupool.dataplane.api.entry import Message
from gpupool.dataplane.generator import (
    coverage_page,
    message_view,
    protocol_page,
    reference,
    runtime,
    worker,
)
from gpupool.dataplane.generator import messages as what_travels
from gpupool.dataplane.generator.c_types import UnknownTypeError

NOTICE = "/* Made by gpupool/dataplane/generator from the API table; do not edit. */\n"


def messages() -> tuple[Message, ...]:
    """Return all that travels, in the order of the message numbers, the first of which is 1."""
    return what_travels.numbered(MESSAGES, CALLS, NUMBERED)


def write(folder: Path) -> None:
    """Write every file into ``folder``; same table, same bytes. Raises UnknownTypeError, ValueError.

    A file that is there with these bytes stays as it is: nothing that includes it is compiled again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    everything = messages()
    files = {
        "gpupool_messages.h": what_travels.header(everything),
        "gpupool_message_view.h": message_view.header(everything),
        "gpupool_calls.h": runtime.calls_header(CALLS),
        "runtime_forwards.inc": runtime.forwards(CALLS),
        "runtime_bodies.inc": runtime.bodies(CALLS),
        "runtime_exports.inc": runtime.exports(CALLS, UNSUPPORTED),
        "worker_driver.h": worker.driver_header(CALLS),
        "worker_driver.inc": worker.driver_table(CALLS),
        "worker_serve.h": worker.serving_header(everything),
        "worker_services.h": worker.services_header(everything, TURNS),
        "worker_dispatch.inc": worker.dispatch(CALLS, everything),
        "refcuda_functions.h": reference.header(REFERENCE),
        "refcuda_symbols.inc": reference.rows(REFERENCE),
    }
    for name, text in files.items():
        _put(folder / name, NOTICE + text)
    _put(folder / "protocol.rst", protocol_page.page(CALLS, everything, UNSUPPORTED))
    _put(folder / "driver_calls.rst", coverage_page.page(GROUPS, UNSUPPORTED, reason))


def _put(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def write_dependencies(path: Path, folder: Path) -> None:
    """Write to ``path`` that the files in ``folder`` are made of the modules of gpupool loaded now."""
    package = Path(__file__).resolve().parents[2]
    loaded = (getattr(module, "__file__", None) for module in tuple(sys.modules.values()))
    modules = [name for name in loaded if name and Path(name).is_relative_to(package)]
    named = (name.replace(" ", "\\ ") for name in sorted(modules))
    path.write_text(f"{folder}/gpupool_messages.h: {' '.join(named)}\n")


def main() -> None:
    """Write into the folder named on the command line."""
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: write.py OUTDIR [DEPFILE]")
    folder, *depfile = map(Path, sys.argv[1:])
    try:
        write(folder)
    except (UnknownTypeError, ValueError) as error:
        raise SystemExit(f"API table: {error}") from error
    for path in depfile:
        write_dependencies(path, folder)


if __name__ == "__main__":
    main()
