"""The matrix product of the demo: the reference device directly, and through gpupool at several shares.

``python bench/matrix_product.py [--size N] [--products N] [--rounds N]``. All are measured in turns.
Time is wall time of the products alone (set-up and the first product are not counted), as a ratio to
direct. Busy is the device time that the ledger counted over the same stretch, as a ratio to wall time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gpupool.dataplane import build  # noqa: E402
from gpupool.dataplane.ledger import Ledger  # noqa: E402
from testbed.local_agent import LocalAgent, Vgpu  # noqa: E402

KERNELS = HERE.parent / "testbed" / "kernels.c"
PROGRAM = HERE / "matrix_product_program.py"
SHARES = (100, 50, 25)


def compile_kernels(folder: Path) -> Path:
    """Compile the kernels for the reference device."""
    image = folder / "kernels.so"
    include = f"-I{build.NATIVE / 'refcuda' / 'include'}"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", include, KERNELS, "-o", image], check=True)
    return image


class Program:
    """The measured program, which starts and stops its clock when told to."""

    def __init__(self, image: Path, environment: dict[str, str], size: int, products: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, image, str(size), str(products)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def run(self) -> float:
        """Run the products; return their wall time in seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self._read()["seconds"])

    def close(self) -> None:
        """End it; raises when it failed, as it does when a product is wrong."""
        self.process.communicate(timeout=60)
        if self.process.returncode:
            raise SystemExit(f"the program failed with {self.process.returncode}")

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the program ended early")
        return dict(json.loads(line))


def busy_seconds(ledger: Ledger) -> float:
    """Return the device time the ledger has counted."""
    return sum(usage.busy_ns for usage in ledger.usages()) / 1e9


def measure(size: int, products: int, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Return, by name, the wall time of each round and its busy ratio (none for direct)."""
    native = build.ensure()
    seen: dict[str, tuple[list[float], list[float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = compile_kernels(folder)
        for _ in range(rounds):
            program = Program(
                image, os.environ | {"LD_LIBRARY_PATH": str(native / "refcuda")}, size, products
            )
            seen.setdefault("direct", ([], []))[0].append(program.run())
            program.close()
            for share in SHARES:
                times, busy = seen.setdefault(f"gpupool {share} %", ([], []))
                with LocalAgent(native, (Vgpu(share),)) as agent:
                    program = Program(image, agent.program_environment(), size, products)
                    before = busy_seconds(agent.ledgers[0])
                    times.append(program.run())
                    busy.append((busy_seconds(agent.ledgers[0]) - before) / times[-1])
                    program.close()
    return seen


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--products", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seen = measure(options.size, options.products, options.rounds)
    direct = statistics.median(seen["direct"][0])
    print(
        f"{options.products} products of {options.size} x {options.size}, "
        f"median of {options.rounds} rounds"
    )
    print(f"{'way':<14} {'seconds':>8} {'time/direct':>12} {'busy/wall':>10}")
    for name, (times, busy) in seen.items():
        middle = statistics.median(times)
        ratio = f"{statistics.median(busy):>10.2f}" if busy else f"{'-':>10}"
        print(f"{name:<14} {middle:>8.3f} {middle / direct:>12.2f} {ratio}")


if __name__ == "__main__":
    main()
