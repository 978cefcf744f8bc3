"""gpupool-replay: replays a trace or a recording through the allocator and the queue.

Nothing but the result goes to standard output; what is going on, to standard error.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpupool.cmd import output
from gpupool.model import errors
from gpupool.model.pool import PolicyName
from gpupool.replay import openb_run, philly_run, plot, queueing, recording_run, report
from gpupool.replay.lines import BadLines
from gpupool.replay.queueing import FAIR, ORDERS, Queueing
from gpupool.replay.report import Report

SEEDS_MAX = 1000
HOUR = 3600
OWN = "the pool`s own"


@dataclass(frozen=True, kw_only=True)
class Done:
    """A replay that is over: its report, and how its course is written and drawn as a file."""

    report: Report
    write: Callable[[Path], None]
    draw: Callable[[Path], None]


def main(args: Sequence[str] | None = None) -> int:
    """Run one replay; return 0, or 1 with the reason on standard error (argparse returns 2)."""
    parsed = _parser().parse_args(args)
    try:
        if parsed.plot is not None:
            plot.check(parsed.plot)
        if parsed.csv is not None:
            report.check_writable("csv", parsed.csv)
        done: Done = parsed.run(parsed)
        _print(report.as_json(done.report) if parsed.json else report.as_text(done.report))
        if parsed.csv is not None:
            done.write(parsed.csv)
        if parsed.plot is not None:
            done.draw(parsed.plot)
    except errors.GpupoolError as exc:
        print(f"gpupool-replay: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _say_left_out(bad: BadLines) -> None:
    if bad.count:
        named = "".join(f"\n  {reason}" for reason in bad.reasons)
        more = "\n  ..." if bad.count > len(bad.reasons) else ""
        print(f"lines left out: {bad.count}{named}{more}", file=sys.stderr)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        output.discard()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpupool-replay", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="openb|philly|recording")
    _add_openb(commands)
    _add_philly(commands)
    _add_recording(commands)
    return parser


def _add_openb(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("openb", help="Alibaba's cluster-trace-gpu-v2023")
    parser.add_argument("--nodes", type=Path, required=True, metavar="FILE", help="CSV of the hosts")
    parser.add_argument("--pods", type=Path, required=True, metavar="FILE", help="CSV of the demands")
    _add_skip_bad_lines(parser)
    _add_policy(parser, PolicyName.FGD)
    parser.add_argument(
        "--moves",
        action="store_true",
        help="vGPUs may move to make room for others, as the service does not do yet",
    )
    _add_oversubscribe(parser, 1.0)
    parser.add_argument(
        "--reserve-cpu",
        type=_amount,
        default=0.0,
        metavar="CORES",
        help="cores kept on every host with devices",
    )
    parser.add_argument(
        "--scale", type=_count, default=1, metavar="N", help="N times the hosts and the demand"
    )
    parser.add_argument(
        "--mix",
        choices=("trace", "recent"),
        default="trace",
        help="what fgd knows of demands: the whole trace as the measure's authors have it, or those "
        "that came last as in a pool (default: trace)",
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=[1], metavar="1-10", help="seeds, such as 3 or 1-10 or 1,4"
    )
    parser.add_argument(
        "--processes", type=_count, default=1, metavar="N", help="seeds at once (default: 1)"
    )
    _add_outputs(parser)
    parser.set_defaults(run=_openb)


def _add_philly(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("philly", help="Microsoft's Philly trace")
    parser.add_argument("--jobs", type=Path, required=True, metavar="FILE", help="CSV of the jobs")
    _add_skip_bad_lines(parser)
    parser.add_argument(
        "--cluster",
        metavar="NAME",
        help="whose jobs; all: everybody's, each cluster a project (default: the cluster with the most "
        "jobs of several devices)",
    )
    parser.add_argument(
        "--busiest-week", action="store_true", help="only the seven days that asked for most"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--devices", type=_count, metavar="N", help="how many the cluster has")
    size.add_argument(
        "--load",
        type=_positive,
        default=philly_run.LOAD,
        metavar="RATIO",
        help="what is asked for over what there is, which gives the devices (default: %(default)s)",
    )
    parser.add_argument(
        "--projects",
        type=_count,
        default=1,
        metavar="N",
        help="the file names no users: deal jobs to N projects in turn (default: 1)",
    )
    parser.add_argument(
        "--time-limits",
        type=_time_limits,
        default=1.0,
        metavar="exact|none|FACTOR",
        help="what the queue is told of run times (default: exact)",
    )
    parser.add_argument(
        "--order", nargs="+", choices=ORDERS, default=list(ORDERS), help="of the queue (default: both)"
    )
    _add_policy(parser, PolicyName.FGD)
    _add_queue(parser, Queueing())
    _add_outputs(parser)
    parser.set_defaults(run=_philly)


def _add_recording(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("recording", help="what gpupool-manage recording wrote")
    parser.add_argument("file", type=Path, metavar="FILE")
    _add_skip_bad_lines(parser)
    _add_policy(parser, None)
    _add_oversubscribe(parser, None)
    parser.add_argument("--order", choices=ORDERS, default=FAIR, help="of the queue (default: fair)")
    _add_queue(parser, None)
    _add_outputs(parser)
    parser.set_defaults(run=_recording)


def _add_skip_bad_lines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--skip-bad-lines",
        action="store_true",
        help="leave out lines that do not fit, and say how many; files may be gzip (default: the first "
        "one ends the replay)",
    )


def _add_policy(parser: argparse.ArgumentParser, default: PolicyName | None) -> None:
    parser.add_argument(
        "--policy",
        type=_policy,
        default=default,
        metavar="|".join(PolicyName),
        help=f"which of the places that fit is taken (default: {default or OWN})",
    )
    parser.add_argument(
        "--remote", action="store_true", help="devices may be of other hosts than the program's"
    )


def _add_oversubscribe(parser: argparse.ArgumentParser, default: float | None) -> None:
    parser.add_argument(
        "--oversubscribe",
        type=_ratio,
        default=default,
        metavar="RATIO",
        help="slices of a device are best effort, of which so much more may be granted, such as 1.14",
    )


def _add_queue(parser: argparse.ArgumentParser, default: Queueing | None) -> None:
    parser.add_argument(
        "--reservations",
        type=_count,
        default=default and default.reservations,
        metavar="N",
        help=f"for how many claims room is kept (default: {default.reservations if default else OWN})",
    )
    parser.add_argument(
        "--half-life",
        type=_hours,
        default=default and default.half_life,
        metavar="HOURS",
        help="in which a project's past use counts half "
        f"(default: {f'{default.half_life / HOUR:g}' if default else OWN})",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the course as CSV")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as .svg or .png")


def _openb(given: argparse.Namespace) -> Done:
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


def _philly(given: argparse.Namespace) -> Done:
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


def _recording(given: argparse.Namespace) -> Done:
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


def _seeds(text: str) -> list[int]:
    """Return the seeds of a list such as 1-10 or 1,4."""
    found: list[int] = []
    for part in text.split(","):
        matched = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        first, last = (
            (int(each) for each in (matched[1], matched[2] or matched[1])) if matched else (1, 0)
        )
        if first > last or last - first >= SEEDS_MAX:
            raise argparse.ArgumentTypeError(
                f"{text!r} are no seeds; allowed: such as 3 or 1-10 or 1,4, at most {SEEDS_MAX} of them"
            )
        found += range(first, last + 1)
    return found


def _policy(text: str) -> PolicyName:
    try:
        return PolicyName(text)
    except ValueError as exc:
        allowed = ", ".join(PolicyName)
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: {allowed}") from exc


def _time_limits(text: str) -> float | None:
    if text in ("none", "exact"):
        return None if text == "none" else 1.0
    return _number(text, "exact, none, or by how much they are too long, 1 or more", 1)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:10]) < 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of things; allowed: 1 to 999999")
    return int(text)


def _amount(text: str) -> float:
    return _stepped(text, 0, 10**6, 1000)


def _ratio(text: str) -> float:
    return _stepped(text, 1, 100, 100)


def _stepped(text: str, least: float, most: float, per_unit: int) -> float:
    """Return a number that ``per_unit`` times is a whole one: between those nothing would change."""
    allowed = f"{least} to {most}, in steps of {1 / per_unit}"
    value = _number(text, allowed, least, most)
    if not math.isclose(value * per_unit, round(value * per_unit)):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: {allowed}")
    return value


def _hours(text: str) -> float:
    """Return seconds: no more than a recording may say."""
    return HOUR * _number(text, "0.001 to 1000000", 0.001, 10**6)


def _positive(text: str) -> float:
    return _number(text, "more than 0", 1e-9)


def _number(text: str, allowed: str, least: float, most: float = 1e9) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: {allowed}")
    return value


if __name__ == "__main__":
    sys.exit(main())
