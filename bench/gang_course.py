"""One course of gangs: what ``gang_latency.py`` measures, by the gpupool on PYTHONPATH.

``python bench/gang_course.py NODES PODS WISH SCALE`` prints one JSON object. It reads the trace by
itself, so that it runs with versions of gpupool whose replays read traces otherwise.
"""

import csv
import hashlib
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import WINDOW, Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import NoRoom, plan
from gpupool.allocator.policies import make
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout
from gpupool.model.pool import PolicyName

COUNTS = (8, 16, 32, 64, 128)
# Percent of a device; thousandths of a core and MiB of the host's memory of one program.
SIZES = ((100, 8000, 16_384), (50, 4000, 8192), (10, 1000, 2048))
WISHES: Mapping[str, Mapping[str, Any]] = {
    "any": {},
    "pack": {"layout": Layout.PACK},
    "spread": {"layout": Layout.SPREAD},
    "same type": {"same_type": True},
    "same type, pack": {"same_type": True, "layout": Layout.PACK},
    "same type, spread": {"same_type": True, "layout": Layout.SPREAD},
    "same host": {"same_host": True},
    "same host, same type": {"same_host": True, "same_type": True},
    "same host, pack": {"same_host": True, "layout": Layout.PACK},
}
# Percent of the pool that is demanded in all.
OVERFULL = 130
SINGLES_PER_GANG = 4
SEEDS = (1, 2, 3)


def measure(rooms: Sequence[HostCapacity], singles: Sequence[Demand], wish: str) -> dict[str, Any]:
    """Return the times in ns of all decisions about gangs, and a digest of their plans."""
    plans = hashlib.sha256()
    clock, processor = [], []
    for seed in SEEDS:
        for found, by_clock, of_processor in Filling(rooms, singles, wish, seed).run():
            clock.append(by_clock)
            processor.append(of_processor)
            said = repr((found.host, found.device_ids)) if isinstance(found, Plan) else "no room"
            plans.update(said.encode())
    return {"clock": clock, "processor": processor, "plans": plans.hexdigest()}


class Filling:
    """A pool to which single pods and gangs come in turn until more was demanded than there is."""

    def __init__(
        self, rooms: Sequence[HostCapacity], singles: Sequence[Demand], wish: str, seed: int
    ) -> None:
        self._draw = random.Random(seed)
        self._singles, self._gangs = singles, list(_gangs(wish))
        # As a conductor knows them at its start, of the claims that are in its database. What it takes
        # to learn of others is the same for all claims: bench/allocator_quality.py measures it.
        mix = Mix(itertools.islice(self._arrivals(), WINDOW))
        self._view = PoolView(rooms, remote=True)
        self._policy = make(PolicyName.FGD, mix)

    def run(self) -> Iterator[tuple[Plan | NoRoom, int, int]]:
        """Yield what was decided about each gang and how long that took: by the clock, of processor."""
        asked, until = 0, int(self._view.compute.total.sum()) * OVERFULL // 100
        for demand in self._arrivals():
            asked += demand.count * demand.compute
            if asked > until:
                return
            found = self._place(demand)
            if demand in self._gangs:
                yield found

    def _arrivals(self) -> Iterator[Demand]:
        while True:
            yield from self._draw.choices(self._singles, k=SINGLES_PER_GANG)
            yield self._draw.choice(self._gangs)

    def _place(self, demand: Demand) -> tuple[Plan | NoRoom, int, int]:
        begun = time.perf_counter_ns(), time.thread_time_ns()
        found = plan(self._view, demand, self._policy)
        ended = time.perf_counter_ns(), time.thread_time_ns()
        if isinstance(found, Plan):
            self._view.take(demand, found)
        return found, ended[0] - begun[0], ended[1] - begun[1]


def _gangs(wish: str) -> Iterator[Demand]:
    for count in COUNTS:
        for compute, cpu, memory in SIZES:
            yield Demand(
                count=count,
                compute=compute,
                memory_mib=0,
                cpu_milli=cpu,
                host_memory_mib=memory,
                **WISHES[wish],
            )


def read_rooms(nodes: Path, scale: int) -> list[HostCapacity]:
    """Return the empty hosts, ``scale`` of each node."""
    with nodes.open(encoding="utf-8") as file:
        return [_host(row, copy) for row in csv.DictReader(file) for copy in range(scale)]


def read_singles(pods: Path) -> list[Demand]:
    """Return what the pods with GPUs demand."""
    with pods.open(encoding="utf-8") as file:
        return [
            Demand(
                count=int(row["num_gpu"]),
                compute=-(-int(row["gpu_milli"]) // 10),
                memory_mib=0,
                cpu_milli=int(row["cpu_milli"]),
                host_memory_mib=int(row["memory_mib"]),
            )
            for row in csv.DictReader(file)
            if int(row["num_gpu"])
        ]


def _host(row: Mapping[str, str], copy: int) -> HostCapacity:
    name, cpu, memory = f"{row['sn']}/{copy}", int(row["cpu_milli"]), int(row["memory_mib"])
    whole = {"compute_total": 100, "compute_limit": 100, "memory_total": 0, "memory_limit": 0}
    return HostCapacity(
        name=name,
        cpu_total=cpu,
        cpu_free=cpu,
        memory_total=memory,
        memory_free=memory,
        devices=tuple(
            DeviceCapacity(device_id=f"{name}/{slot:04}", product=row["model"], **whole)
            for slot in range(int(row["gpu"]))
        ),
    )


def main(nodes: str, pods: str, wish: str, scale: str) -> None:
    """Measure and print."""
    rooms, singles = read_rooms(Path(nodes), int(scale)), read_singles(Path(pods))
    print(json.dumps(measure(rooms, singles, wish)))


if __name__ == "__main__":
    main(*sys.argv[1:])
