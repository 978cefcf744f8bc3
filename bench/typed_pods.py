"""Names a GPU type in part of a trace's pods: Alibaba's default trace has none that do.

``python bench/typed_pods.py --nodes FILE --pods FILE --percent 33 [--by gpus|evenly] [--seed N] > OUT``.
So many percent of the pods that ask for GPUs get a ``gpu_spec``: a type of which some node could hold
the pod, drawn by how many GPUs there are of it, or evenly. Half of those that get one V100 take the
other one, too, as some pods of the original do. The same files, options and seed give the same trace.
"""

import argparse
import csv
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gpupool.model import errors  # noqa: E402
from gpupool.replay import openb_run  # noqa: E402
from gpupool.replay.lines import BadLines, opened  # noqa: E402
from gpupool.replay.openb import Node  # noqa: E402
from gpupool.replay.openb_run import Settings  # noqa: E402

GPUS, EVENLY = "gpus", "evenly"
SPEC = "gpu_spec"
EITHER = ("V100M16", "V100M32")
# Of a type with fewer GPUs no trace of this size can have pods.
FEWEST = 10


def typed(
    pods: Iterable[Mapping[str, str]], nodes: Sequence[Node], percent: float, by: str, seed: int
) -> Iterator[dict[str, str]]:
    """Yield the pods' rows, some with a type."""
    draw = random.Random(seed)
    gpus = Counter[str]()
    for node in nodes:
        gpus[node.model] += node.gpus
    for pod in pods:
        row = {**pod, SPEC: pod.get(SPEC, "")}
        if int(pod["num_gpu"]) and draw.random() * 100 < percent:
            models = [each for each in _models(pod, nodes) if gpus[each] >= FEWEST]
            weights = [gpus[each] if by == GPUS else 1 for each in models]
            model = draw.choices(models, weights)[0] if models else ""
            either = model in EITHER and draw.random() < 0.5
            row[SPEC] = "|".join(EITHER) if either else model
        yield row


def _models(pod: Mapping[str, str], nodes: Sequence[Node]) -> list[str]:
    """Return the types of the nodes that could hold a pod."""
    count, cpu, memory = (int(pod[each]) for each in ("num_gpu", "cpu_milli", "memory_mib"))
    return sorted(
        {
            node.model
            for node in nodes
            if node.gpus >= count and node.cpu_milli >= cpu and node.memory_mib >= memory
        }
    )


def main() -> int:
    """Write the trace; return 1 when a file does not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=Path, required=True)
    parser.add_argument("--pods", type=Path, required=True)
    parser.add_argument("--percent", type=float, default=33.0, help="of pods with GPUs (default: 33)")
    parser.add_argument("--by", choices=(GPUS, EVENLY), default=GPUS, help=f"default: {GPUS}")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    try:
        trace = openb_run.read(Settings(nodes=given.nodes, pods=given.pods), BadLines())
        with opened(given.pods) as file:
            rows = list(csv.DictReader(file))
    except errors.GpupoolError as exc:
        print(exc, file=sys.stderr)
        return 1
    writer = csv.DictWriter(sys.stdout, [*dict.fromkeys([*rows[0], SPEC])], lineterminator="\n")
    writer.writeheader()
    writer.writerows(typed(rows, trace.nodes, given.percent, given.by, given.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
