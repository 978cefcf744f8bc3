"""``openstack gpu quota ...``."""

import argparse
from typing import Any

from cliff.columns import FormattableColumn
from osc_lib.command import command
from osc_lib.exceptions import CommandError

from gpupool.client import arguments, base, limits
from gpupool.client.columns import MiB, Percent
from gpupool.client.limits import NO_LIMIT
from gpupool.client.rest import Item

_UNITS = {"compute": Percent, "memory_mib": MiB}
_MEANINGS = {
    "claims": "Claims that have not ended",
    "vgpus": "vGPUs of these claims",
    "compute": "Their compute in percent of a device, so that 800 is eight whole devices",
    "memory_mib": "Their device memory, MiB",
}
# What a quota's `source` says when its limit is Keystone's.
_KEYSTONE = "keystone"


class ShowQuota(base.GpuCommand, command.Lister):
    """Show what a project may hold, and what it does, over its claims that have not ended."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        arguments.add_project(parser, parser, arguments.OF_PROJECT)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return titles and rows."""
        quotas = self.client.quotas(self.project_id(parsed_args))["quotas"]
        return ("Resource", "Used", "Limit"), [_row(quota) for quota in quotas]


class ListQuotas(base.GpuCommand, command.Lister):
    """List what every project that has claims, or limits of its own, may hold, and what it does."""

    def take_action(
        self,
        parsed_args: argparse.Namespace,  # noqa: ARG002 - the base class' interface
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return titles and rows."""
        quotas = self.with_project_names(self.client.list("quotas", {"all_projects": "true"}))
        rows = [(quota["project_id"], *_row(quota)) for quota in quotas]
        return ("Project", "Resource", "Used", "Limit"), rows


class SetQuota(base.GpuCommand):
    """Set what a project may hold, where limits are Keystone's; that takes its role admin.

    Where they are options of the configuration, only those who write it can: this command says what.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        arguments.add_project(parser, parser, "The project, name or id", required=True)
        for resource, meaning in _MEANINGS.items():
            parser.add_argument(
                f"--{resource.replace('_', '-')}",
                metavar="<number>",
                type=limit,
                help=f"{meaning}; unlimited (-1): no limit",
            )
        parser.add_argument(
            "--default",
            metavar="<resource>",
            action="append",
            choices=limits.RESOURCES,
            help="Take away the project's own limit of this resource, so that the cloud's default "
            f"counts: {', '.join(limits.RESOURCES)}; repeat for more",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Set in Keystone what was given."""
        wanted: dict[str, int | None] = arguments.given(parsed_args, *limits.RESOURCES)
        for resource in parsed_args.default or ():
            if wanted.setdefault(resource, None) is not None:
                raise CommandError(f"--default {resource} does not go with a limit of it")
        if not wanted:
            options = ", ".join(f"--{resource.replace('_', '-')}" for resource in limits.RESOURCES)
            raise CommandError(f"nothing to set; give one of {options}, --default")
        project_id = self.project_id(parsed_args, must_exist=True)
        identity = self.identity()
        before = self.client.quotas(project_id)["quotas"]
        if identity is None or any(quota.get("source") != _KEYSTONE for quota in before):
            raise CommandError(_advice(str(project_id), wanted))
        limits.write(identity, str(project_id), wanted)
        base.note("the conductors keep limits for [quota] cache_time seconds, 60 unless set otherwise")


def limit(text: str) -> int:
    """Return a limit, NO_LIMIT for none."""
    if text in ("unlimited", str(NO_LIMIT)):
        return NO_LIMIT
    if not (text.isascii() and text.isdecimal()) or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no limit; allowed: 0 to {2**31 - 1}, unlimited")
    return int(text)


def _advice(project_id: str, wanted: dict[str, int | None]) -> str:
    """Return what an operator has to write where limits are options."""
    words = " ".join(f"{name}={value}" for name, value in wanted.items() if value is not None)
    line = f"projects = {project_id} {words}" if words else f"no projects = {project_id} with these"
    return (
        "limits of this cloud are options of its configuration, which no command sets: its operator "
        f"writes them for every conductor in gpupool.conf, under [quota]: {line}"
    )


class Unlimited(FormattableColumn[int]):
    """What has no limit."""

    def human_readable(self) -> str:
        """Return that in a word."""
        return "unlimited"


def _row(quota: Item) -> tuple[Any, ...]:
    return quota["resource"], _amount(quota, "used"), _amount(quota, "limit")


def _amount(quota: Item, field: str) -> Any:
    """Return ``used`` or ``limit`` in the unit of the resource."""
    value = quota[field]
    if value == NO_LIMIT:
        return Unlimited(value)
    kind = _UNITS.get(quota["resource"])
    return kind(value) if kind else value
