"""Alibaba's cluster-trace-gpu-v2023 ("openb"): nodes and pods, and the order in which pods come.

The trace gives no device memory, so demands and devices have none: 0 MiB.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.allocator.demand import Demand
from gpupool.model import errors
from gpupool.model.claim import Qos
from gpupool.replay.columns import Columns, Row, read
from gpupool.replay.lines import BadLines

NODE_COLUMNS = Columns(needed=("sn", "cpu_milli", "memory_mib", "gpu", "model"))
POD_COLUMNS = Columns(
    needed=("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"),
    optional=("gpu_spec",),
    unread=("qos", "pod_phase", "creation_time", "deletion_time", "scheduled_time"),
)
# The trace counts thousandths of a GPU, a pool percent of a device.
MILLI_PER_PERCENT = 10
WHOLE = 100


@dataclass(frozen=True, kw_only=True)
class Node:
    """One host; ``cpu_milli`` in thousandths of a core, ``model`` of all its ``gpus``."""

    name: str
    cpu_milli: int
    memory_mib: int
    gpus: int
    model: str


@dataclass(frozen=True, kw_only=True)
class Pods:
    """What the pods demand, in the file's order.

    ``rounded`` is how many asked for less than whole percents of a GPU: those were rounded up, since
    a share that is too small would be no answer to what was asked.
    """

    demands: tuple[Demand, ...]
    rounded: int


def read_nodes(path: Path, bad: BadLines) -> list[Node]:
    """Return the nodes of a file; raises Invalid."""
    nodes: dict[str, Node] = {}
    for row in read(path, NODE_COLUMNS, bad):
        with bad.skipped():
            node = _node(row)
            if node.name in nodes:
                raise errors.Invalid(f"{row.where}: sn is {node.name!r} again; allowed: each once")
            nodes[node.name] = node
    if not any(node.gpus for node in nodes.values()):
        raise errors.Invalid(f"{path}: gpu is 0 in every line; allowed: at least one node with GPUs")
    return list(nodes.values())


def read_pods(path: Path, models: AbstractSet[str], bad: BadLines) -> Pods:
    """Return the pods of a file; raises Invalid, also for one that wants none of the ``models``."""
    rounded = 0
    demands = []
    for row in read(path, POD_COLUMNS, bad):
        with bad.skipped():
            demand, exact = _demand(row, models)
            demands.append(demand)
            rounded += not exact
    if not any(demand.count for demand in demands):
        raise errors.Invalid(f"{path}: num_gpu is 0 in every line; allowed: at least one pod with GPUs")
    return Pods(demands=tuple(demands), rounded=rounded)


def capacities(
    nodes: Iterable[Node], reserve_cpu_milli: int = 0, overcommit: int = WHOLE, scale: int = 1
) -> list[HostCapacity]:
    """Return the empty hosts, ``scale`` of each node.

    ``reserve_cpu_milli`` is kept on each host that has GPUs, ``overcommit`` (percent) is how much of
    a device's compute may be granted in all.
    """
    return [
        _host(node, f"{node.name}/{copy}" if copy else node.name, reserve_cpu_milli, overcommit)
        for node in nodes
        for copy in range(scale)
    ]


def oversubscribed(demands: Iterable[Demand]) -> list[Demand]:
    """Return the demands with every slice of a GPU as best effort, which may be oversubscribed."""
    return [
        replace(demand, qos=Qos.BEST_EFFORT) if 0 < demand.compute < WHOLE else demand
        for demand in demands
    ]


def arrivals(demands: Sequence[Demand], until: int, seed: int) -> Iterator[Demand]:
    """Yield demands until they ask for ``until`` percent of a device in all.

    First each once in shuffled order, then copies of any: the method of the trace's authors. One demand
    at least has to ask for devices.
    """
    generator = random.Random(seed)  # noqa: S311 - the same order for the same seed, no secret
    trace = list(demands)
    generator.shuffle(trace)
    order, asked = trace, 0
    while asked < until:
        for demand in order:
            yield demand
            asked += demand.count * demand.compute
            if asked >= until:
                return
        # Of the trace, not of what was drawn before: demands would die out one after the other.
        order = generator.choices(trace, k=len(trace))


def _node(row: Row) -> Node:
    return Node(
        name=row.name("sn"),
        cpu_milli=row.integer("cpu_milli"),
        memory_mib=row.integer("memory_mib"),
        gpus=row.integer("gpu", most=1024),
        model=row.text("model"),
    )


def _demand(row: Row, models: AbstractSet[str]) -> tuple[Demand, bool]:
    """Return what a pod demands, and whether in whole percents."""
    count = row.integer("num_gpu", most=1024)
    milli = row.integer("gpu_milli", most=1000)
    if count == 1 and milli == 0:
        raise errors.Invalid(f"{row.where}: gpu_milli is '0'; allowed: 1 to 1000 where num_gpu is 1")
    if count > 1 and milli != 1000:
        raise errors.Invalid(
            f"{row.where}: gpu_milli is '{milli}'; allowed: 1000 where num_gpu is {count}"
        )
    demand = Demand(
        count=count,
        compute=-(-milli // MILLI_PER_PERCENT) if count else 0,
        memory_mib=0,
        products=_products(row, models) if count else (),
        cpu_milli=row.integer("cpu_milli"),
        host_memory_mib=row.integer("memory_mib"),
    )
    return demand, not count or milli % MILLI_PER_PERCENT == 0


def _products(row: Row, models: AbstractSet[str]) -> tuple[str, ...]:
    """Return which models a pod may have, in order; none for any."""
    wanted = sorted({part.strip() for part in row.text("gpu_spec").split("|")} - {""})
    if wanted and not models & set(wanted):
        raise errors.Invalid(
            f"{row.where}: gpu_spec is {row.text('gpu_spec')!r}, of which no node has any GPU; "
            f"allowed: {', '.join(sorted(models)) or 'none'}"
        )
    return tuple(wanted)


def _host(node: Node, name: str, reserve_cpu_milli: int, overcommit: int) -> HostCapacity:
    cpu = max(node.cpu_milli - (reserve_cpu_milli if node.gpus else 0), 0)
    devices = tuple(
        DeviceCapacity(
            device_id=f"{name}/{number:04}",
            product=node.model,
            compute_total=WHOLE,
            compute_limit=overcommit,
            memory_total=0,
            memory_limit=0,
        )
        for number in range(node.gpus)
    )
    return HostCapacity(
        name=name,
        cpu_total=cpu,
        cpu_free=cpu,
        memory_total=node.memory_mib,
        memory_free=node.memory_mib,
        devices=devices,
    )
