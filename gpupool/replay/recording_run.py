"""Replays of recordings: how a pool did, and how it would have done otherwise."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gpupool.model.claim import Qos
from gpupool.model.pool import PolicyName
from gpupool.replay import queueing, recording
from gpupool.replay.job import Job
from gpupool.replay.lines import BadLines
from gpupool.replay.plot import Line
from gpupool.replay.queueing import FAIR, Queueing
from gpupool.replay.recording import PoolRecord, Recording, between
from gpupool.replay.report import LEFT_OUT, Report, Values
from gpupool.replay.simulation import Course

# The names of the runs: what was recorded, the same claims under the pool's own rules, under others.
RECORDED, REPLAYED, OTHERWISE = "recorded", "replayed", "otherwise"
WHOLE = 100
HOUR, DAY = 3600, 86400


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to replay, and what to do otherwise: None for what the pool did.

    ``oversubscribe`` is how often the compute of slices may be granted; they count as best effort
    then. The other fields are as on Queueing.
    """

    file: Path
    policy: PolicyName | None = None
    remote: bool = False
    oversubscribe: float | None = None
    order: str = FAIR
    reservations: int | None = None
    half_life: float | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """A report, the runs it is of, and what was allocated by the recording itself."""

    report: Report
    courses: Mapping[str, Course]
    recorded: Line


def run(settings: Settings, bad: BadLines) -> Found:
    """Replay a recording as the pool was, and as it could have been; raises Invalid."""
    read = recording.read(settings.file, bad)
    jobs = recording.jobs(read)
    as_it_was = own(read.pool)
    other = _other(settings, as_it_was)
    courses = {REPLAYED: queueing.run(as_it_was, recording.capacities(read), jobs)}
    if settings.oversubscribe is not None:
        capacities = recording.capacities(read, round(WHOLE * settings.oversubscribe))
        courses[OTHERWISE] = queueing.run(other, capacities, _with_slices_best_effort(jobs))
    elif other != as_it_was:
        courses[OTHERWISE] = queueing.run(other, recording.capacities(read), jobs)
    until = recording.seconds(read.pool.recorded_at) - recording.begun(read)
    steps = _allocated(read)
    completed = {RECORDED: _completions(read)}
    rows = {RECORDED: _recorded(read, queueing.over_time(steps, until), completed[RECORDED].values())}
    for name, course in courses.items():
        rows[name] = queueing.values(course, until)
        completed[name] = queueing.completions(course)
    report = Report(
        replay="recording",
        assumptions=_assumptions(settings, read, as_it_was, other if OTHERWISE in courses else None)
        | {LEFT_OUT: bad.count},
        rows=queueing.with_ratios(rows, completed),
        headline=list(courses)[-1],
    )
    moments, levels = [list(each) for each in zip(*steps, strict=True)] if steps else ([], [])
    return Found(report=report, courses=courses, recorded=(moments, levels))


def title(file: Path, found: Report) -> str:
    """Return what a plot of the replay is of: recording, size, and how claims were placed."""
    said = found.assumptions
    lines = [
        f"{file.name}, pool {said['pool']}: {said['claims']} claims in {said['days']} days, "
        f"{said['devices']} devices",
        *(f"{name}: {said[name]}" for name in (REPLAYED, OTHERWISE) if name in said),
    ]
    return "\n".join(lines)


def own(pool: PoolRecord) -> Queueing:
    """Return how the pool placed and ordered claims itself."""
    return Queueing(
        policy=pool.policy,
        backfill=pool.backfill,
        reservations=pool.reservations,
        half_life=pool.half_life,
        project_weights=pool.project_weights,
        min_run_time=pool.min_run_time,
        project_min_run_times=pool.project_min_run_times,
        ageing=pool.ageing,
        mix_window=pool.mix_window,
    )


def _other(settings: Settings, as_it_was: Queueing) -> Queueing:
    return replace(
        as_it_was,
        policy=as_it_was.policy if settings.policy is None else settings.policy,
        remote=settings.remote,
        order=settings.order,
        reservations=(
            as_it_was.reservations if settings.reservations is None else settings.reservations
        ),
        half_life=as_it_was.half_life if settings.half_life is None else settings.half_life,
    )


def _with_slices_best_effort(jobs: Iterable[Job]) -> list[Job]:
    return [
        replace(job, demand=replace(job.demand, qos=Qos.BEST_EFFORT))
        if job.demand.compute < WHOLE
        else job
        for job in jobs
    ]


def _allocated(read: Recording) -> list[tuple[float, float]]:
    """Return what was allocated from each moment on (seconds, percent), by the times of claims."""
    zero, total = recording.begun(read), WHOLE * max(len(read.devices), 1)
    changes: dict[float, int] = {0.0: 0}
    for claim in read.claims:
        if claim.bound_at is not None:
            ended = claim.ended_at or read.pool.recorded_at
            for at, sign in ((claim.bound_at, 1), (ended, -1)):
                moment = recording.seconds(at) - zero
                changes[moment] = changes.get(moment, 0) + sign * claim.count * claim.compute
    steps, level = [], 0
    for moment in sorted(changes):
        level += changes[moment]
        steps.append((moment, 100 * level / total))
    return steps


def _completions(read: Recording) -> dict[str, float]:
    """Return how long claims took from when they came to their end, of those that ran."""
    return {
        claim.id: between(claim.created_at, claim.ended_at)
        for claim in read.claims
        if claim.bound_at and claim.ended_at
    }


def _recorded(read: Recording, allocated: float | None, completed: Collection[float]) -> Values:
    """Return what the recording itself tells; it does not say which devices claims that ended had."""
    waiting = [between(each.created_at, each.bound_at) for each in read.claims if each.bound_at]
    return {
        "allocated_percent": allocated,
        **queueing.spread("waiting", waiting),
        **queueing.spread("completion", completed),
        "completed": len(completed),
        "never_started": len(read.claims) - len(waiting),
    }


def _assumptions(
    settings: Settings, read: Recording, as_it_was: Queueing, other: Queueing | None
) -> dict[str, object]:
    compute = f"compute {read.pool.compute_overcommit} %"
    found = {
        "pool": read.pool.name,
        "days": round((recording.seconds(read.pool.recorded_at) - recording.begun(read)) / DAY, 1),
        "hosts": len(read.hosts),
        "devices": len(read.devices),
        "claims": len(read.claims),
        REPLAYED: f"{_described(as_it_was)}, {compute}",
    }
    if other is not None:
        if settings.oversubscribe is not None:
            compute = f"slices best effort, compute {round(WHOLE * settings.oversubscribe)} %"
        found[OTHERWISE] = f"{_described(other)}, {compute}"
    return found


def _described(how: Queueing) -> str:
    found = [f"policy {how.policy}", f"order {how.order}", "remote" if how.remote else "local"]
    if how.order == FAIR:
        found += [f"reservations {how.reservations}", f"half-life {how.half_life / HOUR:g} h"]
        found += [] if how.backfill else ["no back-fill"]
    return ", ".join(found)
