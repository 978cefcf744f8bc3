"""How much of a pool stays idle, and how long decisions take: measured beside what is aimed at.

``python bench/allocator_quality.py --nodes FILE --pods FILE... [--seeds N] [--processes N]``, with the
CSVs of Alibaba's cluster-trace-gpu-v2023; a file of pods is known by its name,
``openb_pod_list_NAME.csv``. Each figure is the mean of the seeds. What is aimed at is unallocated: what
less is granted than there is, in percent of all GPUs, when as much was demanded as there is. Uncovered
is what of single GPUs nobody has then. It is the same but where slices are oversubscribed: there what
is granted beyond one GPU makes up for what is idle of another in the first, and not in the second.
Decision times are measured alone, one seed after the other.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gpupool.model import errors  # noqa: E402
from gpupool.replay import openb_run  # noqa: E402
from gpupool.replay.openb_run import Settings  # noqa: E402

PREFIX = "openb_pod_list_"
UNALLOCATED, UNCOVERED = "unallocated_at_100", "uncovered_at_100"
# By the clock, and without what else the machine does meanwhile.
DECISION, PROCESSOR = "decision_p99_ms", "decision_cpu_p99_ms"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: which pods, how they are placed, which figure is at most ``target``."""

    name: str
    pods: str
    settings: Mapping[str, object]
    target: float
    key: str = UNALLOCATED


WHAT = {
    UNALLOCATED: "unallocated, %",
    DECISION: "decision p99, ms",
    PROCESSOR: "processor time, ms",
}
REMOTE = {"remote": True}
ROWS = (
    Row(name="local", pods="default", settings={}, target=4.85),
    Row(name="remote", pods="default", settings=REMOTE, target=4.2),
    Row(name="remote, moves", pods="default", settings=REMOTE | {"moves": True}, target=4.12),
    Row(
        name="remote, slices x1.14",
        pods="default",
        settings=REMOTE | {"oversubscribe": 1.14},
        target=0.5,
    ),
    Row(name="remote, 0.5 core kept", pods="cpu250", settings=REMOTE | {"reserve_cpu": 0.5}, target=4.6),
    Row(name="remote", pods="gpushare100", settings=REMOTE, target=13.0),
    Row(name="remote", pods="multigpu20", settings=REMOTE, target=4.2),
    Row(
        name="remote, twice the pool",
        pods="default",
        settings=REMOTE | {"scale": 2},
        target=1.0,
        key=DECISION,
    ),
)


def measure(
    row: Row, nodes: Path, pods: Path, seeds: list[int], processes: int
) -> dict[str, float | None]:
    """Return the means over the seeds."""
    settings = replace(Settings(nodes=nodes, pods=pods), **row.settings)  # type: ignore[arg-type]
    alone = 1 if row.key == DECISION else processes
    trace = openb_run.read(settings)
    fillings = list(openb_run.runs(settings, trace, seeds, alone))
    return dict(openb_run.report(settings, trace, fillings).answer())


def table(given: argparse.Namespace) -> Iterator[str]:
    """Yield the lines, each when it was measured."""
    files = {path.stem.removeprefix(PREFIX): path for path in given.pods}
    titles = f"{'measured':>9} {'at most':>8} {'':3} {'uncovered':>9} {'remote %':>8} {'at 130 %':>8}"
    yield f"{'trace':<12} {'how':<24} {'what':<20} {titles}"
    for row in ROWS:
        what = WHAT[row.key]
        start = f"{row.pods:<12} {row.name:<24} {what:<20}"
        if row.pods not in files:
            yield f"{start} no {PREFIX}{row.pods}.csv was given"
            continue
        found = measure(
            row, given.nodes, files[row.pods], list(range(1, given.seeds + 1)), given.processes
        )
        value, remote, over = found[row.key], found["remote_percent"], found["unallocated_at_130"]
        assert value is not None
        met = "met" if value <= row.target else "NOT"
        measured = f"{value:9.3f} {row.target:8.2f} {met}"
        yield f"{start} {measured} {found[UNCOVERED]:9.3f} {remote:8.2f} {over:8.3f}"
        if row.key == DECISION:
            yield f"{'':<37} {WHAT[PROCESSOR]:<20} {found[PROCESSOR]:9.3f}"


def main() -> int:
    """Measure and print the table; return 1 when a file does not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=Path, required=True)
    parser.add_argument("--pods", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=10, help="how many, from 1 on")
    parser.add_argument("--processes", type=int, default=1, help="seeds at once")
    try:
        for line in table(parser.parse_args()):
            print(line, flush=True)
    except errors.GpupoolError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
