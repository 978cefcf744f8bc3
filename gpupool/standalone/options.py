"""What the command line of a standalone says."""

import argparse
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from gpupool.model import text as texts
from gpupool.model.host import NAME_ALLOWED, is_name
from gpupool.standalone.errors import CannotStart

DEFAULT_PORT = 8790


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. ``port`` 0 takes a free one; ``memory_mib`` is of each device."""

    state_dir: Path
    cdi_dir: Path
    port: int
    driver: str
    hosts: int
    devices: int
    memory_mib: int
    config_files: tuple[Path, ...] = ()

    @property
    def log_file(self) -> Path:
        """What happens, and why something did not."""
        return self.state_dir / "standalone.log"

    @property
    def simulated(self) -> bool:
        """Whether hosts and devices are simulated."""
        return self.driver == "reference"

    def host_names(self) -> list[str]:
        """Return sim-a, sim-b, ..., or this machine's name."""
        if not self.simulated:
            name = socket.gethostname()
            if not is_name(name):
                why = f"this machine is called '{texts.shown(name)}'; a host may be: {NAME_ALLOWED}"
                raise CannotStart(why)
            return [name]
        return [f"sim-{letter}" for letter in ascii_lowercase[: self.hosts]]


def _number(least: int, most: int) -> Any:
    """Return a type of arguments: a whole number within bounds."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: {least} to {most}")
        return int(text)

    return parse


def _add_simulation(parser: argparse.ArgumentParser) -> None:
    """Add the sizes of what is simulated."""
    parser.add_argument(
        "--hosts",
        type=_number(1, 26),
        default=2,
        help="how many simulated hosts (default: %(default)s)",
    )
    parser.add_argument(
        "--devices",
        type=_number(0, 64),
        default=2,
        help="simulated devices on each (default: %(default)s)",
    )
    parser.add_argument(
        "--memory-mib",
        type=_number(1, 2**20),
        default=4096,
        help="MiB of each simulated device (default: %(default)s)",
    )


def parse(description: str | None) -> Options:
    """Return what the command line of this process says; argparse ends it when it can't be read."""
    parser = argparse.ArgumentParser(prog="gpupool-standalone", description=description)
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path(home) / "gpupool",
        help="folder of all state (default: %(default)s)",
    )
    parser.add_argument(
        "--cdi-dir",
        type=Path,
        help="folder of CDI specs (default: /var/run/cdi for root, else cdi in the state folder)",
    )
    parser.add_argument(
        "--port",
        type=_number(0, 65535),
        default=DEFAULT_PORT,
        help="port of the API (default: %(default)s)",
    )
    parser.add_argument(
        "--driver",
        choices=("reference", "nvidia"),
        default="reference",
        help="simulated devices, or this machine's GPUs (default: %(default)s)",
    )
    _add_simulation(parser)
    parser.add_argument(
        "--config-file",
        type=Path,
        action="append",
        default=[],
        help="options for all parts, read after standalone's own; repeat for more files",
    )
    given = parser.parse_args()
    state_dir = given.state_dir.expanduser().absolute()
    own = Path("/var/run/cdi") if os.geteuid() == 0 else state_dir / "cdi"
    return Options(
        state_dir=state_dir,
        cdi_dir=(given.cdi_dir or own).absolute(),
        port=given.port,
        driver=given.driver,
        hosts=given.hosts,
        devices=given.devices,
        memory_mib=given.memory_mib,
        config_files=tuple(file.expanduser().absolute() for file in given.config_file),
    )
