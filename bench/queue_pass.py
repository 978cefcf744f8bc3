"""How long a pass of the queue takes on a large pool, by for how many claims room is kept.

``python bench/queue_pass.py [--devices N] [--passes N] [--rounds N] [--reservations N...]``. Hosts have
eight devices each and are full of slices, whole devices and pairs. Gangs of 16 to 128 devices of several
projects wait beside claims of the other sizes; half of all claims say how long they run. Before each
pass one claim ends and one comes.

There is one line for each number of reservations: for how many claims room was kept on average; median,
99th percentile and longest pass in ms of processor time, which is without what else the machine does,
and of time by the clock; and the ratio of median and 99th percentile of processor time to those of the
first line. All lines begin with the same claims.
"""

import argparse
import heapq
import itertools
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity  # noqa: E402
from gpupool.allocator.demand import Demand  # noqa: E402
from gpupool.allocator.fairshare import FairShare  # noqa: E402
from gpupool.allocator.mix import Mix  # noqa: E402
from gpupool.allocator.policies import make  # noqa: E402
from gpupool.allocator.scheduling import QueueRules, Scheduler, Start, Waiting  # noqa: E402
from gpupool.allocator.view import PoolView  # noqa: E402
from gpupool.model.pool import PolicyName  # noqa: E402
from gpupool.replay.queueing import HALF_LIFE  # noqa: E402

SLOTS, MEMORY = 8, 80_000
PROJECTS = 6
HOUR = 3600.0
# How many vGPUs and percent of a device of what fills the pool, and how common that is.
SIZES, COMMON = ((1, 25), (1, 50), (1, 100), (2, 100)), (3, 2, 4, 1)
GANGS = (16, 32, 64, 128)
WAITING_GANGS, WAITING = 32, 200


@dataclass(frozen=True)
class Times:
    """How long each pass took, in ns; ``kept`` is for how many claims room was kept after it."""

    processor: list[int]
    clock: list[int]
    kept: list[int]


class Queue:
    """A full pool with claims that wait; ``run`` ends one and lets one come before each pass."""

    def __init__(self, devices: int, reservations: int, seed: int) -> None:
        self._draw = random.Random(seed)
        self._numbers = itertools.count()
        self._view = PoolView([_host(number) for number in range(-(-devices // SLOTS))], remote=True)
        self._scheduler = Scheduler(QueueRules(reservations=reservations))
        self._shares = FairShare(HALF_LIFE)
        self._mix = Mix()
        self._policy = make(PolicyName.FGD, self._mix)
        self._ends: list[tuple[float, str]] = []
        self._runs: dict[str, float] = {}
        self._now = 0.0
        asked, size = 0, int(self._view.compute.total.sum())
        while asked < size:
            asked += self._come(*self._draw.choices(SIZES, COMMON)[0])
        self._decide()
        for _ in range(WAITING_GANGS):
            self._come(self._draw.choice(GANGS), 100)
        for _ in range(WAITING):
            self._come(*self._draw.choices(SIZES, COMMON)[0])
        self._decide()

    def run(self, passes: int) -> Times:
        """Return how long so many passes took."""
        found = Times([], [], [])
        for number in range(passes):
            self._end()
            gang = number % 10 == 0
            self._come(
                *(self._draw.choice(GANGS), 100) if gang else self._draw.choices(SIZES, COMMON)[0]
            )
            begun = time.thread_time_ns(), time.perf_counter_ns()
            self._decide()
            found.processor.append(time.thread_time_ns() - begun[0])
            found.clock.append(time.perf_counter_ns() - begun[1])
            found.kept.append(len(self._scheduler.reservations))
        return found

    def _come(self, count: int, compute: int) -> int:
        """Add a claim that waits; return what it asks for, in percent of a device."""
        number = next(self._numbers)
        claim_id, runs = f"claim-{number:06}", self._draw.uniform(0.5, 24) * HOUR
        self._runs[claim_id] = runs
        demand = Demand(count=count, compute=compute, memory_mib=compute * MEMORY // 100)
        self._mix.add(demand)
        self._scheduler.wait(
            Waiting(
                claim_id=claim_id,
                project_id=f"project-{number % PROJECTS}",
                demand=demand,
                priority=50,
                created_at=self._now,
                time_limit=runs if self._draw.random() < 0.5 else None,
            )
        )
        return count * compute

    def _end(self) -> None:
        """End the claim that ends next."""
        before = self._now
        self._now, claim_id = heapq.heappop(self._ends)
        self._scheduler.charge(self._shares, before, self._now)
        claim = self._scheduler.occupancy.get(claim_id)
        assert claim is not None
        self._view.give(claim.demand, claim.plan)
        self._scheduler.forget(claim_id)

    def _decide(self) -> None:
        for each in self._scheduler.decide(self._view, self._shares, self._policy, self._now):
            assert isinstance(each, Start)
            heapq.heappush(self._ends, (self._now + self._runs[each.claim_id], each.claim_id))


def _host(number: int) -> HostCapacity:
    name = f"host-{number:05}"
    devices = tuple(
        DeviceCapacity(
            device_id=f"{name}/{slot}",
            compute_total=100,
            compute_limit=100,
            memory_total=MEMORY,
            memory_limit=MEMORY,
        )
        for slot in range(SLOTS)
    )
    return HostCapacity(name=name, cpu_total=0, cpu_free=0, devices=devices)


def table(given: argparse.Namespace) -> Iterator[str]:
    """Yield the lines when all was measured."""
    found: dict[int, list[Times]] = {number: [] for number in given.reservations}
    for seed in range(1, given.rounds + 1):
        for number, times in found.items():
            times.append(Queue(given.devices, number, seed).run(given.passes))
    yield f"{'':12} {'':>6} {'processor time, ms':>26}   {'by the clock, ms':>26}"
    titles = f"{'p50':>8} {'p99':>8} {'max':>8}"
    yield f"{'reservations':<12} {'kept':>6} {titles}   {titles}   ratio of p50 and p99"
    first = percentiles([each.processor for each in found[given.reservations[0]]])
    for number, times in found.items():
        yield line(number, times, first)


def line(number: int, times: Sequence[Times], first: Sequence[float]) -> str:
    """Return one line; ``first`` are the percentiles of processor time of the first one."""
    processor = percentiles([each.processor for each in times])
    clock = percentiles([each.clock for each in times])
    kept = np.mean([each.kept for each in times])
    figures = "   ".join(" ".join(f"{each:8.2f}" for each in part) for part in (processor, clock))
    ratios = f"{processor[0] / first[0]:.2f} {processor[1] / first[1]:.2f}"
    return f"{number:<12} {kept:6.1f} {figures}   {ratios}"


def percentiles(rounds: Sequence[Sequence[int]]) -> tuple[float, float, float]:
    """Return median, 99th percentile and longest of all passes, in ms."""
    found = np.percentile(np.concatenate(rounds), (50, 99, 100)) / 1e6
    return float(found[0]), float(found[1]), float(found[2])


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=6216, help="default: 6216")
    parser.add_argument("--passes", type=int, default=100, help="in each round (default: 100)")
    parser.add_argument("--rounds", type=int, default=2, help="other claims each (default: 2)")
    parser.add_argument("--reservations", type=int, nargs="+", default=[1, 2, 4, 8])
    for each in table(parser.parse_args()):
        print(each, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
