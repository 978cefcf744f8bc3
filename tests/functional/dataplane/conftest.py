"""A session on the reference device, and programs that run in it."""

import ctypes
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gpupool.dataplane import build, c_flags, paths
from gpupool.dataplane.generator.write import write
from testbed.local_agent import LocalAgent

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
KERNELS = HERE.parents[2] / "testbed" / "kernels.c"


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = tmp_path_factory.mktemp("kernels") / "kernels.so"
    include = f"-I{paths.REFERENCE_INCLUDE}"
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", include]
    subprocess.run([*command, KERNELS, "-o", image], check=True)
    return image


@pytest.fixture(scope="session")
def host_device(tmp_path_factory: pytest.TempPathFactory, native: Path) -> Path:
    """Return a folder like a build's, whose sanitized worker serves host_device/ in place of CUDA."""
    folder = tmp_path_factory.mktemp("host-device")
    write(folder / "generated")
    (folder / "refcuda").symlink_to(native / "refcuda")
    parts = (HERE / "host_device", build.NATIVE / "worker", build.NATIVE / "wire")
    sources = [path for part in parts for path in sorted(part.glob("*.c"))]
    command = ["gcc", *c_flags.compile_flags("address,undefined"), "-fno-sanitize-recover=all"]
    command += [f"-I{build.NATIVE}", f"-I{folder / 'generated'}", f"-I{HERE / 'host_device'}"]
    subprocess.run([*command, *sources, "-o", folder / "gpupool-worker"], check=True)
    return folder


@pytest.fixture
def agent(native: Path) -> Iterator[Callable[..., LocalAgent]]:
    """Return a function that starts an agent; all end with the test."""
    with ExitStack() as stack:

        def start(*vgpus: Any, **more: Any) -> LocalAgent:
            if vgpus:
                more["vgpus"] = vgpus
            return stack.enter_context(LocalAgent(**{"native": native, **more}))

        yield start


@pytest.fixture
def same_addresses() -> Iterator[None]:
    """Let every process started meanwhile map its memory at the same addresses."""
    personality, no_randomization = ctypes.CDLL(None).personality, 0x0040000
    before = personality(0xFFFFFFFF)
    if personality(before | no_randomization) < 0:
        pytest.skip("address space randomization can't be turned off here")
    yield
    personality(before)


def run_program(agent: LocalAgent, kernels: Path, name: str, *more: str, **environment: str) -> Any:
    """Run a program in an agent's session; return what it printed, as JSON."""
    done = subprocess.run(
        [sys.executable, PROGRAMS, name, kernels, *more],
        env=agent.program_environment() | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "log": done.stderr}


@pytest.fixture
def run(kernels: Path) -> Callable[..., Any]:
    """Return ``run_program`` with the tests' own kernels."""

    def run(agent: LocalAgent, name: str, **environment: str) -> Any:
        return run_program(agent, kernels, name, **environment)

    return run


@pytest.fixture
def start(kernels: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Return a function that starts a program and waits until it works; none is left."""
    started: list[subprocess.Popen[str]] = []

    def start(agent: LocalAgent, name: str) -> "subprocess.Popen[str]":
        program = subprocess.Popen(
            [sys.executable, PROGRAMS, name, kernels],
            env=agent.program_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == "working\n"
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()
