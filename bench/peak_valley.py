"""Services with peaks and valleys, and batch work that fills the valleys, on one pool.

``python bench/peak_valley.py [--plot FILE] [--json] [--hosts N] [--days N]``. Three services have
guaranteed replicas, more by day than by night, each with its own hours. Batch jobs are best effort and
preemptible, of lower priority, and there are always more of them than there is room. The allocator and
the queue are the conductor's, the clock is simulated, and a preempted job leaves at once: what leaving
takes in a pool comes on top. Beside it the same work on two pools: as many hosts as the services
need so that they never miss, and the others for batch jobs.

A service misses its share while one of its replicas has no place. A batch job makes a checkpoint every
ten minutes; what it did since is lost when it is preempted. Work is device-hours.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gpupool.allocator.demand import Demand  # noqa: E402
from gpupool.allocator.fairshare import FairShare  # noqa: E402
from gpupool.allocator.mix import Mix  # noqa: E402
from gpupool.allocator.policies import make  # noqa: E402
from gpupool.allocator.scheduling import QueueRules  # noqa: E402
from gpupool.allocator.view import PoolView  # noqa: E402
from gpupool.model import errors  # noqa: E402
from gpupool.model.claim import Qos  # noqa: E402
from gpupool.model.pool import PolicyName  # noqa: E402
from gpupool.replay import philly, plot, queueing  # noqa: E402
from gpupool.replay.job import Job, Outcome  # noqa: E402
from gpupool.replay.simulation import Course, Simulation  # noqa: E402

HOUR, STEP = 3600.0, 300.0
BATCH = "batch"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service: replicas of ``compute`` percent each.

    It needs ``least`` to ``most`` of the pool's devices, most at ``peak`` o'clock.
    """

    name: str
    compute: int
    least: float
    most: float
    peak: float

    def replicas(self, at: float, devices: int) -> int:
        """Return how many replicas it needs at ``at`` seconds."""
        hour = (at / HOUR - self.peak) / 24
        # Steeper than a sine: mornings come fast, nights are long.
        wave = math.pow((1 + math.cos(2 * math.pi * hour)) / 2, 1.5)
        share = self.least + (self.most - self.least) * wave
        return math.ceil(share * devices * 100 / self.compute)


SERVICES = (
    Service(name="chat", compute=50, least=0.05, most=0.35, peak=14),
    Service(name="search", compute=25, least=0.05, most=0.20, peak=11),
    Service(name="video", compute=100, least=0.02, most=0.25, peak=21),
)


def service_jobs(devices: int, seconds: float) -> Iterator[Job]:
    """Yield the replicas: each from when it is needed until it is not."""
    for service in SERVICES:
        since: list[float] = []
        demand = Demand(count=1, compute=service.compute, memory_mib=0)
        for step in range(int(seconds / STEP) + 1):
            now = step * STEP
            needed = service.replicas(now, devices) if now < seconds else 0
            while len(since) < needed:
                since.append(now)
            while len(since) > needed:
                begun = since.pop()
                name = f"{service.name}/{len(since):04}/{begun:.0f}"
                yield Job(
                    id=name,
                    project=service.name,
                    demand=demand,
                    arrives=begun,
                    runs=now - begun,
                    until=now,
                    priority=90,
                )


def batch_jobs(devices: int, seconds: float) -> Iterator[Job]:
    """Yield more work than all devices could do, in jobs of half an hour to six hours."""
    generator = random.Random(1)
    asked, number = 0.0, 0
    while asked < 1.2 * devices * seconds:
        runs = STEP * generator.randint(6, 72)
        count = generator.choice((1, 1, 1, 2, 4))
        yield Job(
            id=f"{BATCH}/{number:05}",
            project=f"{BATCH}-{number % 4}",
            demand=Demand(count=count, compute=100, memory_mib=0, qos=Qos.BEST_EFFORT),
            arrives=0.0,
            runs=runs,
            until=seconds,
            priority=10,
            preemptible=True,
            checkpoint=600.0,
        )
        asked, number = asked + runs * count, number + 1


def simulate(devices: int, jobs: Iterable[Job]) -> Course:
    """Return what becomes of the jobs on hosts of eight devices, with the conductor's default rules."""
    view, mix = PoolView(philly.capacities(devices), remote=True), Mix()
    policy = make(PolicyName.FGD, mix)
    return Simulation(view, policy, mix, QueueRules(), FairShare(queueing.HALF_LIFE)).run(jobs)


def is_batch(outcome: Outcome) -> bool:
    """Return whether it is a batch job."""
    return outcome.job.id.startswith(BATCH)


def had(outcomes: Iterable[Outcome], name: str, moments: Sequence[float]) -> list[float]:
    """Return what jobs whose ids begin with ``name`` had from each moment on, in devices."""
    changes = [0.0] * (len(moments) + 1)
    for outcome in outcomes:
        if outcome.job.id.startswith(f"{name}/"):
            size = outcome.job.demand.count * outcome.job.demand.compute / 100
            for stay in outcome.stays:
                changes[math.ceil(stay.begun / STEP)] += size
                changes[min(math.ceil(stay.ended / STEP), len(moments))] -= size
    total, found = 0.0, []
    for change in changes[:-1]:
        total += change
        found.append(total)
    return found


def missed(course: Course) -> tuple[float, float]:
    """Return the device-hours that replicas had no place, and the longest that one had none, s."""
    lost, longest = 0.0, 0.0
    for outcome in course.outcomes:
        if not is_batch(outcome):
            placed = sum(stay.ended - stay.begun for stay in outcome.stays)
            waited = max(outcome.job.runs - placed, 0.0)
            lost += waited * outcome.job.demand.compute / 100 / HOUR
            longest = max(longest, waited)
    return lost, longest


def batch_work(course: Course, seconds: float) -> dict[str, float]:
    """Return the device-hours of batch work that are done, and what was done in vain."""
    done = taken = 0.0
    for outcome in course.outcomes:
        if is_batch(outcome):
            count, every = outcome.job.demand.count, outcome.job.checkpoint or math.inf
            lengths = [min(stay.ended, seconds) - stay.begun for stay in outcome.stays]
            taken += count * sum(lengths)
            # Preemption ends the first so many stays, all where the job never came back, and what came
            # after the last checkpoint is lost with it.
            kept = [
                length // every * every if number < outcome.preempted else length
                for number, length in enumerate(lengths)
            ]
            done += count * sum(kept)
    return {"done": done / HOUR, "in_vain": (taken - done) / HOUR}


def figures(devices: int, seconds: float, course: Course) -> dict[str, float]:
    """Return what a run came to."""
    lost, longest = missed(course)
    work = batch_work(course, seconds)
    served = sum(
        (stay.ended - stay.begun) * outcome.job.demand.compute / 100 / HOUR
        for outcome in course.outcomes
        if not is_batch(outcome)
        for stay in outcome.stays
    )
    return {
        "devices": devices,
        "device_hours": devices * seconds / HOUR,
        "service_hours": served,
        "service_hours_missed": lost,
        "longest_wait_of_a_replica_s": longest,
        "batch_hours_done": work["done"],
        "batch_hours_in_vain": work["in_vain"],
        "preemptions": sum(outcome.preempted for outcome in course.outcomes),
        "used_percent": 100 * (served + work["done"]) / (devices * seconds / HOUR),
    }


def measure(devices: int, seconds: float) -> tuple[Course, dict[str, dict[str, float]]]:
    """Return the run on one pool, and the figures of one pool and of two."""
    services, batch = list(service_jobs(devices, seconds)), list(batch_jobs(devices, seconds))
    together = simulate(devices, services + batch)
    steps = [step * STEP for step in range(int(seconds / STEP))]
    needed = max(
        sum(service.replicas(at, devices) * service.compute for service in SERVICES) for at in steps
    )
    own = math.ceil(needed / 800) * 8
    alone = simulate(own, services)
    while missed(alone)[0] and own < devices:
        own += 8
        alone = simulate(own, services)
    rest = simulate(devices - own, batch)
    both = Course(outcomes=alone.outcomes + rest.outcomes, samples=(), passes=alone.passes + rest.passes)
    return together, {
        "one pool": figures(devices, seconds, together),
        f"two pools, {own} + {devices - own}": figures(devices, seconds, both),
    }


def draw(path: Path, devices: int, seconds: float, course: Course) -> None:
    """Draw who had what, and what the services needed."""
    moments = [step * STEP for step in range(int(seconds / STEP))]
    layers = {
        name: [100 * each / devices for each in had(course.outcomes, name, moments)]
        for name in (*(service.name for service in SERVICES), BATCH)
    }
    needed = [
        sum(service.replicas(at, devices) * service.compute for service in SERVICES) / devices
        for at in moments
    ]
    title = f"{len(SERVICES)} services and batch jobs on {devices} simulated devices"
    lines = {"what the services need": needed}
    plot.stacked(path, title, [at / HOUR for at in moments], layers, lines)


def main() -> int:
    """Simulate, print the figures and draw the plot; return 1 when that can't be drawn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, help="a file, .svg or .png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--hosts", type=int, default=16, help="of eight devices each")
    parser.add_argument("--days", type=int, default=2)
    given = parser.parse_args()
    devices, seconds = 8 * given.hosts, 24 * HOUR * given.days
    try:
        if given.plot is not None:
            plot.check(given.plot)
        course, found = measure(devices, seconds)
        if given.plot is not None:
            draw(given.plot, devices, seconds, course)
    except errors.GpupoolError as exc:
        print(exc, file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"{'':<28}" + "".join(f"  {name:>20}" for name in found))
    for key in next(iter(found.values())):
        print(f"{key:<28}" + "".join(f"  {row[key]:>20.1f}" for row in found.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
