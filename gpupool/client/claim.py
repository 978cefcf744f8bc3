"""``openstack gpu claim ...``."""

import argparse
import shlex
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from gpupool.client import arguments, base, columns, find, wait
from gpupool.client.columns import Column
from gpupool.client.rest import ApiError, Client, Item

STATES = (
    "queued",
    "allocating",
    "binding",
    "bound",
    "releasing",
    "released",
    "suspended",
    "failed",
    "expired",
)
# States that may still lead to bound; a claim a host refused goes back to the queue by releasing.
BINDING = frozenset({"queued", "allocating", "binding", "releasing", "suspended"})
NAMING = "Id, or name of the one claim that bears it and has not ended"
# What people see: what became of it, what it asks for, what it has, until when, how it is used.
LAYOUT = columns.Layout(
    first=(
        "name",
        "id",
        "state",
        "state_reason",
        "state_detail",
        "pool",
        "count",
        "compute",
        "memory_mib",
    ),
    last=("granted_devices", "lease_end", "use"),
    unless={
        "health": "ok",
        "min_count": None,
        "max_count": None,
        "time_limit": None,
        "qos": "guaranteed",
        "preemptible": False,
        "on_device_lost": "wait",
        "priority": 50,
        "required_traits": [],
        "forbidden_traits": [],
        "host": None,
        "devices": [],
        "tier": "pool",
        "layout": "any",
        "same_host": False,
        "same_type": False,
        "linked": False,
        "sharing_mode": "shared",
        "partition": "",
        "cpu_milli": 0,
        "host_memory_mib": 0,
    },
)


class ListClaims(base.ListCommand):
    """List claims that have not ended."""

    collection = "claims"
    columns = (
        Column("id", "ID"),
        Column("name", "Name"),
        Column("state", "State"),
        Column("size", "Size", programs=False),
        Column("health", "Health", people=False),
        Column("count", "Count", people=False),
        Column("compute", "Compute", people=False),
        Column("memory_mib", "Memory", people=False),
        Column("tier", "Tier", people=False),
        Column("priority", "Priority", people=False),
    )
    long_columns = (
        Column("state_reason", "Reason"),
        Column("state_detail", "Detail"),
        Column("project_id", "Project"),
        Column("pool", "Pool"),
        Column("qos", "Class"),
        Column("preemptible", "Preemptible"),
        Column("time_limit", "Time limit"),
        Column("created_at", "Created"),
        Column("bound_at", "Bound"),
        Column("lease_end", "Lease end"),
        Column("ended_at", "Ended"),
    )
    filters = (
        base.Filter("name", "name", "Only claims of this name"),
        base.Filter("state", "state", "Only claims in this state", STATES),
        base.Filter("pool", "pool", "Only claims in this pool (name or id)"),
        base.Filter("qos", "qos", "Only claims of this class", ("guaranteed", "best_effort")),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add whose claims, and those that have ended."""
        parser = super().get_parser(prog_name)
        arguments.add_projects(parser)
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--ended", action="store_true", help="Only claims that have ended")
        which.add_argument("--with-ended", action="store_true", help="Also claims that have ended")
        return parser

    def row(self, item: Item) -> Item:
        """Return the claim with its size, and for people its state with what is the matter with it."""
        health = item.get("health", "ok")
        trouble = "" if health == "ok" else f",\n{health.replace('_', ' ')}"
        state = columns.Cell(item.get("state"), f"{item.get('state', '')}{trouble}")
        return {**item, "state": state, "size": columns.size(item)}

    def query(self, parsed: argparse.Namespace) -> dict[str, Any]:
        """Add whose claims, and, unless asked for others, only those that have not ended."""
        query = {**super().query(parsed), **self.whose(parsed)}
        if parsed.ended or not (parsed.with_ended or query["state"]):
            allowed = [state for state in STATES if (state in find.ENDED) == parsed.ended]
            query["state"] = [state for state in query["state"] or allowed if state in allowed]
            if not query["state"]:
                raise CommandError(f"--ended goes with a state of: {', '.join(allowed)}")
        return query


class ShowClaim(base.ShowCommand):
    """Show one claim, and the devices it was granted."""

    collection = "claims"
    metavar = "<claim>"
    help_text = NAMING

    def ident(self, text: str) -> str:
        """Return its id."""
        return find.claim(self.client, text)

    layout = LAYOUT

    def complete(self, item: Item, parsed: argparse.Namespace) -> Item:
        """Return it with its devices and how they are used."""
        return complete(self.client, item, parsed)


class CreateClaim(base.GpuCommand, command.ShowOne):
    """Claim vGPUs: shares of devices. Sizes come from the options or from a profile."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--name", metavar="<name>", help="Name, for people")
        parser.add_argument(
            "--profile", metavar="<profile>", help="Profile that gives what is not given here"
        )
        parser.add_argument("--pool", metavar="<pool>", help="Pool (name or id)")
        arguments.add_sizes(parser, required=False)
        arguments.add_wishes(parser)
        parser.add_argument(
            "--host", metavar="<host>", help="Only devices of this host: the program's own"
        )
        parser.add_argument(
            "--device",
            metavar="<device>",
            action="append",
            help="Only this device: id, key, or <host>/<key>; repeat for more",
        )
        parser.add_argument(
            "--lease-end",
            metavar="<time>",
            type=arguments.time,
            help="When it ends by itself (ISO 8601, UTC)",
        )
        add_wait(parser, "bound")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Create it, wait if asked, and show it."""
        check_wait(parsed_args)
        body = arguments.given(
            parsed_args,
            "name",
            "profile",
            "pool",
            "host",
            "lease_end",
            *arguments.SIZES,
            *arguments.WISHES,
        )
        if parsed_args.device:
            body["devices"] = [find.device(self.client, text) for text in parsed_args.device]
        claim = self.client.create_once("claims", body)
        if parsed_args.wait:
            claim = wait.for_claim(self.client, claim, "bound", BINDING, parsed_args.timeout)
        return columns.details(complete(self.client, claim, parsed_args), parsed_args, LAYOUT)


class SetClaim(base.GpuCommand):
    """Change a claim's name, priority or lease end."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("claim", metavar="<claim>", help=NAMING)
        parser.add_argument("--name", metavar="<name>", help="New name")
        parser.add_argument(
            "--priority",
            metavar="<number>",
            type=int,
            help="0 to 100, higher is served first; more than 50 is for managers and administrators",
        )
        lease = parser.add_mutually_exclusive_group()
        lease.add_argument(
            "--lease-end",
            metavar="<time>",
            type=arguments.time,
            help="When it ends by itself (ISO 8601, UTC); its time limit, once it is bound, stays",
        )
        lease.add_argument(
            "--no-lease-end",
            action="store_true",
            default=None,
            help="Remove the lease end: it does not end by itself",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Change what was given."""
        changes = arguments.changes(parsed_args, "name", "priority", "lease_end", "no_lease_end")
        if changes.pop("no_lease_end", False):
            changes["lease_end"] = None
        self.client.update("claims", find.claim(self.client, parsed_args.claim), changes)


class DeleteClaim(base.DeleteCommand):
    """Release claims: their programs lose their devices."""

    collection = "claims"
    metavar = "<claim>"
    help_text = NAMING

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add waiting."""
        parser = super().get_parser(prog_name)
        add_wait(parser, "released")
        return parser

    def ident(self, text: str) -> str:
        """Return its id."""
        return find.claim(self.client, text)

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Release each, then wait if asked."""
        check_wait(parsed_args)
        super().take_action(parsed_args)

    def finish(self, idents: list[str], parsed: argparse.Namespace) -> None:
        """Wait until each is released."""
        for ident in idents if parsed.wait else ():
            claim = self.client.get("claims", ident)
            wait.for_claim(self.client, claim, "released", {"releasing"}, parsed.timeout)


def complete(client: Client, claim: Item, parsed: argparse.Namespace) -> Item:
    """Return the claim with where its vGPUs are, and for people how to run a program on them."""
    claim = with_devices(client, claim)
    if claim["state"] != "bound" or not columns.is_for_people(parsed):
        return claim
    named = shlex.quote(claim["name"] or claim["id"])
    return {**claim, "use": f"openstack gpu run --claim {named} -- PROGRAM"}


def with_devices(client: Client, claim: Item) -> Item:
    """Return the claim with where its vGPUs are, in their order."""
    query = {"claim_id": claim["id"], "project_id": claim["project_id"]}
    try:
        granted = sorted((vgpu["index"], vgpu["device"]) for vgpu in client.list("vgpus", query))
    except ApiError:
        return claim  # it was created, and that is what has to be shown
    return {**claim, "granted_devices": [device for _, device in granted]}


def add_wait(parser: argparse.ArgumentParser, state: str) -> None:
    """Add ``--wait`` and ``--timeout``."""
    parser.add_argument("--wait", action="store_true", help=f"Return only when it is {state}")
    parser.add_argument(
        "--timeout",
        metavar="<seconds>",
        type=arguments.seconds,
        help="With --wait: give up waiting after this (default: never)",
    )


def check_wait(parsed: argparse.Namespace) -> None:
    """Raise CommandError when a time to wait is given and no waiting asked for."""
    if parsed.timeout is not None and not parsed.wait:
        raise CommandError("--timeout goes with --wait")
