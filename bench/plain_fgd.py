# ruff: noqa: ARG002 - every policy is asked alike, few need all of the question
"""Remote placement beside plain fragmentation gradient descent with remote fallback, in one run.

``python bench/plain_fgd.py --nodes FILE --pods FILE... [--seeds N] [--processes N]``, with the CSVs of
Alibaba's cluster-trace-gpu-v2023, and traces that ``typed_pods.py`` makes of them. The plain method is
that of Weng et al., "Beware of Fragmentation", USENIX ATC 2023: the place whose fragmentation grows
least by the commonest demands that make up 95 % of the whole trace, the first node among equals; a pod
that has no place on one host has devices of any host, chosen by the same measure. ``exact`` goes by the
measure itself, ``scores`` by whole numbers from 0 to 100 as the authors' scheduler does. Figures are
what less is granted than there is when as much was demanded as there is, in percent of all GPUs.

For each trace there is a line a seed and one of the means, whose last column says how far this is
behind the better of the two, and whether that is at most 0.2.
"""

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gpupool.allocator.demand import Demand  # noqa: E402
from gpupool.allocator.fragmentation import Floats, Hosts  # noqa: E402
from gpupool.allocator.mix import COVERED, Mix, Weights  # noqa: E402
from gpupool.allocator.policies import FragmentationGradientDescent  # noqa: E402
from gpupool.allocator.view import Amounts, PoolView  # noqa: E402
from gpupool.model import errors  # noqa: E402
from gpupool.replay import openb, openb_run  # noqa: E402
from gpupool.replay.filling import Filler  # noqa: E402
from gpupool.replay.lines import BadLines  # noqa: E402
from gpupool.replay.openb_run import FULL, Settings, Trace  # noqa: E402

OURS, EXACT, SCORES = "ours", "exact", "scores"
BEHIND = 0.2
# Percent of a device of which the authors' scores are a sigmoid.
DEVICE = 100


class Typical(Mix):
    """The commonest demands of a trace, all of them told apart."""

    def __init__(self, demands: Sequence[Demand]) -> None:
        super().__init__()
        # Memory of the host is not part of the measure.
        counts = Counter(replace(each, host_memory_mib=0) for each in demands)
        common, covered = list[tuple[Demand, int]](), 0
        for demand, count in counts.most_common():
            if covered >= COVERED * len(demands):
                break
            common.append((demand, count))
            covered += count
        self._typical = tuple((demand, count / covered) for demand, count in common)

    @property
    def weights(self) -> Weights:
        """See Mix."""
        return self._typical


class Plain(FragmentationGradientDescent):
    """The published policy; only the tables that the measure is looked up in are gpupool's."""

    def __init__(self, mix: Mix, scores: bool) -> None:
        super().__init__(mix)
        self._scores = scores

    def prices(self, view: PoolView, demand: Demand) -> Floats | None:
        """See Policy."""
        return None

    def device_cost(self, view: PoolView, demand: Demand, hosts: Amounts, program: bool) -> Floats:
        """See Policy."""
        state = Hosts(view, self._usefulness(view), hosts)
        return self._cost(state.lost_with_one(demand, program) - demand.compute)

    def host_cost(
        self, view: PoolView, demand: Demand, hosts: Amounts, taken: Amounts, program: bool
    ) -> Floats:
        """See Policy."""
        return self._cost(self._lost_on_hosts(view, demand, hosts, taken, program))

    def _cost(self, more: Floats) -> Floats:
        # Rounded, so that what only the order of adding up makes different is equal.
        found: Floats = np.round(more, 6)
        return -np.floor(100 / (1 + np.exp(found / DEVICE))) if self._scores else found


def unallocated(trace: Trace, method: str, seed: int) -> float:
    """Return what is unallocated, in percent, when all is demanded."""
    demands = trace.pods.demands
    view = PoolView(openb.capacities(trace.nodes), remote=True)
    until = int(view.compute.total.sum())
    typical = Typical(demands)
    mix = Mix(demands, window=len(demands)) if method == OURS else typical
    ours = FragmentationGradientDescent(mix)
    policy = ours if method == OURS else Plain(typical, scores=method == SCORES)
    return Filler(view, policy, mix).run(openb.arrivals(demands, until, seed), seed).at(FULL).unallocated


def table(given: argparse.Namespace) -> Iterator[str]:
    """Yield the lines, each when it was measured."""
    methods = OURS, EXACT, SCORES
    yield f"{'trace':<40} {'seed':>5} " + " ".join(f"{method:>8}" for method in methods) + "   behind"
    seeds = range(1, given.seeds + 1)
    for pods in given.pods:
        trace = openb_run.read(Settings(nodes=given.nodes, pods=pods), BadLines())
        found: dict[int, list[float]] = {}
        with ProcessPoolExecutor(given.processes) as pool:
            for seed in seeds:
                found[seed] = list(pool.map(partial(unallocated, trace, seed=seed), methods))
                yield line(pods.stem, str(seed), found[seed])
        means = [statistics.fmean(each) for each in zip(*found.values(), strict=True)]
        met = "met" if means[0] - min(means[1:]) <= BEHIND else "NOT"
        yield f"{line(pods.stem, 'mean', means)} {met}"


def line(name: str, seed: str, values: Sequence[float]) -> str:
    """Return one line; ``values`` are of this and the two plain methods."""
    figures = " ".join(f"{value:8.3f}" for value in values)
    return f"{name:<40} {seed:>5} {figures} {values[0] - min(values[1:]):+8.3f}"


def main() -> int:
    """Measure and print the table; return 1 when a file does not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=Path, required=True)
    parser.add_argument("--pods", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 1 on (default: 5)")
    parser.add_argument("--processes", type=int, default=1, help="methods at once (default: 1)")
    try:
        for each in table(parser.parse_args()):
            print(each, flush=True)
    except errors.GpupoolError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
