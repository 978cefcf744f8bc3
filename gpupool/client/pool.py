"""``openstack gpu pool ...``."""

import argparse
from typing import Any

from osc_lib.command import command

from gpupool.client import arguments, base, columns
from gpupool.client.columns import Column

POLICIES = ("fgd", "best-fit", "pack", "spread", "random")
# The fields of the API that `_add_settings` fills.
SETTINGS = (
    "description",
    "policy",
    "compute_overcommit",
    "memory_overcommit",
    "moves_per_hour",
)
MOVES = (
    Column("claim_id", "Claim"),
    Column("vgpu_id", "vGPU"),
    Column("from_device", "From"),
    Column("to_device", "To"),
    Column("gain", "Gain"),
    Column("cost_mib", "Cost"),
    Column("applied", "Applied"),
    Column("reason", "Reason"),
)


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
        Column("created_at", "Created"),
        Column("updated_at", "Updated"),
    )
    filters = (base.Filter("policy", "policy", "Only pools with this policy", POLICIES),)


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
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Change what was given."""
        changes = arguments.changes(parsed_args, "name", *SETTINGS)
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
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return titles and rows."""
        body = {"dry_run": parsed_args.dry_run, **arguments.given(parsed_args, "limit")}
        answer = self.client.action("pools", parsed_args.pool, "defragment", body)
        if not answer["moves"]:
            base.note("nothing to move")
        return columns.table(answer["moves"], MOVES)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add what may be said of a pool besides its name."""
    parser.add_argument("--description", metavar="<text>", help="What the pool is for")
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        help="Which device a claim takes: the one that leaves the least room nobody asks for (fgd), "
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
