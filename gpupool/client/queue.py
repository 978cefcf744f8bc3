"""``openstack gpu queue ...``."""

import argparse
from typing import Any

from osc_lib.command import command

from gpupool.client import base, columns
from gpupool.client.columns import Column

COLUMNS = (
    Column("position", "Position"),
    Column("claim_id", "Claim"),
    Column("name", "Name"),
    Column("project_id", "Project"),
    Column("priority", "Priority"),
    Column("created_at", "Waits since"),
    Column("starts_at", "Estimated start"),
    Column("reason", "Reason"),
)


class ShowQueue(base.GpuCommand, command.Lister):
    """Show which claims wait in a pool, the next one first. All claims count for a position."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--pool", metavar="<pool>", help="Pool (name or id); else the default one")
        parser.add_argument(
            "--all-projects", action="store_true", help="Of all projects (administrators only)"
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return titles and rows."""
        everything = "true" if parsed_args.all_projects else None
        found = self.client.queue({"pool": parsed_args.pool, "all_projects": everything})
        if not found["queue"]:
            base.note("no claim waits")
        return columns.table(found["queue"], COLUMNS)
