"""Arguments that several commands share."""

import argparse
from typing import Any

from osc_lib.exceptions import CommandError
from oslo_utils import timeutils

# The fields of the API that `add_sizes` fills.
SIZES = ("count", "compute", "memory_mib", "tier", "priority", "required_traits", "forbidden_traits")


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


def sort_key(text: str) -> str:
    """Return ``key:direction``; without a direction, ascending."""
    key, _, direction = text.partition(":")
    if direction not in ("", "asc", "desc"):
        raise argparse.ArgumentTypeError(f"{direction!r} is no direction; allowed: asc, desc")
    return f"{key}:{direction or 'asc'}"


def add_paging(parser: argparse.ArgumentParser) -> None:
    """Add what every list takes."""
    parser.add_argument("--long", action="store_true", help="List more fields")
    parser.add_argument("--limit", metavar="<number>", type=positive, help="List so many at most")
    parser.add_argument(
        "--marker", metavar="<id>", help="Start after this one, the last of the page before"
    )
    parser.add_argument(
        "--sort",
        metavar="<key>[:<direction>]",
        type=sort_key,
        action="append",
        help="Sort by this field, asc (default) or desc; repeat for more fields",
    )


def add_sizes(parser: argparse.ArgumentParser, required: bool) -> None:
    """Add the sizes that claims and profiles share; compute and memory ``required`` or not."""
    parser.add_argument("--count", metavar="<number>", type=int, help="How many vGPUs")
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
        "--priority", metavar="<number>", type=int, help="0 to 100, higher is served first"
    )
    for kind, meaning in (("required", "must have"), ("forbidden", "must not have")):
        parser.add_argument(
            f"--{kind}-trait",
            metavar="<trait>",
            dest=f"{kind}_traits",
            action="append",
            help=f"Trait that a device {meaning}; repeat for more",
        )


def add_projects(parser: argparse.ArgumentParser) -> None:
    """Add whose items a list shows."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--project", metavar="<project-id>", help="Of this project (administrators only)")
    whose.add_argument(
        "--all-projects", action="store_true", help="Of all projects (administrators only)"
    )


def projects(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the query of ``add_projects``' arguments."""
    return {"project_id": parsed.project, "all_projects": "true" if parsed.all_projects else None}


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
