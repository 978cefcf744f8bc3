"""What the commands of every noun have in common; a noun's file says what is its own."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from gpupool.client import arguments, columns, plugin, projects
from gpupool.client.columns import Column, Layout
from gpupool.client.identity import Identity
from gpupool.client.rest import ApiError, Client, Item


def note(text: str) -> None:
    """Tell people, on standard error, what an empty table means."""
    print(text, file=sys.stderr)


class GpuCommand(command.Command):
    """A command with the API's client."""

    @property
    def client(self) -> Client:
        """The client of the command line's cloud."""
        # The plug-in adds this attribute by its name.
        client: Client = getattr(self.app.client_manager, plugin.API_NAME)
        return client

    def identity(self) -> Identity | None:
        """Return the cloud's Keystone; None where the login is not of one, as for standalone."""
        try:
            return Identity(self.app.client_manager)
        except LookupError:
            return None

    def project_id(self, parsed: argparse.Namespace, must_exist: bool = False) -> str | None:
        """Return the id of the project that was given, None without one; see ``projects.find``."""
        if parsed.project is None:
            if parsed.project_domain is not None:
                raise CommandError("--project-domain goes with --project")
            return None
        identity = self.identity()
        if identity is None:
            return str(parsed.project)
        return projects.find(identity, parsed.project, parsed.project_domain, must_exist)

    def with_project_names(self, items: Iterable[Item]) -> list[Item]:
        """Return items that show people the names of projects that Keystone tells, and programs ids."""
        found, identity = list(items), self.identity()
        names: dict[str, str] = {}
        if identity is not None and found:
            try:
                names = projects.names(identity)
            except CommandError as exc:
                note(f"projects are shown by their ids: {exc}")
        ids = [each["project_id"] for each in found]
        shown = [columns.Cell(project_id, names.get(project_id, project_id)) for project_id in ids]
        return [{**each, "project_id": cell} for each, cell in zip(found, shown, strict=True)]

    def whose(self, parsed: argparse.Namespace) -> dict[str, Any]:
        """Return the query of the arguments that ``arguments.add_projects`` adds."""
        everything = "true" if parsed.all_projects else None
        return {"project_id": self.project_id(parsed), "all_projects": everything}


@dataclass(frozen=True)
class Filter:
    """A filter of a list: ``--option``, repeatable, and the field of the query that it sets."""

    option: str
    field: str
    help: str
    choices: Sequence[str] | None = None


class ListCommand(GpuCommand, command.Lister):
    """Lists the items of one collection."""

    collection: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    long_columns: ClassVar[tuple[Column, ...]] = ()
    filters: ClassVar[tuple[Filter, ...]] = ()
    # Fields by which whole listings are sorted for people unless they ask otherwise; else as they come.
    order: ClassVar[tuple[str, ...]] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser: paging and this noun's filters."""
        parser = super().get_parser(prog_name)
        arguments.add_paging(parser)
        for known in self.filters:
            parser.add_argument(
                f"--{known.option}",
                metavar=f"<{known.option}>",
                dest=f"filter_{known.field}",
                action="append",
                choices=known.choices,
                help=known.help,
            )
        return parser

    def query(self, parsed: argparse.Namespace) -> dict[str, Any]:
        """Return the query; a noun adds to it what is more than a filter."""
        chosen = {known.field: getattr(parsed, f"filter_{known.field}") for known in self.filters}
        return {**arguments.paging(parsed), **chosen}

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return titles and rows."""
        shown = columns.chosen(parsed_args, self.columns, self.long_columns)
        items = list(self.client.list(self.collection, self.query(parsed_args), parsed_args.limit))
        if not (parsed_args.sort or parsed_args.limit or parsed_args.marker):
            items.sort(key=lambda item: [str(item.get(field) or "") for field in self.order])
        return columns.table([self.row(item) for item in items], shown)

    def row(self, item: Item) -> Item:
        """Return the item as it is to be listed; a noun leaves out of it what says nothing."""
        return item


class ItemCommand(GpuCommand):
    """A command on items that exist; ``help_text`` says how they may be named."""

    collection: ClassVar[str]
    metavar: ClassVar[str]
    help_text: ClassVar[str] = "Id or name"

    def ident(self, text: str) -> str:
        """Return what the API takes for ``text``."""
        return text


class ShowCommand(ItemCommand, command.ShowOne):
    """Shows one item; ``layout`` says what of it people see unless they ask for more."""

    layout: ClassVar[Layout] = columns.EVERYTHING

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser: which item."""
        parser = super().get_parser(prog_name)
        parser.add_argument("item", metavar=self.metavar, help=self.help_text)
        parser.add_argument("--long", action="store_true", help="Show all fields")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Return fields and values."""
        item = self.client.get(self.collection, self.ident(parsed_args.item))
        item = self.complete(item, parsed_args)
        return columns.details(item, parsed_args, self.layout_for(parsed_args))

    def layout_for(self, parsed: argparse.Namespace) -> Layout:  # noqa: ARG002 - for nouns
        """Return what people see unless they ask for more."""
        return self.layout

    def complete(self, item: Item, parsed: argparse.Namespace) -> Item:  # noqa: ARG002 - for nouns
        """Return the item with what a noun shows besides, or less what it shows only when asked."""
        return item


class DeleteCommand(ItemCommand):
    """Deletes several items: all that can be, and then says which could not."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser: which items."""
        parser = super().get_parser(prog_name)
        parser.add_argument("items", metavar=self.metavar, nargs="+", help=self.help_text)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Delete each; raise CommandError when one could not be deleted."""
        deleted = []
        for text in parsed_args.items:
            try:
                ident = self.ident(text)
                self.client.delete(self.collection, ident)
                deleted.append(ident)
            except (ApiError, CommandError) as exc:
                self.log.error("%s: %s", text, exc)
        self.finish(deleted, parsed_args)
        failed = len(parsed_args.items) - len(deleted)
        if failed:
            raise CommandError(
                f"{failed} of {len(parsed_args.items)} {self.collection} could not be deleted"
            )

    def finish(self, idents: list[str], parsed: argparse.Namespace) -> None:
        """Do what a noun wants done after the items were deleted."""
