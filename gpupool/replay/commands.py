"""The replays that ``gpupool-replay`` runs; what is going on goes to standard error."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpupool.replay import openb_run, philly_run, queueing, recording_run
from gpupool.replay.lines import BadLines
from gpupool.replay.queueing import Queueing
from gpupool.replay.report import Report


@dataclass(frozen=True, kw_only=True)
class Done:
    """A replay that is over: its report, and how its course is written and drawn as a file."""

    report: Report
    write: Callable[[Path], None]
    draw: Callable[[Path], None]


def openb(given: argparse.Namespace) -> Done:
    """Replay a trace of demands; ``given`` are the arguments."""
    settings = openb_run.Settings(
        nodes=given.nodes,
        pods=given.pods,
        policy=given.policy,
        remote=given.remote,
        moves=given.moves,
        oversubscribe=given.oversubscribe,
        reserve_cpu=given.reserve_cpu,
        scale=given.scale,
        recent_mix=given.mix == "recent",
    )
    bad = BadLines(skip=given.skip_bad_lines)
    trace, fillings = openb_run.read(settings, bad), []
    _say_left_out(bad)
    for filling in openb_run.runs(settings, trace, given.seeds, given.processes):
        fillings.append(filling)
        print(f"{len(fillings)} of {len(given.seeds)} seeds done", file=sys.stderr)
    return Done(
        report=openb_run.report(settings, trace, fillings),
        write=lambda path: openb_run.write_points(path, fillings),
        draw=lambda path: openb_run.draw(path, settings, trace, fillings),
    )


def philly(given: argparse.Namespace) -> Done:
    """Replay a trace of jobs; ``given`` are the arguments."""
    settings = philly_run.Settings(
        jobs=given.jobs,
        cluster=given.cluster,
        busiest_week=given.busiest_week,
        devices=given.devices,
        load=given.load,
        projects=given.projects,
        time_limit=given.time_limits,
        orders=given.order,
        queueing=Queueing(
            policy=given.policy,
            remote=given.remote,
            reservations=given.reservations,
            half_life=given.half_life,
        ),
    )
    bad = BadLines(skip=given.skip_bad_lines)
    found, courses = philly_run.run(settings, bad)
    _say_left_out(bad)
    return Done(
        report=found,
        write=lambda path: queueing.write_claims(path, courses),
        draw=lambda path: queueing.draw(path, philly_run.title(found), courses),
    )


def recording(given: argparse.Namespace) -> Done:
    """Replay what a service recorded; ``given`` are the arguments."""
    settings = recording_run.Settings(
        file=given.file,
        policy=given.policy,
        remote=given.remote,
        oversubscribe=given.oversubscribe,
        order=given.order,
        reservations=given.reservations,
        half_life=given.half_life,
    )
    bad = BadLines(skip=given.skip_bad_lines)
    found = recording_run.run(settings, bad)
    _say_left_out(bad)
    recorded = {recording_run.RECORDED: found.recorded}
    return Done(
        report=found.report,
        write=lambda path: queueing.write_claims(path, found.courses),
        draw=lambda path: queueing.draw(
            path, recording_run.title(settings.file, found.report), found.courses, recorded
        ),
    )


def _say_left_out(bad: BadLines) -> None:
    if bad.count:
        named = "".join(f"\n  {reason}" for reason in bad.reasons)
        more = "\n  ..." if bad.count > len(bad.reasons) else ""
        print(f"lines left out: {bad.count}{named}{more}", file=sys.stderr)
