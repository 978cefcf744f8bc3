"""``openstack gpu host ...``."""

import argparse
from typing import Any

from osc_lib.command import command

from gpupool.client import base, columns
from gpupool.client.columns import Column


class ListHosts(base.ListCommand):
    """List hosts: machines with an agent."""

    collection = "hosts"
    order = ("name",)
    columns = (
        Column("id", "ID"),
        Column("name", "Name"),
        Column("state", "State"),
        Column("pool", "Pool"),
        Column("simulated", "Simulated"),
        Column("unable_reason", "Takes no vGPUs because"),
        Column("pending_fingerprints", "Waits to be admitted"),
    )
    long_columns = (
        Column("cpu_milli", "CPU"),
        Column("memory_mib", "Memory"),
        Column("last_seen_at", "Last seen"),
        Column("held_until", "Held until"),
        Column("held_reason", "Held because"),
        Column("agent_version", "Agent version"),
        Column("generation", "Generation"),
        Column("applied_generation", "Applied generation"),
        Column("fingerprint", "Fingerprint"),
    )
    filters = (
        base.Filter("state", "state", "Only hosts in this state", ("up", "down", "pending")),
        base.Filter("pool", "pool", "Only hosts of this pool (name or id)"),
    )


class ShowHost(base.ShowCommand):
    """Show one host."""

    collection = "hosts"
    metavar = "<host>"


class SetHost(base.GpuCommand):
    """Move a host that holds no vGPU to another pool."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="<host>", help="Id or name")
        parser.add_argument("--pool", metavar="<pool>", required=True, help="Its new pool (name or id)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Move the host."""
        self.client.update("hosts", parsed_args.host, {"pool": parsed_args.pool})


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
        return columns.details(self.client.action("hosts", parsed_args.host, "admit", wanted))


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
        return columns.details(self.client.action("hosts", parsed_args.host, "revoke", {}))


class DeleteHost(base.DeleteCommand):
    """Forget hosts that are down, or were never admitted, and hold no vGPU."""

    collection = "hosts"
    metavar = "<host>"
