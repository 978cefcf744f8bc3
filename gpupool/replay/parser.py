"""The command line of ``gpupool-replay``."""

import argparse
from pathlib import Path

from gpupool.model.pool import PolicyName
from gpupool.replay import arguments, commands, philly_run
from gpupool.replay.queueing import FAIR, ORDERS, Queueing

OWN = "the pool`s own"


def make(description: str | None) -> argparse.ArgumentParser:
    """Return the parser; ``run`` of what it parses is the command, which takes that."""
    parser = argparse.ArgumentParser(prog="gpupool-replay", description=description)
    replays = parser.add_subparsers(required=True, metavar="openb|philly|recording")
    _add_openb(replays)
    _add_philly(replays)
    _add_recording(replays)
    return parser


def _add_openb(to: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = to.add_parser("openb", help="Alibaba's cluster-trace-gpu-v2023")
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
        type=arguments.amount,
        default=0.0,
        metavar="CORES",
        help="cores kept on every host with devices",
    )
    parser.add_argument(
        "--scale", type=arguments.count, default=1, metavar="N", help="N times the hosts and the demand"
    )
    parser.add_argument(
        "--mix",
        choices=("trace", "recent"),
        default="trace",
        help="what fgd knows of demands: the whole trace as the measure's authors have it, or those "
        "that came last as in a pool (default: trace)",
    )
    parser.add_argument(
        "--seeds",
        type=arguments.seeds,
        default=[1],
        metavar="1-10",
        help="seeds, such as 3 or 1-10 or 1,4",
    )
    parser.add_argument(
        "--processes", type=arguments.count, default=1, metavar="N", help="seeds at once (default: 1)"
    )
    _add_outputs(parser)
    parser.set_defaults(run=commands.openb)


def _add_philly(to: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = to.add_parser("philly", help="Microsoft's Philly trace")
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
    size.add_argument("--devices", type=arguments.count, metavar="N", help="how many the cluster has")
    size.add_argument(
        "--load",
        type=arguments.positive,
        default=philly_run.LOAD,
        metavar="RATIO",
        help="what is asked for over what there is, which gives the devices (default: %(default)s)",
    )
    parser.add_argument(
        "--projects",
        type=arguments.count,
        default=1,
        metavar="N",
        help="the file names no users: deal jobs to N projects in turn (default: 1)",
    )
    parser.add_argument(
        "--time-limits",
        type=arguments.time_limits,
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
    parser.set_defaults(run=commands.philly)


def _add_recording(to: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = to.add_parser("recording", help="what gpupool-manage recording wrote")
    parser.add_argument("file", type=Path, metavar="FILE")
    _add_skip_bad_lines(parser)
    _add_policy(parser, None)
    _add_oversubscribe(parser, None)
    parser.add_argument("--order", choices=ORDERS, default=FAIR, help="of the queue (default: fair)")
    _add_queue(parser, None)
    _add_outputs(parser)
    parser.set_defaults(run=commands.recording)


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
        type=arguments.policy,
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
        type=arguments.ratio,
        default=default,
        metavar="RATIO",
        help="slices of a device are best effort, of which so much more may be granted, such as 1.14",
    )


def _add_queue(parser: argparse.ArgumentParser, default: Queueing | None) -> None:
    parser.add_argument(
        "--reservations",
        type=arguments.count,
        default=default and default.reservations,
        metavar="N",
        help=f"for how many claims room is kept (default: {default.reservations if default else OWN})",
    )
    parser.add_argument(
        "--half-life",
        type=arguments.hours,
        default=default and default.half_life,
        metavar="HOURS",
        help="in which a project's past use counts half "
        f"(default: {f'{default.half_life / arguments.HOUR:g}' if default else OWN})",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the course as CSV")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as .svg or .png")
