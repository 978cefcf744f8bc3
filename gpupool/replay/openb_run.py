"""Replays of openb: how much of a pool stays idle when more is demanded than there is."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import Mix
from gpupool.allocator.policies import make
from gpupool.allocator.view import PoolView
from gpupool.model.pool import PolicyName
from gpupool.replay import openb, plot
from gpupool.replay.filling import Filler, Filling
from gpupool.replay.lines import BadLines
from gpupool.replay.openb import Node, Pods
from gpupool.replay.report import LEFT_OUT, Report, Values, write_csv

# How much is demanded, in percent of the pool, where each figure is taken.
FULL, OVERFULL = 100, 130
CSV_COLUMNS = (
    "seed",
    "arrived_percent",
    "granted_percent",
    "unallocated_percent",
    "uncovered_percent",
    "fragmented_percent",
    "remote_percent",
    "refused",
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to replay, and how.

    ``oversubscribe`` is how often the slices' compute may be granted (1.14: up to 114 % of a device),
    ``reserve_cpu`` cores are kept on every host with devices, ``scale`` multiplies hosts and demand.
    ``recent_mix``: the policy knows the claims that came, as in a pool; else it knows the whole trace,
    as the measure's authors have it.
    """

    nodes: Path
    pods: Path
    policy: PolicyName = PolicyName.FGD
    remote: bool = False
    moves: bool = False
    oversubscribe: float = 1.0
    reserve_cpu: float = 0.0
    scale: int = 1
    recent_mix: bool = False


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What the files say."""

    nodes: Sequence[Node]
    pods: Pods
    left_out: int


def read(settings: Settings, bad: BadLines) -> Trace:
    """Read each file, once: it may be a pipe. Raises Invalid when one does not fit."""
    nodes = openb.read_nodes(settings.nodes, bad)
    pods = openb.read_pods(settings.pods, {node.model for node in nodes if node.gpus}, bad)
    return Trace(nodes=nodes, pods=pods, left_out=bad.count)


def run(settings: Settings, trace: Trace, seed: int) -> Filling:
    """Fill the pool once."""
    demands: Sequence[Demand] = trace.pods.demands
    overcommit = round(FULL * settings.oversubscribe)
    if overcommit > FULL:
        demands = openb.oversubscribed(demands)
    view = PoolView(
        openb.capacities(
            trace.nodes,
            round(1000 * settings.reserve_cpu),
            overcommit,
            settings.scale,
        ),
        remote=settings.remote,
    )
    mix = Mix() if settings.recent_mix else Mix(demands, window=len(demands))
    until = -(-int(view.compute.total.sum()) * OVERFULL // FULL)
    filler = Filler(
        view, make(settings.policy, mix, seed), mix, learns=settings.recent_mix, moves=settings.moves
    )
    return filler.run(openb.arrivals(demands, until, seed), seed)


def runs(
    settings: Settings, trace: Trace, seeds: Sequence[int], processes: int = 1
) -> Iterator[Filling]:
    """Yield one filling a seed, in their order."""
    if processes == 1:
        yield from map(partial(run, settings, trace), seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(partial(run, settings, trace), seeds)


def report(settings: Settings, trace: Trace, fillings: Iterable[Filling]) -> Report:
    """Return what came out, by seed."""
    rows = {f"seed {filling.seed}": values(filling) for filling in fillings}
    assumptions = {
        "trace": settings.pods.name,
        "hosts": settings.scale * len(trace.nodes),
        "devices": settings.scale * sum(node.gpus for node in trace.nodes),
        "policy": str(settings.policy),
        "remote": settings.remote,
        "moves": settings.moves,
        "oversubscribe": settings.oversubscribe,
        "reserve_cpu": settings.reserve_cpu,
        "mix": "recent" if settings.recent_mix else "trace",
        "seeds": [int(name.split()[1]) for name in rows],
        "pods that name GPU models": sum(bool(demand.products) for demand in trace.pods.demands),
        "pods rounded up to whole percents": trace.pods.rounded,
        LEFT_OUT: trace.left_out,
    }
    return Report(replay="openb", assumptions=assumptions, rows=rows, headline="mean")


def write_points(path: Path, fillings: Iterable[Filling]) -> None:
    """Write the pool at every full percent of demand as CSV; raises Invalid."""
    write_csv(
        path,
        CSV_COLUMNS,
        (
            (
                filling.seed,
                *(
                    round(value, 4)
                    for value in (
                        point.arrived,
                        point.granted,
                        point.unallocated,
                        point.uncovered,
                        point.fragmented,
                        point.remote,
                    )
                ),
                point.refused,
            )
            for filling in fillings
            for point in filling.points
        ),
    )


def draw(path: Path, settings: Settings, trace: Trace, fillings: Iterable[Filling]) -> None:
    """Draw what stays idle over what was demanded; raises Invalid."""
    unallocated, fragmented = {}, {}
    for filling in fillings:
        arrived = [point.arrived for point in filling.points]
        name = f"seed {filling.seed}"
        unallocated[name] = (arrived, [point.unallocated for point in filling.points])
        fragmented[name] = (arrived, [point.fragmented for point in filling.points])
    plot.filling(path, _title(settings, trace), unallocated, fragmented)


def _title(settings: Settings, trace: Trace) -> str:
    devices = settings.scale * sum(node.gpus for node in trace.nodes)
    how = [f"policy {settings.policy}", "remote devices" if settings.remote else "local devices"]
    how += ["moves"] if settings.moves else []
    if settings.oversubscribe != 1:
        how.append(f"oversubscribed {settings.oversubscribe:g}")
    if settings.reserve_cpu:
        how.append(f"{settings.reserve_cpu:g} cores reserved a host")
    load = f"up to {OVERFULL} % of {devices} devices"
    return f"{settings.pods.name}: {len(trace.pods.demands)} pods, {load}\n{', '.join(how)}"


def values(filling: Filling) -> Values:
    """Return the figures of one run."""
    full, overfull = filling.at(FULL), filling.at(OVERFULL)
    return {
        "unallocated_at_100": full.unallocated,
        "unallocated_at_130": overfull.unallocated,
        "uncovered_at_100": full.uncovered,
        "uncovered_at_130": overfull.uncovered,
        "fragmented_at_100": full.fragmented,
        "fragmented_at_130": overfull.fragmented,
        "remote_percent": full.remote,
        "moved": filling.moved,
        "decision_p50_ms": _ms(filling.decisions, 50),
        "decision_p99_ms": _ms(filling.decisions, 99),
        "decision_max_ms": _ms(filling.decisions, 100),
        "decision_cpu_p50_ms": _ms(filling.processor, 50),
        "decision_cpu_p99_ms": _ms(filling.processor, 99),
        "decision_cpu_max_ms": _ms(filling.processor, 100),
        "make_room_p50_ms": _ms(filling.making_room, 50),
        "make_room_p99_ms": _ms(filling.making_room, 99),
    }


def _ms(times: Sequence[int], percentile: int) -> float | None:
    """Return a percentile of times in ns; None without any."""
    return float(np.percentile(times, percentile)) / 1e6 if times else None
