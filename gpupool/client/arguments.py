"""Arguments that several commands share."""

import argparse
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from osc_lib.exceptions import CommandError
from oslo_utils import timeutils

# The fields of the API that `add_sizes` fills.
SIZES = (
    "count",
    "min_count",
    "max_count",
    "compute",
    "memory_mib",
    "tier",
    "priority",
    "required_traits",
    "forbidden_traits",
)
# Those that `add_wishes` fills.
WISHES = (
    "time_limit",
    "qos",
    "preemptible",
    "on_preempt",
    "on_device_lost",
    "cpu_milli",
    "host_memory_mib",
    "sessions",
    "layout",
    "same_host",
    "same_type",
    "linked",
    "sharing_mode",
    "partition",
)

OF_PROJECT = "Of this project, name or id (of another than yours: administrators only)"


def time(text: str) -> str:
    """Return an ISO 8601 time in UTC without a zone, which is what the API takes."""
    try:
        return timeutils.normalize_time(timeutils.parse_isotime(text)).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write ISO 8601, as 2030-01-31T12:00:00Z"
        ) from None


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seconds(text: str) -> float:
    """Return a time span of more than 0 seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def cores(text: str) -> int:
    """Return a number of cores, as 0.5, in thousandths."""
    try:
        value = 1000 * Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0 or value != int(value):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of cores; write 0 or more in steps of 0.001, as 0.5"
        )
    return int(value)


def sort_key(text: str) -> str:
    """Return ``key:direction``; without a direction, ascending."""
    key, _, direction = text.partition(":")
    if direction not in ("", "asc", "desc"):
        raise argparse.ArgumentTypeError(f"{direction!r} is no direction; allowed: asc, desc")
    return f"{key}:{direction or 'asc'}"


def add_pages(parser: argparse.ArgumentParser) -> None:
    """Add what every list takes whose order is fixed."""
    parser.add_argument("--long", action="store_true", help="List more fields")
    parser.add_argument("--limit", metavar="<number>", type=positive, help="List so many at most")
    parser.add_argument(
        "--marker", metavar="<id>", help="Start after this one, the last of the page before"
    )


def add_paging(parser: argparse.ArgumentParser) -> None:
    """Add what every other list takes."""
    add_pages(parser)
    parser.add_argument(
        "--sort",
        metavar="<key>[:<direction>]",
        type=sort_key,
        action="append",
        help="Sort by this field, asc (default) or desc; repeat for more fields",
    )


def add_sizes(parser: argparse.ArgumentParser, required: bool) -> None:
    """Add the sizes that claims and profiles share; compute and memory ``required`` or not."""
    parser.add_argument(
        "--count",
        metavar="<number>|<min>-<max>",
        type=_count,
        action=_Count,
        help="How many vGPUs. A range, as 2-8, makes it elastic: it starts with what there is, grows "
        "when there is room, and gives back what others need beyond the minimum",
    )
    parser.set_defaults(min_count=None, max_count=None)
    parser.add_argument(
        "--compute",
        metavar="<percent>",
        type=int,
        required=required,
        help="Share of one device's compute for each vGPU, 1 to 100",
    )
    parser.add_argument(
        "--memory-mib",
        metavar="<MiB>",
        type=int,
        required=required,
        help="Device memory for each vGPU, in MiB",
    )
    parser.add_argument(
        "--tier",
        choices=("dedicated", "local", "pool"),
        help="Where devices may be: named ones only, one host only, or anywhere in the pool",
    )
    parser.add_argument(
        "--priority",
        metavar="<number>",
        type=int,
        help="0 to 100, higher is served first; more than 50 is for managers and administrators",
    )
    for kind, meaning in (("required", "must have"), ("forbidden", "must not have")):
        parser.add_argument(
            f"--{kind}-trait",
            metavar="<trait>",
            dest=f"{kind}_traits",
            action="append",
            help=f"Trait that a device {meaning}; repeat for more",
        )


def _count(text: str) -> tuple[int, int | None]:
    """Return a number and None, or the two numbers of a range.

    How many vGPUs a claim may have at most, the API says.
    """
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text), None
    if not (found := re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", text)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of vGPUs; write one, as 4, or a range of two, as 2-8"
        )
    least, most = int(found[1]), int(found[2])
    if least < 1:
        raise argparse.ArgumentTypeError(f"{text!r} begins with {least}; a range begins with 1 or more")
    if most < least:
        raise argparse.ArgumentTypeError(
            f"{text!r} ends below where it begins; write the smaller number first: {most}-{least}"
            if most
            else f"{text!r} ends with 0; a range ends with no less than it begins with"
        )
    return least, most


class _Count(argparse.Action):
    """Sets ``count``, or ``min_count`` and ``max_count``: what comes last counts."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse's own order
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        least, most = values
        one = most is None
        namespace.count = least if one else None
        namespace.min_count, namespace.max_count = (None, None) if one else (least, most)


def add_wishes(parser: argparse.ArgumentParser) -> None:
    """Add what claims and profiles may ask for besides sizes and traits."""
    parser.add_argument(
        "--time-limit",
        metavar="<seconds>",
        type=int,
        help="End it when it was bound so long; the queue may let it pass others then",
    )
    quality = parser.add_mutually_exclusive_group()
    for option, meaning in (
        ("best-effort", "Take what guaranteed claims leave, more than there is where the pool allows"),
        ("guaranteed", "Reserve shares for it alone (default)"),
    ):
        quality.add_argument(
            f"--{option}",
            dest="qos",
            action="store_const",
            const=option.replace("-", "_"),
            help=meaning,
        )
    _add_flag(parser, "preemptible", "Allow more important claims to take its place")
    parser.add_argument(
        "--on-preempt",
        choices=("requeue", "release"),
        help="When another took its place: wait again (default), or end",
    )
    parser.add_argument(
        "--on-device-lost",
        choices=("wait", "requeue", "fail"),
        help="When a device of it stays failed, or its host down: stay bound until that is back "
        "(default), give all its vGPUs back and queue again, or end as failed",
    )
    parser.add_argument(
        "--sessions",
        metavar="<number>",
        type=positive,
        help="Processes that may use each vGPU at a time; more than the cloud's default for many ranks",
    )
    _add_host_share(parser)
    _add_layout(parser)
    _add_partition(parser)


def _add_host_share(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cpu",
        metavar="<cores>",
        dest="cpu_milli",
        type=cores,
        help="Processors that the program itself takes of its host, as 0.5",
    )
    parser.add_argument(
        "--host-memory-mib",
        metavar="<MiB>",
        type=int,
        help="Memory that the program itself takes of its host, in MiB",
    )


def _add_layout(parser: argparse.ArgumentParser) -> None:
    layout = parser.add_mutually_exclusive_group()
    for name, meaning in (("pack", "as few"), ("spread", "as many")):
        layout.add_argument(
            f"--{name}",
            dest="layout",
            action="store_const",
            const=name,
            help=f"Put its vGPUs on {meaning} hosts and devices as possible",
        )
    _add_flag(parser, "same-host", "All its vGPUs on one host")
    _add_flag(parser, "same-type", "All its vGPUs on devices of one product")
    _add_flag(parser, "linked", "All its vGPUs on devices that a fast link connects")


def _add_partition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sharing-mode",
        choices=("shared", "mig", "mdev", "vfio"),
        help="How the devices are cut: freely (shared, the default), or into parts",
    )
    parser.add_argument(
        "--partition",
        metavar="<kind>",
        help="Kind of part that each vGPU is, where the devices are cut into parts, as 1g.10gb",
    )


def _add_flag(parser: argparse.ArgumentParser, option: str, meaning: str) -> None:
    """Add a flag and its opposite, which overrides a profile."""
    parser.add_argument(f"--{option}", action=argparse.BooleanOptionalAction, help=meaning)


def add_enabled(parser: argparse.ArgumentParser, nouns: str) -> None:
    """Add whether a list shows what is enabled only, or disabled only, as ``enabled``."""
    which = parser.add_mutually_exclusive_group()
    for option, value in (("enabled", "true"), ("disabled", "false")):
        which.add_argument(
            f"--{option}",
            dest="enabled",
            action="store_const",
            const=value,
            help=f"Only {option} {nouns}",
        )


def add_projects(parser: argparse.ArgumentParser) -> None:
    """Add whose items a list shows."""
    whose = parser.add_mutually_exclusive_group()
    add_project(whose, parser, OF_PROJECT)
    whose.add_argument(
        "--all-projects", action="store_true", help="Of all projects (administrators only)"
    )


def add_project(
    place: Any, parser: argparse.ArgumentParser, meaning: str, required: bool = False
) -> None:
    """Add a project, by name or id, to ``place``, the parser or a group of it; base resolves it."""
    place.add_argument("--project", metavar="<project>", required=required, help=meaning)
    parser.add_argument(
        "--project-domain",
        metavar="<domain>",
        help="Domain of that project, name or id, where several have projects of that name",
    )


def paging(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the query of ``add_paging``'s arguments, less the limit."""
    sort = ",".join(parsed.sort) if parsed.sort else None
    return {"marker": parsed.marker, "sort": sort}


def changes(parsed: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return the named arguments that the caller gave; raise CommandError when that is none."""
    found = given(parsed, *names)
    if not found:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise CommandError(f"nothing to change; give one of {options}")
    return found


def given(parsed: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return the named arguments that the caller gave."""
    values = {name: getattr(parsed, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
