"""``openstack gpu profile ...``."""

import argparse
from typing import Any

from osc_lib.command import command

from gpupool.client import arguments, base, columns
from gpupool.client.columns import Column


class ListProfiles(base.ListCommand):
    """List profiles: named requests, like flavors."""

    collection = "profiles"
    columns = (
        Column("id", "ID"),
        Column("name", "Name"),
        Column("count", "Count"),
        Column("compute", "Compute"),
        Column("memory_mib", "Memory"),
        Column("tier", "Tier"),
        Column("priority", "Priority"),
    )
    long_columns = (
        Column("description", "Description"),
        Column("required_traits", "Required traits"),
        Column("forbidden_traits", "Forbidden traits"),
        Column("qos", "Class"),
        Column("preemptible", "Preemptible"),
        Column("time_limit", "Time limit"),
        Column("cpu_milli", "CPU"),
        Column("host_memory_mib", "Host memory"),
        Column("sessions", "Sessions"),
        Column("layout", "Layout"),
    )


class ShowProfile(base.ShowCommand):
    """Show one profile."""

    collection = "profiles"
    metavar = "<profile>"


class CreateProfile(base.GpuCommand, command.ShowOne):
    """Create a profile."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="<name>", help="Unique name")
        parser.add_argument("--description", metavar="<text>", help="What the profile is for")
        arguments.add_sizes(parser, required=True)
        arguments.add_wishes(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Create it and show it."""
        body = arguments.given(parsed_args, "name", "description", *arguments.SIZES, *arguments.WISHES)
        return columns.details(self.client.create("profiles", body))


class DeleteProfile(base.DeleteCommand):
    """Delete profiles; claims made from them stay."""

    collection = "profiles"
    metavar = "<profile>"
