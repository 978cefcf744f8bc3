"""Runs real CUDA programs natively and through gpupool on this host's GPU, and prints a table.

``python tests/gpu/check.py``: for each program works or its first failing call, and the ratio of its
time through gpupool to its native time. Programs whose packages are missing are left out, by name.
Exit code 0: all work; 1: some do not; 77: there is no GPU here.

Needs gpupool[demo] and, for the programs, nvidia-cuda-nvrtc, numba-cuda, torch.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pynvml

PROGRAMS = Path(__file__).parent / "programs"
# Program, and the package that it needs beside cuda-bindings and NumPy.
WANTED = {"nvrtc": "cuda.bindings.nvrtc", "numba_cuda": "numba.cuda", "pytorch": "torch"}
NO_GPU = 77
START_TIMEOUT = 60
PROGRAM_TIMEOUT = 300
# What each program gets of the GPU's memory.
MEMORY_MIB = 8192
CLAIM = ("openstack", "gpu", "claim", "create", "--name", "check", "--wait", "--compute", "100")


@dataclass(frozen=True)
class Outcome:
    """How one run ended: seconds of the program's own loop, or None and why."""

    seconds: float | None
    why: str = ""


def why_no_gpu() -> str | None:
    """Return why there is no GPU here, or None when there is one."""
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as exc:
        return f"NVML says: {exc}"
    return None if count else "NVML lists none"


def missing(package: str) -> bool:
    """Return whether `package` can't be imported."""
    try:
        return importlib.util.find_spec(package) is None
    except ImportError:
        return True


def run(command: list[str], environment: dict[str, str]) -> Outcome:
    """Run a program and read its outcome from what it printed."""
    try:
        ended = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PROGRAM_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(None, f"not done after {PROGRAM_TIMEOUT} s")
    seconds = re.search(r"^seconds ([\d.]+)$", ended.stdout, re.MULTILINE)
    if ended.returncode == 0 and seconds:
        return Outcome(float(seconds[1]))
    return Outcome(None, first_failure(ended.stderr) or f"exit code {ended.returncode}")


def first_failure(text: str) -> str:
    """Return the first call that gpupool says it does not support, else the last line."""
    for line in text.splitlines():
        if line.startswith("gpupool: "):
            return line.removeprefix("gpupool: ")
    return (text.strip().splitlines() or [""])[-1]


@contextmanager
def standalone() -> Iterator[dict[str, str]]:
    """Start gpupool on this host's GPUs; yield the environment of its commands."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["gpupool-standalone", "--driver", "nvidia", "--port", "0", "--state-dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield {**os.environ, "OS_AUTH_TYPE": "none", "OS_ENDPOINT": endpoint(process, folder)}
        finally:
            process.terminate()
            process.wait(timeout=START_TIMEOUT)


def endpoint(process: "subprocess.Popen[bytes]", folder: str) -> str:
    """Wait until gpupool is ready; return where its API is."""
    path = Path(folder) / "endpoints.json"
    end = time.monotonic() + START_TIMEOUT
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("gpupool-standalone does not start; see its message")
        time.sleep(0.1)
    url: str = json.loads(path.read_text())["api"]
    return url


def ratio(native: Outcome, pooled: Outcome) -> str:
    """Return time through gpupool over native time."""
    if native.seconds and pooled.seconds:
        return f"{pooled.seconds / native.seconds:.2f}"
    return "-"


def row(name: str, environment: dict[str, str]) -> bool:
    """Run one program both ways and print its row; return whether both work."""
    program = [sys.executable, str(PROGRAMS / f"{name}.py")]
    native = run(program, dict(os.environ))
    pooled = run(["openstack", "gpu", "run", "--claim", "check", "--", *program], environment)
    words = [one.why or "works" for one in (native, pooled)]
    print(f"{name:<12} {words[0]:<24} {words[1]:<48} {ratio(native, pooled):>6}", flush=True)
    return not native.why and not pooled.why


def main() -> int:
    """Print the table; return the exit code."""
    if reason := why_no_gpu():
        print(f"no GPU here ({reason}); nothing was checked")
        return NO_GPU
    left_out = [name for name, package in WANTED.items() if missing(package)]
    with standalone() as environment:
        subprocess.run(
            [*CLAIM, "--memory-mib", str(MEMORY_MIB)],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        print(f"{'program':<12} {'natively':<24} {'through gpupool, 100 %':<48} {'ratio':>6}")
        works = [row(name, environment) for name in WANTED if name not in left_out]
    for name in left_out:
        print(f"{name:<12} left out: {WANTED[name]} is not installed")
    return 0 if works and all(works) else 1


if __name__ == "__main__":
    sys.exit(main())
