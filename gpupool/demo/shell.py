"""What the demo is told and shown by: commands, printed as they are run, and checks."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keystoneauth1 import noauth, session, token_endpoint

# Commands of the same installation as this one come first.
BIN = Path(sys.executable).parent
INDENT = "   "
# Seconds; a command takes two or three.
COMMAND_TIMEOUT = 120


@dataclass(frozen=True)
class Endpoints:
    """Where a running gpupool-standalone listens."""

    api: str
    placement: str


class Shell:
    """Runs commands against ``endpoints``, shows them, and counts the checks that failed."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.failed = 0
        self._endpoints = endpoints
        self._titles = 0
        self._environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}",
            "OS_AUTH_TYPE": "none",
            "OS_ENDPOINT": endpoints.api,
            # Tables as wide as they are, whatever the terminal.
            "CLIFF_MAX_TERM_WIDTH": "0",
        }

    def title(self, text: str) -> None:
        """Start a step."""
        self._titles += 1
        print(f"\n{self._titles}. {text}", flush=True)

    def say(self, text: str) -> None:
        """Show lines of output."""
        for line in text.rstrip().splitlines():
            print(INDENT + line, flush=True)

    def check(self, right: bool, text: str) -> None:
        """Show whether something is as it should be; count it when it is not."""
        self.failed += not right
        self.say(f"{'ok' if right else 'FAILED'}: {text}")

    def openstack(self, *arguments: str) -> str:
        """Run ``openstack ARGUMENTS``, shown; return its output. An error counts as a failed check."""
        self.say(f"$ {shown(['openstack', *arguments])}")
        return self._end(self._start(arguments))

    def together(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """Run several openstack commands at the same time, shown; return their outputs."""
        for arguments in commands:
            self.say(f"$ {shown(['openstack', *arguments])} &")
        return [self._end(process) for process in [self._start(arguments) for arguments in commands]]

    def items(self, collection: str, **query: str) -> list[dict[str, Any]]:
        """Ask the API, not shown: return the items of a collection."""
        url = f"{self._endpoints.api}/v1/{collection}"
        api = session.Session(auth=noauth.NoAuth(endpoint=self._endpoints.api))
        found: list[dict[str, Any]] = api.get(url, params=query).json()[collection]
        return found

    def granted(self) -> tuple[int, int]:
        """Return the percent of compute and the MiB of memory that the API says are granted."""
        devices = self.items("devices")
        compute = sum(device["compute_granted"] for device in devices)
        return compute, sum(device["memory_mib_granted"] for device in devices)

    def placement_allocations(self) -> Mapping[str, Mapping[str, Any]]:
        """Ask Placement itself: return its allocations by the name of the resource provider."""
        credentials = token_endpoint.Token(self._endpoints.placement, "admin")
        placement = session.Session(auth=credentials)
        providers = placement.get(f"{self._endpoints.placement}/resource_providers").json()
        return {
            provider["name"]: placement.get(
                f"{self._endpoints.placement}/resource_providers/{provider['uuid']}/allocations"
            ).json()["allocations"]
            for provider in providers["resource_providers"]
        }

    def _start(self, arguments: Sequence[str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["openstack", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _end(self, process: "subprocess.Popen[str]") -> str:
        output, _ = process.communicate(timeout=COMMAND_TIMEOUT)
        self.say(output)
        if process.returncode:
            self.check(False, f"the command ended with exit code {process.returncode}")
        return output


def shown(command: Sequence[str]) -> str:
    """Return a command as one would type it here: programs of this installation by their name."""
    here = f"{Path.cwd()}/"
    return shlex.join(word.removeprefix(f"{BIN}/").removeprefix(here) for word in command)
