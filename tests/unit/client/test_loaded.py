"""A libcuda that is not gpupool's, in a program that should use a claim."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupool.client import child, loaded
from gpupool.dataplane import build

LOADS = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print('loaded', flush=True); sys.stdin.read()"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A libcuda with the runtime's marker and one without."""
    made = {}
    for name, marker in (("ours", loaded.MARKER.decode()), ("other", "another")):
        made[name] = tmp_path_factory.mktemp(name) / "libcuda.so.1"
        source = f'extern const char text[]; const char text[] = "{marker}";'
        command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", made[name]]
        subprocess.run(command, input=source, text=True, check=True)
    return made


@pytest.fixture
def start() -> Iterator[object]:
    """Return a function that starts a program and waits until it has loaded a library."""
    started: list[subprocess.Popen[str]] = []

    def start(*command: str | Path) -> "subprocess.Popen[str]":
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen(command, text=True, **pipes))
        assert started[-1].stdout.readline() == "loaded\n"
        return started[-1]

    yield start
    for one in started:
        one.communicate()


def test_the_marker_is_the_runtimes() -> None:
    header = (build.NATIVE / "attachment" / "marker.h").read_text()
    assert f'#define RUNTIME_MARKER "{loaded.MARKER.decode()}"' in header


def test_the_runtime_is_nothing_to_tell(start, native) -> None:
    said: list[str] = []
    program = start(sys.executable, "-c", LOADS, native / "runtime" / "libcuda.so.1")
    loaded.Watch(said.append).look(program.pid)
    assert said == []


def test_another_libcuda_is_told_once(start, libraries) -> None:
    said: list[str] = []
    program = start(sys.executable, "-c", LOADS, libraries["other"])
    watch = loaded.Watch(said.append)
    assert watch.look(program.pid) == pytest.approx(0.1)
    watch.look(program.pid)
    (line,) = said
    assert line.startswith(
        f"process {program.pid} has loaded {libraries['other']}, which is not gpupool's"
    )


def test_a_child_that_loads_another_is_found_and_one_that_loads_the_runtime_is_not(
    start, libraries
) -> None:
    for name, count in (("other", 1), ("ours", 0)):
        said: list[str] = []
        # The second command keeps the shell from becoming the program.
        script = 'trap : TERM; "$0" -c "$1" "$2"; exit'
        shell = start("sh", "-c", script, sys.executable, LOADS, libraries[name])
        loaded.Watch(said.append).look(shell.pid)
        assert len(said) == count


def test_what_is_gone_or_no_library_is_nothing_to_tell(start, libraries, tmp_path) -> None:
    said: list[str] = []
    copy = tmp_path / "libcuda.so.1"
    copy.write_bytes(libraries["other"].read_bytes())
    program = start(sys.executable, "-c", LOADS, copy)
    copy.unlink()
    watch = loaded.Watch(said.append)
    watch.look(program.pid)
    watch.look(2**22 + 1)
    assert said == []


def test_looks_become_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = loaded.Watch(print)
    found = []
    for passed in (0, 1, 10, 100, 1000):
        monkeypatch.setattr(time, "monotonic", lambda passed=passed: now + passed)
        found.append(watch.look(2**22 + 1))
    assert found == pytest.approx([0.1, 0.1, 0.5, 5, 10])


def test_a_program_is_looked_at_until_it_ends() -> None:
    """The next look is when the last one said; the program's end ends the wait."""
    seen: list[int] = []

    def look(pid: int) -> float:
        seen.append(pid)
        if len(seen) == 3:
            os.kill(pid, signal.SIGTERM)
        return 0.01 if len(seen) < 3 else 1000.0

    with child.Signals() as signals:
        assert signals.run(["sleep", "1000"], {"PATH": "/usr/bin:/bin"}, look) == 128 + signal.SIGTERM
    assert len(set(seen)) == 1
    assert len(seen) == 3
