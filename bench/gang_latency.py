"""How long it takes to place gangs of 8 to 128 vGPUs, and the ratio to another checkout.

``python bench/gang_latency.py --nodes FILE --pods FILE [--against CHECKOUT] [--rounds N]``, with the
CSVs of Alibaba's cluster-trace-gpu-v2023: to a pool of its hosts with remote devices single pods of it
and gangs come in turn, until 130 % of the pool is demanded. There are two lines for each way in which
gangs can ask to be placed: median, 99th percentile and longest of the processor time and of the time by
the clock of a decision about a gang, the reasons of refusals included, in ms.

``--against`` measures the same decisions by the allocator of another checkout, in turn with those of
this one and each in a process of its own, and prints the ratios, other over this::

    git worktree add /tmp/before COMMIT
    python bench/gang_latency.py --nodes FILE --pods FILE --against /tmp/before

It says, too, whether both made the same plans.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.gang_course import WISHES  # noqa: E402


def measured(checkout: Path, given: argparse.Namespace, wish: str) -> dict[str, Any]:
    """Return what a process with the allocator of ``checkout`` measures."""
    course = [str(HERE / "gang_course.py"), str(given.nodes), str(given.pods), wish, str(given.scale)]
    done = subprocess.run(
        [sys.executable, *course],
        env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(given: argparse.Namespace) -> Iterator[str]:
    """Yield the lines, each when it was measured."""
    yield f"{'gangs':<22} {'time':<10} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}  other over this"
    for wish in given.wish or WISHES:
        this, other = [], []
        for _ in range(given.rounds):
            if given.against is not None:
                other.append(measured(given.against, given, wish))
            this.append(measured(HERE.parent, given, wish))
        yield from lines(wish, this, other)


def lines(
    wish: str, this: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield a line each for processor time and the clock: the medians of the rounds."""
    for what in ("processor", "clock"):
        mine = percentiles(each[what] for each in this)
        line = f"{wish:<22} {what:<10} " + " ".join(f"{value:8.3f}" for value in mine)
        if other:
            theirs = percentiles(each[what] for each in other)
            line += f"  p50 {theirs[0]:.3f}, {theirs[0] / mine[0]:.1f} times"
            line += f"; p99 {theirs[1]:.3f}, {theirs[1] / mine[1]:.1f} times"
            same = {each["plans"] for each in (*this, *other)}
            line += f"; plans {'are the same' if len(same) == 1 else 'DIFFER'}"
        yield line


def percentiles(rounds: Iterable[Sequence[int]]) -> tuple[float, float, float]:
    """Return median, 99th percentile and longest in ms, of each the median of the rounds."""
    found = np.median([np.percentile(times, (50, 99, 100)) for times in rounds], axis=0) / 1e6
    return float(found[0]), float(found[1]), float(found[2])


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=Path, required=True)
    parser.add_argument("--pods", type=Path, required=True)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout of gpupool")
    parser.add_argument("--rounds", type=int, default=3, help="processes each (default: 3)")
    parser.add_argument("--scale", type=int, default=1, help="so many times the hosts (default: 1)")
    parser.add_argument("--wish", choices=list(WISHES), nargs="+", help="only gangs that ask for this")
    for line in table(parser.parse_args()):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
