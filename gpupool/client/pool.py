"""``openstack gpu pool ...``."""

import argparse
from typing import Any

from osc_lib.command import command

from gpupool.client import arguments, base, columns
from gpupool.client.columns import Column


class ListPools(base.ListCommand):
    """List pools: hosts whose devices may serve each other."""

    collection = "pools"
    columns = (Column("id", "ID"), Column("name", "Name"), Column("description", "Description"))
    long_columns = (Column("created_at", "Created"), Column("updated_at", "Updated"))


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
        parser.add_argument("--description", metavar="<text>", help="What the pool is for")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Create it and show it."""
        body = arguments.given(parsed_args, "name", "description")
        return columns.details(self.client.create("pools", body))


class SetPool(base.GpuCommand):
    """Rename or describe a pool."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("pool", metavar="<pool>", help="Id or name")
        parser.add_argument("--name", metavar="<name>", help="New unique name")
        parser.add_argument("--description", metavar="<text>", help="What the pool is for")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Change what was given."""
        changes = arguments.changes(parsed_args, "name", "description")
        self.client.update("pools", parsed_args.pool, changes)


class DeletePool(base.DeleteCommand):
    """Delete pools that have no hosts and no claims that have not ended."""

    collection = "pools"
    metavar = "<pool>"
