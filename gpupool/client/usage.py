"""``openstack gpu usage ...``."""

import argparse
from typing import Any

from osc_lib.command import command

from gpupool.client import base, columns
from gpupool.client.columns import Column

_GRANTED = (Column("compute_granted", "Compute granted"), Column("memory_mib_granted", "Memory granted"))
POOLS = (
    Column("pool", "Pool"),
    Column("devices", "Devices"),
    _GRANTED[0],
    Column("compute_total", "Compute total"),
    _GRANTED[1],
    Column("memory_mib_total", "Memory total"),
    Column("claims", "Claims"),
)
PROJECTS = (Column("project_id", "Project"), *_GRANTED, Column("claims", "Claims"))


class ShowUsage(base.GpuCommand, command.Lister):
    """Show how much of each pool is granted, or how much each project holds."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--by", choices=("pool", "project"), default="pool", help="A line for each")
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return titles and rows."""
        usage = self.client.usage()
        if parsed_args.by == "pool":
            return columns.table(usage["pools"], POOLS)
        return columns.table(usage["projects"], PROJECTS)
