"""``openstack gpu profile ...``."""

import argparse
from collections.abc import Mapping
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from gpupool.client import arguments, base, columns
from gpupool.client.columns import Column
from gpupool.client.rest import Item

# What an option --no-... removes: the field, the value that says so to the API, and the option's help.
REMOVABLE: Mapping[str, tuple[str, Any, str]] = {
    "required-trait": ("required_traits", [], "Remove all required traits"),
    "forbidden-trait": ("forbidden_traits", [], "Remove all forbidden traits"),
    "time-limit": ("time_limit", None, "Remove the time limit"),
    "sessions": ("sessions", None, "Remove the number of sessions: the cloud's default counts again"),
    "layout": ("layout", "any", "Remove the layout: neither --pack nor --spread"),
}


class ListProfiles(base.ListCommand):
    """List profiles: named requests, like flavors."""

    collection = "profiles"
    columns = (
        Column("id", "ID"),
        Column("name", "Name"),
        Column("size", "Size", programs=False),
        Column("count", "Count", people=False),
        Column("compute", "Compute", people=False),
        Column("memory_mib", "Memory", people=False),
        Column("tier", "Tier"),
        Column("priority", "Priority", people=False),
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

    def row(self, item: Item) -> Item:
        """Return the profile with its size."""
        return {**item, "size": columns.size(item)}


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
        parser.add_argument("--description", metavar="<text>", help="Description, for people")
        arguments.add_sizes(parser, required=True)
        arguments.add_wishes(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Create it and show it."""
        body = arguments.given(parsed_args, "name", "description", *arguments.SIZES, *arguments.WISHES)
        return columns.details(self.client.create("profiles", body))


class SetProfile(base.GpuCommand):
    """Change a profile; claims that were made from it keep what they have."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("profile", metavar="<profile>", help="Id or name")
        parser.add_argument("--name", metavar="<name>", help="New unique name")
        parser.add_argument("--description", metavar="<text>", help="Description, for people")
        arguments.add_sizes(parser, required=False)
        arguments.add_wishes(parser)
        for option, (_, _, meaning) in REMOVABLE.items():
            parser.add_argument(
                f"--no-{option}",
                dest="removed",
                action="append_const",
                const=option,
                help=meaning,
            )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Change what was given."""
        names = ("name", "description", *arguments.SIZES, *arguments.WISHES)
        changes = arguments.given(parsed_args, *names)
        for option in parsed_args.removed or ():
            field, nothing, _ = REMOVABLE[option]
            if field in changes:
                raise CommandError(f"--no-{option} does not go with a {option.replace('-', ' ')}")
            changes[field] = nothing
        if not changes:
            raise CommandError("nothing to change; openstack help gpu profile set lists what may change")
        self.client.update("profiles", parsed_args.profile, changes)


class DeleteProfile(base.DeleteCommand):
    """Delete profiles; claims made from them stay."""

    collection = "profiles"
    metavar = "<profile>"
