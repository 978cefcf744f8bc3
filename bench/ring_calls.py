"""What a call costs through runtime and worker, beside a bare ring and the reference device itself.

``python bench/ring_calls.py [--rounds N] [--calls N]``. All three are measured in turns; the best of
each is shown, because other work on the machine only adds. One-way: processor time of the calling
thread. Synchronous: wall time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gpupool.dataplane import build  # noqa: E402
from testbed.local_agent import LocalAgent  # noqa: E402

KERNELS = HERE.parent / "testbed" / "kernels.c"
INCLUDE = build.NATIVE / "refcuda" / "include"
RECORD_BYTES = 128  # of a launch with one parameter


def compile_to(target: Path, *arguments: str | Path) -> Path:
    """Compile one of the bench's programs."""
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", f"-I{build.NATIVE}", f"-I{INCLUDE}"]
    subprocess.run(["gcc", *flags, *arguments, "-o", target, "-ldl"], check=True)
    return target


def numbers(command: list[str | Path], environment: dict[str, str]) -> list[float]:
    """Run a program and read the numbers it prints."""
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def measure(rounds: int, calls: int) -> tuple[list[float], list[float], list[float]]:
    """Return the best of bare (one-way, round trip), direct and pooled (record, launch, query); ns."""
    native = build.ensure()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare = compile_to(folder / "bare", HERE / "ring_bare.c", build.NATIVE / "wire" / "ring.c")
        program = compile_to(folder / "calls", HERE / "ring_calls.c")
        kernels = compile_to(folder / "kernels.so", "-shared", "-fPIC", KERNELS)
        direct = os.environ | {"LD_LIBRARY_PATH": str(native / "refcuda")}
        seen: tuple[list[list[float]], ...] = ([], [], [])
        with LocalAgent(native) as agent:
            for _ in range(rounds):
                seen[0].append(numbers([bare, str(calls), str(RECORD_BYTES)], dict(os.environ)))
                seen[1].append(numbers([program, str(calls), kernels], direct))
                seen[2].append(numbers([program, str(calls), kernels], agent.program_environment()))
    return tuple([min(column) for column in zip(*rows, strict=True)] for rows in seen)  # type: ignore[return-value]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=50_000)
    options = parser.parse_args()
    (one_way, round_trip), direct, pooled = measure(options.rounds, options.calls)
    rows = (
        ("cuEventRecord, one-way", one_way, direct[0], pooled[0]),
        ("cuLaunchKernel, one-way", one_way, direct[1], pooled[1]),
        ("cuEventQuery, synchronous", round_trip, direct[2], pooled[2]),
    )
    print(f"best of {options.rounds} rounds of {options.calls} calls, in nanoseconds per call")
    print(
        f"{'call':<26} {'bare ring':>10} {'direct':>8} {'gpupool':>8} "
        f"{'gpupool/bare':>13} {'gpupool/direct':>15}"
    )
    for name, bare, alone, through in rows:
        ratios = f"{through / bare:>13.2f} {through / alone:>15.2f}"
        print(f"{name:<26} {bare:>10.0f} {alone:>8.0f} {through:>8.0f} {ratios}")


if __name__ == "__main__":
    main()
