"""``openstack gpu session ...``."""

import argparse
from typing import Any

from gpupool.client import base
from gpupool.client.columns import Column


class ListSessions(base.ListCommand):
    """List sessions: programs' live connections to vGPUs, as hosts last reported them."""

    collection = "sessions"
    columns = (
        Column("id", "ID"),
        Column("vgpu_id", "vGPU"),
        Column("host", "Host"),
        Column("program_pid", "Program PID"),
        Column("memory_used_mib", "Memory used"),
        Column("busy_ns", "Busy"),
        Column("started_at", "Started"),
    )
    long_columns = (Column("attachment_id", "Attachment"), Column("worker_pid", "Worker PID"))
    filters = (base.Filter("host", "host", "Only sessions on this host (name or id)"),)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add what takes ids only."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--vgpu", metavar="<id>", help="Only sessions of this vGPU")
        parser.add_argument("--attachment", metavar="<id>", help="Only sessions of this attachment")
        parser.add_argument(
            "--all-projects", action="store_true", help="Of all projects (administrators only)"
        )
        return parser

    def query(self, parsed: argparse.Namespace) -> dict[str, Any]:
        """Add vGPU and attachment."""
        return {
            **super().query(parsed),
            "vgpu_id": parsed.vgpu,
            "attachment_id": parsed.attachment,
            "all_projects": "true" if parsed.all_projects else None,
        }
