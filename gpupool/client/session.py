"""``openstack gpu session ...``."""

import argparse
from typing import Any

from gpupool.client import arguments, base, find
from gpupool.client.columns import Column


class ListSessions(base.ListCommand):
    """List sessions: programs' live connections to vGPUs, as hosts last reported them."""

    collection = "sessions"
    columns = (
        Column("id", "ID"),
        Column("vgpu_id", "vGPU", people=False),
        Column("host", "Host"),
        Column("state", "State"),
        Column("program_pid", "Program PID"),
        Column("memory_used_mib", "Memory used"),
        Column("busy_ns", "Busy"),
        Column("started_at", "Started", people=False),
    )
    long_columns = (
        Column("attachment_id", "Attachment"),
        Column("worker_pid", "Worker PID"),
    )
    filters = (base.Filter("host", "host", "Only sessions on this host (name or id)"),)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the claim, which may be given by its name, what takes ids only, and whose."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--claim", metavar="<claim>", help="Only sessions of this claim (name or id)"
        )
        parser.add_argument("--vgpu", metavar="<id>", help="Only sessions of this vGPU")
        parser.add_argument("--attachment", metavar="<id>", help="Only sessions of this attachment")
        arguments.add_projects(parser)
        return parser

    def query(self, parsed: argparse.Namespace) -> dict[str, Any]:
        """Add claim, vGPU and attachment."""
        return {
            **super().query(parsed),
            "claim_id": parsed.claim and find.claim(self.client, parsed.claim),
            "vgpu_id": parsed.vgpu,
            "attachment_id": parsed.attachment,
            **self.whose(parsed),
        }


class ShowSession(base.ShowCommand):
    """Show one session."""

    collection = "sessions"
    metavar = "<session>"
    help_text = "Id"


class DeleteSession(base.DeleteCommand):
    """End sessions: their programs lose their devices; claims, attachments and other sessions stay.

    A host that is silent ends them when it comes back; until then they are listed, as ending.
    """

    collection = "sessions"
    metavar = "<session>"
    help_text = "Id"
