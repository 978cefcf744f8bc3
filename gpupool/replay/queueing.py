"""Runs of a queue: how it orders, and what came out in figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gpupool.allocator.capacities import HostCapacity
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.mix import WINDOW, Mix
from gpupool.allocator.policies import make
from gpupool.allocator.scheduling import QueueRules
from gpupool.allocator.view import PoolView
from gpupool.model.pool import PolicyName
from gpupool.replay import plot
from gpupool.replay.job import Job, Outcome
from gpupool.replay.report import Values, write_csv
from gpupool.replay.simulation import Course, Simulation

# As [queue] half_life has it where nothing is configured, seconds.
HALF_LIFE = 7 * 86400.0
FIFO, FAIR = "fifo", "fair"
# First come, first served; and fair share with back-fill, as the conductor has it.
ORDERS = (FIFO, FAIR)
CSV_COLUMNS = (
    "run",
    "claim",
    "project",
    "vgpus",
    "compute",
    "arrived_s",
    "started_s",
    "ended_s",
    "waiting_s",
    "completion_s",
    "preempted",
    "remote",
)


@dataclass(frozen=True, kw_only=True)
class Queueing:
    """How a pool places and orders claims, by default as the service does; times in seconds.

    ``backfill``, ``half_life`` and ``project_weights`` are of order fair. ``mix_window`` is how many
    claims policy fgd goes by.
    """

    policy: PolicyName = PolicyName.FGD
    remote: bool = False
    order: str = FAIR
    backfill: bool = QueueRules.backfill
    reservations: int = QueueRules.reservations
    half_life: float = HALF_LIFE
    project_weights: Mapping[str, float] = field(default_factory=dict)
    min_run_time: float = QueueRules.min_run_time
    project_min_run_times: Mapping[str, float] = field(default_factory=dict)
    ageing: float = QueueRules.ageing
    mix_window: int = WINDOW


def run(settings: Queueing, capacities: Iterable[HostCapacity], jobs: Iterable[Job]) -> Course:
    """Let the jobs come to a pool of empty hosts."""
    fair = settings.order == FAIR
    mix = Mix(window=settings.mix_window)
    rules = QueueRules(
        backfill=fair and settings.backfill,
        fair=fair,
        reservations=settings.reservations,
        min_run_time=settings.min_run_time,
        min_run_times=settings.project_min_run_times,
        ageing=settings.ageing,
    )
    simulation = Simulation(
        PoolView(capacities, remote=settings.remote),
        make(settings.policy, mix),
        mix,
        rules,
        FairShare(settings.half_life, settings.project_weights),
    )
    return simulation.run(jobs)


def values(course: Course, until: float) -> Values:
    """Return the figures of one run; means over time are from the first arrival to ``until``."""
    passes = np.percentile(course.passes or [0], [50, 99]) / 1e6
    bound = [outcome for outcome in course.outcomes if outcome.stays]
    return {
        "allocated_percent": over_time([(each.at, each.allocated) for each in course.samples], until),
        "fragmented_percent": over_time([(each.at, each.fragmented) for each in course.samples], until),
        "remote_percent": 100 * sum(outcome.remote for outcome in bound) / max(len(bound), 1),
        **spread("waiting", [each.waiting for each in course.outcomes]),
        **spread("completion", [each.completion for each in course.outcomes]),
        "completed": sum(each.ended is not None for each in course.outcomes),
        "refused": sum(bool(each.refused) for each in course.outcomes),
        "never_started": sum(not each.stays and not each.refused for each in course.outcomes),
        "preempted": sum(each.preempted for each in course.outcomes),
        "pass_p50_ms": float(passes[0]),
        "pass_p99_ms": float(passes[1]),
    }


def completions(course: Course) -> dict[str, float]:
    """Return how long claims took from arrival to end, by id, where that says something."""
    return {each.job.id: each.completion for each in course.outcomes if each.completion is not None}


def with_ratios(
    rows: Mapping[str, Values], completed: Mapping[str, Mapping[str, float]]
) -> dict[str, Values]:
    """Return the rows, each with its completion times over those of the first one.

    Only claims that completed in both are compared: a run in which most never do would look best.
    """
    first = next(iter(completed.values()))
    found: dict[str, Values] = {}
    for name, row in rows.items():
        mine = completed[name]
        both = [each for each in first if each in mine]
        before, after = (sum(times[each] for each in both) for times in (first, mine))
        ratio = after / before if before > 0 else None
        found[name] = {**row, "completion_ratio": ratio, "compared": len(both)}
    return found


def spread(name: str, times: Iterable[float | None]) -> Values:
    """Return mean, median and 99th percentile of the times that are known, None without any."""
    known = [time for time in times if time is not None]
    keys = (f"{name}_mean_s", f"{name}_median_s", f"{name}_p99_s")
    if not known:
        return dict.fromkeys(keys)
    found = (float(np.mean(known)), *map(float, np.percentile(known, [50, 99])))
    return dict(zip(keys, found, strict=True))


def over_time(steps: Sequence[tuple[float, float]], until: float) -> float | None:
    """Return the mean of a value that changes at moments, from the first on; None without time."""
    before = [step for step in steps if step[0] < until]
    if not before:
        return None
    moments, levels = zip(*before, strict=True)
    lengths = np.diff([*moments, until])
    return float(np.dot(lengths, levels) / lengths.sum())


def write_claims(path: Path, courses: Mapping[str, Course]) -> None:
    """Write what became of each claim in each run as CSV; raises Invalid."""
    rows = ((name, *_row(outcome)) for name, course in courses.items() for outcome in course.outcomes)
    write_csv(path, CSV_COLUMNS, rows)


def draw(
    path: Path, title: str, courses: Mapping[str, Course], more: Mapping[str, plot.Line] | None = None
) -> None:
    """Draw completion times, what is allocated, ``more`` of that, and what waits; raises Invalid."""
    completion = {name: list(completions(course).values()) for name, course in courses.items()}
    moments = {name: [each.at for each in course.samples] for name, course in courses.items()}
    allocated = {
        name: (moments[name], [each.allocated for each in course.samples])
        for name, course in courses.items()
    }
    waiting = {
        name: (moments[name], [each.waiting for each in course.samples])
        for name, course in courses.items()
    }
    plot.queues(path, title, completion, {**(more or {}), **allocated}, waiting)


def _row(outcome: Outcome) -> tuple[object, ...]:
    job = outcome.job
    started = outcome.stays[0].begun if outcome.stays else None
    return (
        job.id,
        job.project,
        job.demand.count,
        job.demand.compute,
        *(_rounded(time) for time in (job.arrives, started, outcome.ended)),
        _rounded(outcome.waiting),
        _rounded(outcome.completion),
        outcome.preempted,
        int(outcome.remote),
    )


def _rounded(time: float | None) -> float | None:
    return None if time is None else round(time, 3)
