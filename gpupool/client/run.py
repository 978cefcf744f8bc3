"""``openstack gpu run``: a program of this machine on a claim's devices."""

import argparse
import os
import shlex
import uuid
from collections.abc import Mapping
from contextlib import ExitStack

from osc_lib.exceptions import CommandError

from gpupool.client import arguments, base, child, environment, find, loaded, wait
from gpupool.client.rest import ApiError, NotFound


class RunProgram(base.GpuCommand):
    """Run a program on the vGPUs of one or more claims: it sees them as its CUDA devices.

    The program ends with its own exit code, or with 128 and the number of the signal that ended it.
    Its attachments are deleted when it ends.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--claim",
            metavar="<claim>",
            action="append",
            required=True,
            help="Id or name of a bound claim; repeat for several, whose devices come in this order",
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
        with ExitStack() as attached:
            # The last first: each one's devices come before those that are there.
            made = [self._attach(claim, parsed, attached) for claim in reversed(parsed.claim)]
            if parsed.print_environment:
                print("".join(exports(*each) for each in made), end="")
                attached.pop_all()
                return 0
            variables = dict(os.environ)
            for _, wanted in made:
                variables = program_environment(wanted, variables)
            watch = loaded.Watch(self.log.warning)
            return signals.run([parsed.program, *parsed.arguments], variables, watch.look)

    def _attach(
        self, claim: str, parsed: argparse.Namespace, attached: ExitStack
    ) -> tuple[str, dict[str, str]]:
        """Make an attachment that goes with ``attached``; return its id and what its program needs."""
        body = {"claim_id": find.claim(self.client, claim), "kind": "process"}
        body |= arguments.given(parsed, "host")
        # Of our own choice: whatever comes between, we know what to delete.
        attachment_id = str(uuid.uuid4())
        attached.callback(self._detach, attachment_id)
        made = self.client.create("attachments", {"id": attachment_id, **body})
        ready = wait.for_attachment(self.client, made, wait.READY_TIMEOUT)
        return attachment_id, environment.checked(ready)

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
    """Return ``own`` with what the attachment needs, see ``environment.checked``.

    Attachments that ``own`` names stay usable: their devices have the numbers behind those of this one.
    """
    paths = environment.PATHS & wanted.keys()
    prefixed = {name: _in_front(wanted[name], own.get(name, "")) for name in paths}
    return {**own, **wanted, **prefixed, **environment.beside(wanted, own)}


def _in_front(folder: str, before: str) -> str:
    """Return a search path that begins with ``folder`` and goes on as ``before``."""
    rest = before.split(":") if before else []
    return before if rest[:1] == [folder] else ":".join([folder, *rest])


def exports(attachment_id: str, wanted: Mapping[str, str]) -> str:
    """Return what the attachment needs as lines for a shell, in front of what the shell has."""
    lines = [f"# delete when done: openstack gpu attachment delete {attachment_id}"]
    for name, value in sorted(wanted.items()):
        rest = f'"${{{name}:+:${name}}}"'
        lines.append(f"export {name}={shlex.quote(value)}{rest}")
    return "\n".join(lines) + "\n"
