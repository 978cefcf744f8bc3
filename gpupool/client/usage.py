"""``openstack gpu usage ...``."""

import argparse
from typing import Any

from osc_lib.command import command

from gpupool.client import arguments, base, columns
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
    """Show how much of each pool is granted, or how much each project holds, or one."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--by",
            choices=("pool", "project"),
            help="A line for each pool (default), or for each project (default with --project)",
        )
        arguments.add_project(parser, parser, arguments.OF_PROJECT)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return titles and rows."""
        project_id = self.project_id(parsed_args)
        usage = self.client.usage(project_id)
        if parsed_args.by == "pool" or (parsed_args.by is None and project_id is None):
            return columns.table(usage["pools"], POOLS)
        return columns.table(self.with_project_names(usage["projects"]), PROJECTS)
