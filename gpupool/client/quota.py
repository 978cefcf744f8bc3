"""``openstack gpu quota ...``."""

import argparse
from typing import Any

from cliff.columns import FormattableColumn
from osc_lib.command import command

from gpupool.client import base
from gpupool.client.columns import MiB, Percent
from gpupool.client.rest import Item

NO_LIMIT = -1
_UNITS = {"compute": Percent, "memory_mib": MiB}


class ShowQuota(base.GpuCommand, command.Lister):
    """Show what a project may hold, and what it does, over its claims that have not ended."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--project", metavar="<project-id>", help="Of this project (administrators only)"
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return titles and rows."""
        quotas = self.client.quotas(parsed_args.project)["quotas"]
        return ("Resource", "Used", "Limit"), [
            (quota["resource"], _amount(quota, "used"), _amount(quota, "limit")) for quota in quotas
        ]


class Unlimited(FormattableColumn[int]):
    """What has no limit."""

    def human_readable(self) -> str:
        """Return that in a word."""
        return "unlimited"


def _amount(quota: Item, field: str) -> Any:
    """Return ``used`` or ``limit`` in the unit of the resource."""
    value = quota[field]
    if value == NO_LIMIT:
        return Unlimited(value)
    kind = _UNITS.get(quota["resource"])
    return kind(value) if kind else value
