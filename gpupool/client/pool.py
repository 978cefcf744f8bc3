"""``openstack gpu pool ...``."""

import argparse
from typing import Any

from osc_lib.command import command

from gpupool.client import arguments, base, columns
from gpupool.client.columns import Column
from gpupool.client.rest import Item

POLICIES = ("fgd", "best-fit", "pack", "spread", "random")
# The fields of the API that `_add_settings` fills.
SETTINGS = (
    "description",
    "policy",
    "compute_overcommit",
    "memory_overcommit",
    "moves_per_hour",
    "min_run_time",
)
# In place of a number of seconds: what the service's configuration says.
DEFAULT = "default"
MOVES = (
    Column("claim_id", "Claim", people=False),
    Column("vgpu_id", "vGPU", people=False),
    Column("from_device", "From"),
    Column("to_device", "To"),
    Column("gain", "Gain"),
    Column("cost_mib", "Cost"),
    Column("applied", "Applied"),
    Column("reason", "Reason", people=False),
)
_DEVICES = ("from_device", "to_device")


class ListPools(base.ListCommand):
    """List pools: hosts whose devices may serve each other."""

    collection = "pools"
    columns = (
        Column("id", "ID"),
        Column("name", "Name"),
        Column("policy", "Policy"),
        Column("description", "Description"),
    )
    long_columns = (
        Column("compute_overcommit", "Compute overcommit"),
        Column("memory_overcommit", "Memory overcommit"),
        Column("moves_per_hour", "Moves per hour"),
        Column("min_run_time", "Minimum run time"),
        Column("created_at", "Created"),
        Column("updated_at", "Updated"),
    )
    filters = (base.Filter("policy", "policy", "Only pools with this policy", POLICIES),)

    def row(self, item: Item) -> Item:
        """Return the pool with the beginning of its description."""
        return {**item, "description": columns.Brief(item.get("description") or "")}


class ShowPool(base.ShowCommand):
    """Show one pool."""

    collection = "pools"
    metavar = "<pool>"


class CreatePool(base.GpuCommand, command.ShowOne):
    """Create a pool."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="<name>", help="Unique name")
        _add_settings(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Create it and show it."""
        body = arguments.given(parsed_args, "name", *SETTINGS)
        return columns.details(self.client.create("pools", body))


class SetPool(base.GpuCommand):
    """Change a pool; what it has granted stays where it is."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("pool", metavar="<pool>", help="Id or name")
        parser.add_argument("--name", metavar="<name>", help="New unique name")
        _add_settings(parser)
        parser.add_argument(
            "--no-min-run-time",
            dest="min_run_time",
            action="store_const",
            const=DEFAULT,
            help="Remove the pool's own minimum: the service's configuration counts again",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Change what was given."""
        changes = arguments.changes(parsed_args, "name", *SETTINGS)
        if changes.get("min_run_time") == DEFAULT:
            changes["min_run_time"] = None
        self.client.update("pools", parsed_args.pool, changes)


class DeletePool(base.DeleteCommand):
    """Delete pools that have no hosts and no claims that have not ended."""

    collection = "pools"
    metavar = "<pool>"


class DefragmentPool(base.GpuCommand, command.Lister):
    """Move vGPUs so that more of a pool's room is in one piece; list the moves, the best first."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("pool", metavar="<pool>", help="Id or name")
        parser.add_argument("--dry-run", action="store_true", help="List the moves, make none")
        parser.add_argument("--limit", metavar="<number>", type=int, help="Make so many at most")
        parser.add_argument("--long", action="store_true", help="List more fields")
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return titles and rows."""
        body = {"dry_run": parsed_args.dry_run, **arguments.given(parsed_args, "limit")}
        answer = self.client.action("pools", parsed_args.pool, "defragment", body)
        if not answer["moves"]:
            base.note("nothing to move")
        if any(move["reason"] for move in answer["moves"]) and not parsed_args.long:
            base.note("some were not made; --long says why")
        moves = [
            {**move, **{name: columns.DeviceName(move[name] or "") for name in _DEVICES}}
            for move in answer["moves"]
        ]
        return columns.table(moves, columns.chosen(parsed_args, MOVES))


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add what may be said of a pool besides its name."""
    parser.add_argument("--description", metavar="<text>", help="Description, for people")
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        help="How devices are chosen: the one that leaves the least room nobody asks for (fgd), "
        "the fullest that fits (best-fit), one of the fullest host (pack), the emptiest (spread), any",
    )
    for what, limit in (
        ("compute", "beyond 100 for best-effort claims only"),
        ("memory", "as compute, on devices that extend theirs into the host's"),
    ):
        parser.add_argument(
            f"--{what}-overcommit",
            metavar="<percent>",
            type=int,
            help=f"How much of a device's {what} may be granted, 100 or more; {limit}",
        )
    parser.add_argument(
        "--moves-per-hour",
        metavar="<number>",
        type=int,
        help="How many claims defragmentation may move by itself; 0: none",
    )
    parser.add_argument(
        "--min-run-time",
        metavar="<seconds>",
        type=int,
        help="How long preemptible claims run before others can take their place",
    )
