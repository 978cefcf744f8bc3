"""Replays of Philly: what the order of the queue does to waiting and completion times."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from gpupool.replay import philly, queueing
from gpupool.replay.lines import BadLines
from gpupool.replay.queueing import FAIR, ORDERS, Queueing
from gpupool.replay.report import LEFT_OUT, Report
from gpupool.replay.simulation import Course

LOAD = 0.9
HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to replay, and how.

    The size is ``devices``, or what makes the ``load`` (what is asked for over what there is).
    ``time_limit`` is how many times its run time a job may run by its own word, None for no word.
    """

    jobs: Path
    cluster: str | None = None
    busiest_week: bool = False
    devices: int | None = None
    load: float = LOAD
    projects: int = 1
    time_limit: float | None = 1.0
    orders: Sequence[str] = ORDERS
    queueing: Queueing = field(default_factory=Queueing)


def run(settings: Settings, bad: BadLines) -> tuple[Report, dict[str, Course]]:
    """Replay the jobs in every order; raises Invalid when the file does not fit.

    Where run times are known to the queue, the fair order is replayed without them too. The answer is
    the last order's.
    """
    cluster, records = philly.of_cluster(philly.read_jobs(settings.jobs, bad), settings.cluster)
    if settings.busiest_week:
        records = philly.busiest_week(records)
    days = philly.WEEK / philly.DAY if settings.busiest_week else philly.days(records)
    devices = settings.devices or philly.sized(records, settings.load, days)
    courses = {
        name: _replay(settings, records, devices, order, limit)
        for name, order, limit in _variants(settings)
    }
    until = records[-1].arrives - records[0].arrives
    rows = {name: queueing.values(course, until) for name, course in courses.items()}
    report = Report(
        replay="philly",
        assumptions=_assumptions(settings, cluster, records, devices)
        | {"load": round(philly.load(records, devices, days), 3), LEFT_OUT: bad.count},
        rows=queueing.with_ratios(
            rows, {name: queueing.completions(course) for name, course in courses.items()}
        ),
        headline=settings.orders[-1],
    )
    return report, courses


def title(found: Report) -> str:
    """Return what a plot of the replay is of: trace, load and policy."""
    said = found.assumptions
    return (
        f"{said['trace']}, cluster {said['cluster']}: {said['jobs']} jobs on {said['devices']} devices, "
        f"load {said['load']}\npolicy {said['policy']}, time limits: {said['time limits']}, "
        f"devices of one job: {said['devices of one job']}"
    )


def _variants(settings: Settings) -> list[tuple[str, str, float | None]]:
    """Return name, order and time limit of each run."""
    found = [(order, order, settings.time_limit) for order in settings.orders]
    if FAIR in settings.orders and settings.time_limit is not None:
        found.append((f"{FAIR}, no time limits", FAIR, None))
    return found


def _replay(
    settings: Settings, records: list[philly.Record], devices: int, order: str, limit: float | None
) -> Course:
    # Jobs larger than a host are spread by their own means in any case; whether smaller ones may be is
    # a wish of theirs.
    same_host = not settings.queueing.remote
    return queueing.run(
        replace(settings.queueing, order=order, remote=True),
        philly.capacities(devices),
        philly.jobs(records, settings.projects, limit, same_host),
    )


def _assumptions(
    settings: Settings, cluster: str, records: list[philly.Record], devices: int
) -> dict[str, object]:
    limit = settings.time_limit
    return {
        "trace": settings.jobs.name,
        "cluster": cluster,
        "jobs": len(records),
        "jobs of several devices": sum(record.gpus > 1 for record in records),
        "first arrival": datetime.fromtimestamp(records[0].arrives, UTC).isoformat(" ", "seconds"),
        "last arrival": datetime.fromtimestamp(records[-1].arrives, UTC).isoformat(" ", "seconds"),
        "devices": devices,
        "projects": settings.projects,
        "time limits": "none" if limit is None else f"{limit:g} times the run time",
        "reservations": settings.queueing.reservations,
        "half-life, hours": settings.queueing.half_life / HOUR,
        "policy": str(settings.queueing.policy),
        "devices of one job": "any" if settings.queueing.remote else "of one host where one is enough",
    }
