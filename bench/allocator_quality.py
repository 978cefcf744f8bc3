"""How much of a pool stays idle, and how long decisions take: measured beside what is aimed at.

``python bench/allocator_quality.py --nodes FILE --pods FILE... [--seeds N] [--processes N]``, with the
CSVs of Alibaba's cluster-trace-gpu-v2023; a file of pods is known by its name,
``openb_pod_list_NAME.csv``. Each figure is the mean of the seeds. What is aimed at is unallocated: what
less is granted than there is, in percent of all GPUs, when as much was demanded as there is. Uncovered
is what of single GPUs nobody has then. It is the same but where slices are oversubscribed: there what
is granted beyond one GPU makes up for what is idle of another in the first, and not in the second.

Decision times are of pools of 12,424 GPUs with remote devices, whose mix is learnt as a conductor learns
it, and are measured alone, one seed after the other. Openb's pods ask for no GPU memory; the last lines
are of 256 kinds of claims that differ in it as in CPU, on four products. What is aimed at is the 99th
percentile by the clock; beside it are the median and the longest, and the same of processor time, which
is without what else the machine does.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity  # noqa: E402
from gpupool.allocator.demand import Demand  # noqa: E402
from gpupool.allocator.mix import Mix  # noqa: E402
from gpupool.allocator.policies import make  # noqa: E402
from gpupool.allocator.view import PoolView  # noqa: E402
from gpupool.model import errors  # noqa: E402
from gpupool.model.pool import PolicyName  # noqa: E402
from gpupool.replay import openb, openb_run  # noqa: E402
from gpupool.replay.filling import Filler, Filling  # noqa: E402
from gpupool.replay.lines import BadLines  # noqa: E402
from gpupool.replay.openb_run import Settings  # noqa: E402
from gpupool.replay.report import Report  # noqa: E402

PREFIX = "openb_pod_list_"
UNALLOCATED, UNCOVERED = "unallocated_at_100", "uncovered_at_100"
DECISION = "decision_p99_ms"
TIMES = {"by the clock": "decision_{}_ms", "of processor time": "decision_cpu_{}_ms"}
# Of the pool of many kinds: hosts of eight GPUs, and the MiB of each product.
HOSTS, PRODUCTS = 1553, {"a": 16_384, "b": 24_576, "c": 40_960, "d": 81_920}
KINDS = 256


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
        settings=REMOTE | {"scale": 2, "recent_mix": True},
        target=1.0,
        key=DECISION,
    ),
)
MANY = Row(name=f"remote, {KINDS} kinds", pods="(drawn)", settings={}, target=1.0, key=DECISION)


def measure(
    row: Row, nodes: Path, pods: Path, seeds: list[int], processes: int
) -> dict[str, float | None]:
    """Return the means over the seeds."""
    settings = replace(Settings(nodes=nodes, pods=pods), **row.settings)  # type: ignore[arg-type]
    alone = 1 if row.key == DECISION else processes
    trace = openb_run.read(settings, BadLines())
    fillings = list(openb_run.runs(settings, trace, seeds, alone))
    return dict(openb_run.report(settings, trace, fillings).answer())


def many_kinds(seed: int, hosts: int = HOSTS) -> Filling:
    """Fill a pool of ``hosts`` with claims of KINDS kinds until 130 % is demanded."""
    rooms = [
        _host(f"host-{number:05}", *tuple(PRODUCTS.items())[number % len(PRODUCTS)])
        for number in range(hosts)
    ]
    view, mix = PoolView(rooms, remote=True), Mix()
    draw = random.Random(seed)
    kinds = [_kind(draw) for _ in range(KINDS)]
    until = int(view.compute.total.sum()) * openb_run.OVERFULL // openb_run.FULL
    filler = Filler(view, make(PolicyName.FGD, mix), mix, learns=True)
    return filler.run(openb.arrivals(kinds, until, seed), seed)


def _host(name: str, product: str, memory_mib: int) -> HostCapacity:
    device = {"compute_total": 100, "compute_limit": 100, "product": product}
    memory = {"memory_total": memory_mib, "memory_limit": memory_mib}
    return HostCapacity(
        name=name,
        cpu_total=96_000,
        cpu_free=96_000,
        devices=tuple(
            DeviceCapacity(device_id=f"{name}/{slot}", **device, **memory) for slot in range(8)
        ),
    )


def _kind(draw: random.Random) -> Demand:
    count = draw.choices((1, 2, 4, 8), (93, 3, 2, 2))[0]
    return Demand(
        count=count,
        compute=100 if count > 1 else draw.choice((10, 25, 50, 81, 100)),
        memory_mib=draw.randrange(1000, 40_000, 50),
        cpu_milli=draw.randrange(1000, 14_000, 50),
        products=draw.choice(((), (), ("d",), ("c", "d"))),
    )


def times(found: Mapping[str, float | None]) -> Iterator[str]:
    """Yield a line each for decisions by the clock and of processor time."""
    for what, key in TIMES.items():
        median, most, longest = (found[key.format(which)] for which in ("p50", "p99", "max"))
        yield f"{'':<12} {what:<24} p50 {median:.3f}, p99 {most:.3f}, longest {longest:.1f} ms"


def table(given: argparse.Namespace) -> Iterator[str]:
    """Yield the lines, each when it was measured."""
    files = {path.stem.removeprefix(PREFIX): path for path in given.pods}
    titles = f"{'measured':>9} {'at most':>8} {'':3} {'uncovered':>9} {'remote %':>8} {'at 130 %':>8}"
    yield f"{'trace':<12} {'how':<24} {'what':<20} {titles}"
    seeds = list(range(1, given.seeds + 1))
    for row in ROWS:
        if row.pods not in files:
            yield f"{row.pods:<12} {row.name:<24} no {PREFIX}{row.pods}.csv was given"
            continue
        found = measure(row, given.nodes, files[row.pods], seeds, given.processes)
        yield from lines(row, found)
    runs = {str(seed): openb_run.values(many_kinds(seed)) for seed in seeds}
    yield from lines(MANY, Report(replay="drawn", assumptions={}, rows=runs, headline="mean").answer())


def lines(row: Row, found: Mapping[str, float | None]) -> Iterator[str]:
    """Yield the lines of one row: how it is placed and what was measured."""
    value, remote, over = found[row.key], found["remote_percent"], found["unallocated_at_130"]
    assert value is not None
    met = "met" if value <= row.target else "NOT"
    measured = f"{value:9.3f} {row.target:8.2f} {met} {found[UNCOVERED]:9.3f} {remote:8.2f} {over:8.3f}"
    yield f"{row.pods:<12} {row.name:<24} {WHAT[row.key]:<20} {measured}"
    if row.key == DECISION:
        yield from times(found)


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
