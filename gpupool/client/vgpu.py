"""``openstack gpu vgpu ...``."""

import argparse
from typing import Any

from gpupool.client import arguments, base, columns, find
from gpupool.client.columns import Column
from gpupool.client.rest import Item


class ListVgpus(base.ListCommand):
    """List vGPUs: granted shares of devices."""

    collection = "vgpus"
    columns = (
        Column("id", "ID", people=False),
        Column("claim_id", "Claim"),
        Column("index", "Index", people=False),
        Column("device", "Device"),
        Column("size", "Size", programs=False),
        Column("compute", "Compute", people=False),
        Column("memory_mib", "Memory", people=False),
        Column("state", "State"),
    )
    long_columns = (
        Column("memory_used_mib", "Memory used"),
        Column("busy_ns", "Busy"),
        Column("project_id", "Project"),
        Column("created_at", "Created"),
    )
    filters = (
        base.Filter("host", "host", "Only vGPUs on this host (name or id)"),
        base.Filter("state", "state", "Only vGPUs in this state", ("planned", "active", "removing")),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add what must be found by name first, and whose."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--claim", metavar="<claim>", help="Only vGPUs of this claim")
        parser.add_argument("--device", metavar="<device>", help="Only vGPUs on this device")
        arguments.add_projects(parser)
        return parser

    def query(self, parsed: argparse.Namespace) -> dict[str, Any]:
        """Add claim, device and project."""
        return {
            **super().query(parsed),
            **self.whose(parsed),
            "claim_id": parsed.claim and find.claim(self.client, parsed.claim),
            "device_id": parsed.device and find.device(self.client, parsed.device),
        }

    def row(self, item: Item) -> Item:
        """Return the vGPU with its size."""
        device = columns.DeviceName(item.get("device") or "")
        return {**item, "size": columns.size(item), "device": device}


class ShowVgpu(base.ShowCommand):
    """Show one vGPU."""

    collection = "vgpus"
    metavar = "<vgpu>"
    help_text = "Id"
    layout = columns.Layout(
        first=(
            "id",
            "claim_id",
            "index",
            "state",
            "device",
            "compute",
            "memory_mib",
            "memory_used_mib",
            "busy_ns",
        )
    )
