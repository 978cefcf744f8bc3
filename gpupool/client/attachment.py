"""``openstack gpu attachment ...``."""

import argparse
from typing import Any

from osc_lib.command import command

from gpupool.client import arguments, base, columns, find, wait
from gpupool.client.columns import Column
from gpupool.client.rest import Item

TICKET = "GPUPOOL_TICKET"
LAYOUT = columns.Layout(
    first=("id", "state", "state_reason", "claim_id", "kind", "host", "cdi_device"), last=("use",)
)
WITH_TICKET = columns.Layout(first=LAYOUT.first, last=("ticket", "environment", "use"))


class ListAttachments(base.ListCommand):
    """List attachments: claims made usable on a host for a process or container."""

    collection = "attachments"
    columns = (
        Column("id", "ID"),
        Column("claim_id", "Claim"),
        Column("host", "Host", people=False),
        Column("kind", "Kind"),
        Column("state", "State"),
        Column("cdi_device", "CDI device", people=False),
    )
    long_columns = (
        Column("state_reason", "Reason"),
        Column("project_id", "Project"),
        Column("created_at", "Created"),
    )
    filters = (
        base.Filter("host", "host", "Only attachments on this host (name or id)"),
        base.Filter("kind", "kind", "Only attachments of this kind", ("process", "container")),
        base.Filter(
            "state",
            "state",
            "Only attachments in this state",
            ("pending", "ready", "failed", "removing"),
        ),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the claim, and whose."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--claim", metavar="<claim>", help="Only attachments of this claim")
        arguments.add_projects(parser)
        return parser

    def query(self, parsed: argparse.Namespace) -> dict[str, Any]:
        """Add claim and project."""
        return {
            **super().query(parsed),
            **self.whose(parsed),
            "claim_id": parsed.claim and find.claim(self.client, parsed.claim),
        }


class ShowAttachment(base.ShowCommand):
    """Show one attachment."""

    collection = "attachments"
    metavar = "<attachment>"
    help_text = "Id"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add what is secret."""
        parser = super().get_parser(prog_name)
        add_ticket(parser)
        return parser

    def layout_for(self, parsed: argparse.Namespace) -> columns.Layout:
        """Return what people see: the environment, too, where they ask for the ticket."""
        return WITH_TICKET if parsed.ticket else LAYOUT

    def complete(self, item: Item, parsed: argparse.Namespace) -> Item:
        """Return it with how it is used, and with its ticket only when asked."""
        return complete(item, parsed)


class CreateAttachment(base.GpuCommand, command.ShowOne):
    """Make a claim usable on a host; ``openstack gpu run`` does so by itself."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--claim", metavar="<claim>", required=True, help="Id or name of a bound claim"
        )
        parser.add_argument(
            "--kind",
            choices=("process", "container"),
            default="container",
            help="Kind of the program: in a container (default) or a process of the host",
        )
        parser.add_argument(
            "--host", metavar="<host>", help="Host of the program; else that of the vGPUs"
        )
        parser.add_argument("--wait", action="store_true", help="Return only when it is ready")
        parser.add_argument(
            "--timeout",
            metavar="<seconds>",
            type=arguments.seconds,
            default=wait.READY_TIMEOUT,
            help="With --wait: give up after this, %(default)s by default",
        )
        add_ticket(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Create it, wait if asked, and show it."""
        body = {"claim_id": find.claim(self.client, parsed_args.claim), "kind": parsed_args.kind}
        body |= arguments.given(parsed_args, "host")
        attachment = self.client.create_once("attachments", body)
        if parsed_args.wait:
            attachment = wait.for_attachment(self.client, attachment, parsed_args.timeout)
        layout = WITH_TICKET if parsed_args.ticket else LAYOUT
        return columns.details(complete(attachment, parsed_args), parsed_args, layout)


class DeleteAttachment(base.DeleteCommand):
    """Delete attachments: their programs lose their devices."""

    collection = "attachments"
    metavar = "<attachment>"
    help_text = "Id"


def add_ticket(parser: argparse.ArgumentParser) -> None:
    """Add the option without which the ticket is not shown."""
    parser.add_argument(
        "--ticket",
        action="store_true",
        help="Show its ticket too; whoever has it and reaches the host can use the claim's devices",
    )


def complete(item: Item, parsed: argparse.Namespace) -> Item:
    """Return an attachment with its ticket only if asked, and for people with how it is used."""
    if not parsed.ticket:
        environment = {name: value for name, value in item["environment"].items() if name != TICKET}
        item = {key: value for key, value in item.items() if key != "ticket"}
        item = {**item, "environment": environment}
    if not columns.is_for_people(parsed):
        return item
    if item["kind"] == "container":
        use = f"podman run --device {item['cdi_device']} IMAGE"
    else:
        use = "a program with the environment that --ticket shows"
    return {**item, "use": use} if item["state"] == "ready" else item
