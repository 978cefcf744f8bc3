"""``openstack gpu host ...``."""

import argparse
import textwrap
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from gpupool.client import arguments, base, columns
from gpupool.client.columns import Column
from gpupool.client.rest import Item

LAYOUT = columns.Layout(
    first=("name", "id", "state", "pool", "cpu_milli", "memory_mib", "last_seen_at"),
    unless={
        "enabled": True,
        "disabled_reason": "",
        "unable_reason": "",
        "pending_fingerprints": [],
        "held_until": None,
        "held_reason": "",
        "report_error": "",
        "unapplied_reason": "",
        "simulated": False,
        "agent_version": "",
        "fingerprint": "",
    },
)
# Characters of a line of notes: as many as a fingerprint has.
_NOTE = 50


class ListHosts(base.ListCommand):
    """List hosts: machines with an agent."""

    collection = "hosts"
    order = ("name",)
    columns = (
        Column("id", "ID", people=False),
        Column("name", "Name"),
        Column("state", "State"),
        Column("pool", "Pool"),
        Column("note", "Note", programs=False),
        Column("simulated", "Simulated", people=False),
        Column("closed", "Takes no vGPUs because", people=False),
        Column("pending_fingerprints", "Waits to be admitted", people=False),
    )
    long_columns = (
        Column("cpu_milli", "CPU"),
        Column("memory_mib", "Memory"),
        Column("last_seen_at", "Last seen"),
        Column("held_until", "Held until"),
        Column("held_reason", "Held because"),
        Column("compute_node", "Compute node"),
        Column("report_error", "Report refused because"),
        Column("agent_version", "Agent version"),
        Column("generation", "Generation"),
        Column("applied_generation", "Applied generation"),
        Column("fingerprint", "Fingerprint"),
    )
    filters = (
        base.Filter("state", "state", "Only hosts in this state", ("up", "down", "pending")),
        base.Filter("pool", "pool", "Only hosts of this pool (name or id)"),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the two that exclude each other."""
        parser = super().get_parser(prog_name)
        arguments.add_enabled(parser, "hosts")
        return parser

    def query(self, parsed: argparse.Namespace) -> dict[str, Any]:
        """Add whether they are enabled."""
        return {**super().query(parsed), "enabled": parsed.enabled}

    def row(self, item: Item) -> Item:
        """Return the host with, for people, all that is out of the ordinary, a line each."""
        notes = [f"waits to be admitted: {each}" for each in item.get("pending_fingerprints", ())]
        disabled = f"disabled: {item.get('disabled_reason', '')}".removesuffix(": ")
        unable = item.get("unable_reason", "") or item.get("unapplied_reason", "")
        closed = unable if item.get("enabled", True) else disabled
        notes += [f"takes no vGPUs: {closed}"] if closed else []
        notes += ["simulated"] if item.get("simulated") else []
        lines = [line for note in notes for line in textwrap.wrap(note, _NOTE) or [""]]
        return {**item, "closed": closed, "note": "\n".join(lines)}


class ShowHost(base.ShowCommand):
    """Show one host."""

    collection = "hosts"
    metavar = "<host>"
    layout = LAYOUT


class SetHost(base.GpuCommand):
    """Enable or disable a host for new vGPUs (those it has stay), or move an empty one to a pool."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="<host>", help="Id or name")
        parser.add_argument("--pool", metavar="<pool>", help="Its new pool (name or id)")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--enable", action="store_true", default=None, help="Allow new vGPUs on it")
        which.add_argument(
            "--disable", action="store_true", default=None, help="Allow no new vGPUs on it"
        )
        parser.add_argument("--reason", metavar="<text>", help="Reason of --disable, for operators")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Move it, then enable or disable it."""
        if parsed_args.reason is not None and not parsed_args.disable:
            raise CommandError("--reason goes with --disable")
        changes = arguments.changes(parsed_args, "pool", "enable", "disable")
        if "pool" in changes:
            self.client.update("hosts", parsed_args.host, {"pool": changes["pool"]})
        if "enable" in changes:
            self.client.action("hosts", parsed_args.host, "enable", {})
        if "disable" in changes:
            reason = {"reason": parsed_args.reason or ""}
            self.client.action("hosts", parsed_args.host, "disable", reason)


class AdmitHost(base.ItemCommand, command.ShowOne):
    """Believe a host by the key that its agent has: gpupool-agent-key show, on the host, prints it.

    A key that it had before is revoked.
    """

    collection = "hosts"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="<host>", help="Id or name")
        parser.add_argument(
            "--fingerprint", metavar="<fingerprint>", required=True, help="Of the key: SHA256:..."
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Admit it and show it."""
        wanted = {"fingerprint": parsed_args.fingerprint}
        host = self.client.action("hosts", parsed_args.host, "admit", wanted)
        return columns.details(host, parsed_args, LAYOUT)


class RevokeHost(base.ItemCommand, command.ShowOne):
    """Believe no key of a host any more: it counts as down until it is admitted by another one."""

    collection = "hosts"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="<host>", help="Id or name")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Revoke its keys and show it."""
        host = self.client.action("hosts", parsed_args.host, "revoke", {})
        return columns.details(host, parsed_args, LAYOUT)


class DeleteHost(base.DeleteCommand):
    """Forget hosts that are down, or were never admitted, and hold no vGPU."""

    collection = "hosts"
    metavar = "<host>"
