"""``openstack gpu queue ...``."""

import argparse
from itertools import islice
from typing import Any

from osc_lib.command import command

from gpupool.client import arguments, base, columns
from gpupool.client.columns import Column
from gpupool.client.rest import Item

COLUMNS = (
    Column("position", "Position"),
    Column("claim_id", "Claim"),
    Column("name", "Name", people=False),
    Column("project_id", "Project", people=False),
    Column("priority", "Priority", people=False),
    Column("created_at", "Waits since", people=False),
    Column("starts_at", "Estimated start"),
    Column("reason", "Reason"),
)
LONG_COLUMNS = (Column("detail", "Detail"),)


class ShowQueue(base.GpuCommand, command.Lister):
    """Show which claims wait in a pool, the next one first. All claims count for a position."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--pool", metavar="<pool>", help="Pool (name or id); else the default one")
        arguments.add_projects(parser)
        arguments.add_pages(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return titles and rows."""
        wanted = self.project_id(parsed_args)
        # Of their own project members may ask, too.
        is_others = wanted is not None and not self._is_own(wanted)
        everything = "true" if parsed_args.all_projects or is_others else None
        query = {
            "pool": parsed_args.pool,
            "all_projects": everything,
            "marker": parsed_args.marker,
        }
        # Of another project's claims it is not known how many pages they take.
        found = self.client.list("queue", query, None if is_others else parsed_args.limit)
        chosen = (entry for entry in found if wanted in (None, entry["project_id"]))
        shown = list(islice(chosen, parsed_args.limit))
        if not shown:
            base.note("no claim waits")
        titles = columns.chosen(parsed_args, COLUMNS, LONG_COLUMNS)
        return columns.table([_row(entry, parsed_args) for entry in shown], titles)

    def _is_own(self, project_id: str) -> bool:
        identity = self.identity()
        return identity is not None and identity.own().project_id == project_id


def _row(entry: Item, parsed: argparse.Namespace) -> Item:
    """Return an entry as it is listed: where there is no column for its name, that stands for its id."""
    claim = entry["claim_id"] if parsed.long else entry["name"] or entry["claim_id"]
    return {
        **entry,
        "claim_id": columns.Cell(entry["claim_id"], claim),
        "reason": columns.Wrapped(entry["reason"]),
    }
