"""The rooms of the C: which may include which, and that no file needs one that needs it."""

import os
import re
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gpupool.dataplane import build
from gpupool.dataplane.generator.write import write

# What a folder may include besides itself. Under cuda/ is what is CUDA's; the others know of no API.
ALLOWED = {
    "cuda": set(),
    "portable": set(),
    "wire": set(),
    "wire/cuda": {"wire", "cuda"},
    "attachment": {"wire"},
    "attachment/cuda": {"attachment"},
    "doctor": {"attachment", "attachment/cuda"},
    "runtime": {"attachment", "wire"},
    "runtime/cuda": {"runtime", "attachment", "attachment/cuda", "wire", "wire/cuda", "cuda"},
    "worker": {"wire"},
    "worker/cuda": {"worker", "wire", "wire/cuda", "cuda"},
    "refcuda": {"cuda", "refcuda/include"},
    "refcuda/include": set(),
}
# What the API table yields, by the folder that may include it; `MESSAGES` are numbers and plain structs.
MESSAGES = "gpupool_messages.h"
GENERATED = {
    "runtime": {MESSAGES},
    "runtime/cuda": {
        MESSAGES,
        "gpupool_calls.h",
        "runtime_forwards.inc",
        "runtime_bodies.inc",
        "runtime_exports.inc",
    },
    "worker": {MESSAGES},
    "worker/cuda": {
        MESSAGES,
        "worker_serve.h",
        "worker_driver.h",
        "worker_driver.inc",
        "worker_dispatch.inc",
        "worker_services.h",
    },
    "refcuda": {"refcuda_functions.h", "refcuda_symbols.inc"},
}
# CUDA's types, results and calls.
OF_CUDA = re.compile(r"\b(?:CU[a-z]\w*|CU(?:DA)?_\w+|cu[A-Z]\w*)")


def sources() -> list[Path]:
    return [path for path in sorted(build.NATIVE.rglob("*")) if path.suffix in {".c", ".h"}]


def folder(path: Path) -> str:
    return path.parent.relative_to(build.NATIVE).as_posix()


def module(path: Path) -> str:
    """A file's and its header's name in common."""
    return path.relative_to(build.NATIVE).with_suffix("").as_posix()


def included(path: Path) -> list[str]:
    return re.findall(r'^#include "([^"]+)"', path.read_text(), re.M)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the nodes from which a way leads back to them."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        left = [start]
        while left:
            more = graph.get(left.pop(), set()) - found
            found |= more
            left += more
        return found

    return [node for node in graph if node in reached(node)]


def test_every_folder_has_a_rule() -> None:
    assert {folder(path) for path in sources()} == set(ALLOWED)


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_a_folder_includes_only_what_it_may(name: str) -> None:
    allowed = ALLOWED[name] | {name}
    found = {
        f"{path.relative_to(build.NATIVE)} includes {one}"
        for path in sources()
        if folder(path) == name
        for one in included(path)
        if str(Path(one).parent) not in allowed and one not in GENERATED.get(name, set())
    }
    assert not found


@pytest.mark.parametrize("name", ["attachment", "runtime", "wire", "worker"])
def test_what_is_of_no_api_does_not_speak_of_cuda(name: str) -> None:
    found = set()
    for path in sources():
        if folder(path) == name:
            code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
            found |= {f"{path.relative_to(build.NATIVE)}: {word}" for word in OF_CUDA.findall(code)}
    assert not found


def test_no_includes_go_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in sources():
        there = {module(build.NATIVE / one) for one in included(path) if (build.NATIVE / one).exists()}
        graph.setdefault(module(path), set()).update(there - {module(path)})
    assert circle(graph) == []


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    write(folder)
    return folder


def symbols(target: str, generated: Path) -> Iterable[tuple[str, set[str], set[str]]]:
    """Yield each file's name, and which functions and variables it has for others and needs of them."""

    def compiled(source: Path) -> tuple[str, set[str], set[str]]:
        made = generated / f"{target.replace('/', '_')}_{module(source).replace('/', '_')}.o"
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O0", "-w", f"-I{build.NATIVE}", f"-I{generated}"]
        subprocess.run(["gcc", *flags, "-c", source, "-o", made], check=True)
        lines = subprocess.check_output(["nm", "--format=posix", made], text=True).splitlines()
        words = [line.split()[:2] for line in lines]
        has = {name for name, kind in words if kind.isupper() and kind != "U"}
        return module(source), has, {name for name, kind in words if kind == "U"}

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(compiled, build.sources(target))


@pytest.mark.parametrize("target", build.TARGETS)
def test_no_calls_go_in_a_circle(target: str, generated: Path) -> None:
    """A generated header, or one that declares a whole library, shows nothing of it in includes."""
    files = list(symbols(target, generated))
    where = {name: file for file, has, _ in files for name in has}
    graph = {file: {where[name] for name in needs if name in where} - {file} for file, _, needs in files}
    assert len(graph) > 1
    assert circle(graph) == []
