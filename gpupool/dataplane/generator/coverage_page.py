"""The documentation page of which driver calls there are. Standard library only."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from gpupool.dataplane.api.entry import Call

_HEAD = """\
============================
CUDA driver calls that exist
============================

.. This page is made by gpupool/dataplane/generator from the API table.

gpupool's ``libcuda.so.1`` has {carried} of the {known} functions of the driver interface that CUDA's own
runtimes and NVIDIA's Python bindings are known to ask for. The others resolve, so that programs start;
calling one returns ``CUDA_ERROR_NOT_SUPPORTED`` and writes one line on standard error, which names it.

A *local* call is answered in the program's process. A *one-way* call is sent to the device and returns
at once; an error of it comes out at a later call, as CUDA's documentation says of asynchronous calls. A
*synchronous* call waits for its answer.
"""


Groups = Mapping[str, Sequence[Call]]  # the calls that exist, by what they are about


def page(groups: Groups, refused: Sequence[str], reason: Callable[[str], str]) -> str:
    """Return the page as reStructuredText; ``reason`` says why a name is refused."""
    carried = {call.name for calls in groups.values() for call in calls}
    parts = [_HEAD.format(carried=len(carried), known=len(carried) + len(refused))]
    parts += [_group(title, calls) for title, calls in groups.items()]
    parts.append(_title("Functions that are refused"))
    by_reason: dict[str, list[str]] = {}
    for name in sorted(refused):
        by_reason.setdefault(reason(name), []).append(name)
    for text, names in sorted(by_reason.items(), key=lambda one: -len(one[1])):
        parts.append(f"{text}\n   " + ",\n   ".join(f"``{name}``" for name in names) + "\n\n")
    return "".join(parts)


def _title(text: str) -> str:
    return f"\n{text}\n{'=' * len(text)}\n\n"


def _group(title: str, calls: Iterable[Call]) -> str:
    text = _title(title)
    text += ".. list-table::\n   :header-rows: 1\n\n   * - function\n     - since CUDA\n     - class\n"
    for call in sorted(calls, key=lambda one: (one.name, one.symbols)):
        twin = f", ``_{call.twin}``" if call.twin else ""
        since = _version(min(number for _, number in call.symbols))
        text += f"   * - ``{call.key}``{twin}\n     - {since}\n     - {call.kind.value}\n"
    return text


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
