"""``openstack gpu device ...``."""

import argparse
from typing import Any

from osc_lib.exceptions import CommandError

from gpupool.client import arguments, base, columns, find
from gpupool.client.columns import Column
from gpupool.client.rest import Item

NAMING = "Id, key, or <host>/<key>"
LAYOUT = columns.Layout(
    first=(
        "host",
        "key",
        "id",
        "product",
        "health",
        "enabled",
        "compute_granted",
        "memory_mib_granted",
        "memory_mib",
        "pool",
        "traits",
    ),
    unless={
        "health_reason": "",
        "disabled_reason": "",
        "in_placement": True,
        "simulated": False,
        "sharing_mode": "shared",
        "link_group": "",
        "extends_memory": False,
    },
)


class ListDevices(base.ListCommand):
    """List devices and how much of each is granted."""

    collection = "devices"
    order = ("host", "key")
    columns = (
        Column("id", "ID", people=False),
        Column("host", "Host"),
        Column("key", "Key"),
        Column("product", "Product", people=False),
        Column("health", "Health"),
        Column("enabled", "Enabled", people=False),
        Column("in_placement", "In Placement", people=False),
        Column("granted", "Granted", programs=False),
        Column("compute_granted", "Compute granted", people=False),
        Column("memory_mib_granted", "Memory granted", people=False),
        Column("memory_mib", "Memory", people=False),
    )
    long_columns = (
        Column("pool", "Pool"),
        Column("vendor", "Vendor"),
        Column("sharing_mode", "Sharing mode"),
        Column("reserved_mib", "Reserved"),
        Column("link_group", "Link group"),
        Column("extends_memory", "Extends memory"),
        Column("simulated", "Simulated"),
        Column("traits", "Traits"),
        Column("health_reason", "Unhealthy because"),
        Column("disabled_reason", "Disabled because"),
    )
    filters = (
        base.Filter("host", "host", "Only devices of this host (name or id)"),
        base.Filter("pool", "pool", "Only devices of this pool (name or id)"),
        base.Filter("health", "health", "Only devices of this health", ("ok", "failed", "missing")),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the two that exclude each other."""
        parser = super().get_parser(prog_name)
        arguments.add_enabled(parser, "devices")
        return parser

    def query(self, parsed: argparse.Namespace) -> dict[str, Any]:
        """Add whether they are enabled."""
        return {**super().query(parsed), "enabled": parsed.enabled}

    def row(self, item: Item) -> Item:
        """Return the device with, for people, all that keeps it from use, and what is granted of it."""
        memory = f"{item.get('memory_mib_granted', 0)}/{item.get('memory_mib', 0)} MiB"
        granted = f"{item.get('compute_granted', 0)} %, {memory}"
        health = columns.Cell(item.get("health"), _trouble(item))
        return {**item, "health": health, "granted": granted}


class ShowDevice(base.ShowCommand):
    """Show one device."""

    collection = "devices"
    metavar = "<device>"
    help_text = NAMING
    layout = LAYOUT

    def ident(self, text: str) -> str:
        """Return its id."""
        return find.device(self.client, text)


class DeleteDevice(base.DeleteCommand):
    """Forget devices that were taken out of their hosts and hold no vGPU."""

    collection = "devices"
    metavar = "<device>"
    help_text = NAMING

    def ident(self, text: str) -> str:
        """Return its id."""
        return find.device(self.client, text)


class SetDevice(base.GpuCommand):
    """Enable or disable a device for new vGPUs; vGPUs on it stay."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("device", metavar="<device>", help=NAMING)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--enable", action="store_true", help="Allow new vGPUs on it")
        which.add_argument("--disable", action="store_true", help="Allow no new vGPUs on it")
        parser.add_argument("--reason", metavar="<text>", help="Reason of --disable")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Enable or disable it."""
        if parsed_args.enable and parsed_args.reason:
            raise CommandError("--reason goes with --disable")
        device = find.device(self.client, parsed_args.device)
        if parsed_args.enable:
            self.client.action("devices", device, "enable", {})
        else:
            self.client.action("devices", device, "disable", {"reason": parsed_args.reason or ""})


def _trouble(device: Item) -> str:
    """Return why a device takes no new vGPUs, in a word or two; ok when it does."""
    if device.get("health", "ok") != "ok":
        return str(device["health"])
    if not device.get("enabled", True):
        return "disabled"
    return "ok" if device.get("in_placement", True) else "not in Placement"
