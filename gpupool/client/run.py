"""``openstack gpu run``: a program of this machine on a claim's devices."""

import argparse
import os
import shlex
import uuid
from collections.abc import Mapping

from osc_lib.exceptions import CommandError

from gpupool.client import arguments, base, child, environment, find, wait
from gpupool.client.rest import ApiError, NotFound


class RunProgram(base.GpuCommand):
    """Run a program on a claim's vGPUs: it sees them as its CUDA devices.

    The program ends with its own exit code, or with 128 and the number of the signal that ended it.
    Its attachment is deleted when it ends.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--claim", metavar="<claim>", required=True, help="Id or name of a bound claim"
        )
        parser.add_argument(
            "--host", metavar="<host>", help="This machine's name as a host; else the vGPUs'"
        )
        parser.add_argument(
            "--print-environment",
            action="store_true",
            help="Run nothing: print the program's environment for a shell, and keep the attachment",
        )
        parser.add_argument(
            "program", metavar="-- <program>", nargs="?", help="Program, after two dashes"
        )
        parser.add_argument("arguments", metavar="<argument>", nargs="...", help="Its arguments")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Attach, run, take the attachment away; return the program's exit code."""
        if bool(parsed_args.program) == parsed_args.print_environment:
            raise CommandError("give either a program, after two dashes (--), or --print-environment")
        try:
            with child.Signals() as signals:
                return self._run(parsed_args, signals)
        except child.Interrupted as exc:
            return 128 + exc.signum

    def _run(self, parsed: argparse.Namespace, signals: child.Signals) -> int:
        body = {"claim_id": find.claim(self.client, parsed.claim), "kind": "process"}
        body |= arguments.given(parsed, "host")
        # Of our own choice: whatever comes between, we know what to delete.
        attachment_id = str(uuid.uuid4())
        keep = False
        try:
            attachment = self.client.create("attachments", {"id": attachment_id, **body})
            ready = wait.for_attachment(self.client, attachment, wait.READY_TIMEOUT)
            wanted = environment.checked(ready)
            if parsed.print_environment:
                print(exports(attachment_id, wanted), end="")
                keep = True
                return 0
            return signals.run(
                [parsed.program, *parsed.arguments], program_environment(wanted, os.environ)
            )
        finally:
            if not keep:
                self._detach(attachment_id)

    def _detach(self, attachment_id: str) -> None:
        """Delete the attachment; it may have gone with its claim, or never have been made."""
        try:
            self.client.delete("attachments", attachment_id)
        except NotFound:
            return
        except (ApiError, child.Interrupted) as exc:
            self.log.error(
                "attachment %s may be left (%s); delete it by: openstack gpu attachment delete %s",
                *(attachment_id, exc, attachment_id),
            )


def program_environment(wanted: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return ``own`` with what the attachment needs, see ``environment.checked``."""
    paths = environment.PATHS & wanted.keys()
    prefixed = {name: f"{wanted[name]}:{own[name]}" for name in paths if own.get(name)}
    return {**own, **wanted, **prefixed}


def exports(attachment_id: str, wanted: Mapping[str, str]) -> str:
    """Return what the attachment needs as lines for a shell."""
    lines = [f"# delete when done: openstack gpu attachment delete {attachment_id}"]
    for name, value in sorted(wanted.items()):
        rest = f'"${{{name}:+:${name}}}"' if name in environment.PATHS else ""
        lines.append(f"export {name}={shlex.quote(value)}{rest}")
    return "\n".join(lines) + "\n"
