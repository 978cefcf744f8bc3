"""``gpupool-standalone``: the whole of gpupool in one process.

API, conductor, Placement and one agent per host: the same parts that run as services in a cloud, on
SQLite and in-process messages. All state is in one folder. Hosts and devices are simulated, unless
--driver nvidia asks for this machine's GPUs.
"""

import argparse
import errno
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from types import FrameType
from typing import Any

from cheroot import wsgi
from oslo_config import cfg

from gpupool import conf as gpupool_conf
from gpupool.agent.service import Agent
from gpupool.api.app import make_app
from gpupool.api.presence import Presence
from gpupool.cmd import output, readiness
from gpupool.cmd.service import one_line
from gpupool.cmd.status import ENDPOINTS
from gpupool.conductor.service import Conductor
from gpupool.conf import logs
from gpupool.dataplane import paths
from gpupool.db import devices
from gpupool.db.api import Database
from gpupool.model import errors, whole_file
from gpupool.model import text as texts
from gpupool.model.host import NAME_ALLOWED, is_name
from gpupool.model.states import DeviceHealth
from gpupool.placement.embedded import EmbeddedPlacement
from gpupool.rpc import transport
from gpupool.rpc.conductor import ConductorClient

LOG = logging.getLogger(__name__)
ADDRESS = "127.0.0.1"
# Messages stay within this process.
MESSAGES = "fake://"
DEFAULT_PORT = 8790
API_THREADS = 16
# Seconds for requests under way when this stops; connections that clients keep open would use them up.
API_PATIENCE = 1
# Bytes on the disk of the state folder, with less of which it counts as full.
ROOM = 1 << 20


class CannotStart(Exception):
    """What stands in the way, in words for whoever started this."""


# What keeps this from starting, and is no fault in its code.
EXPECTED = (CannotStart, errors.GpupoolError, OSError, cfg.Error)


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


class _Server(wsgi.Server):
    """An HTTP server that writes its troubles into the log, not on the terminal."""

    def error_log(self, msg: str = "", level: int = logging.ERROR, traceback: bool = False) -> None:
        """Log ``msg``, with the exception being handled if ``traceback``."""
        LOG.log(level, "%s", msg.strip(), exc_info=traceback)


class Standalone:
    """Everything, from ``start`` to ``stop``."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stops = ExitStack()
        self._conf = _service_conf(options)
        logs.setup(self._conf, "gpupool")

    @property
    def api_url(self) -> str:
        """Where the API listens; known after ``start``."""
        return f"http://{ADDRESS}:{self._server.bind_addr[1]}"

    def start(self) -> None:
        """Start every part, and return when every device can be claimed. Raises CannotStart."""
        run_dir = _make_run_folder(self._options.state_dir)
        self._database = Database.from_conf(self._conf)
        self._stops.callback(self._database.close)
        self._database.upgrade()
        self._messages = transport.get_transport(self._conf)
        self._stops.callback(self._messages.cleanup)
        # The port first: it is what is most likely to be in use.
        self._server = self._bind()
        placement = self._stops.enter_context(EmbeddedPlacement(self._options.state_dir / "placement"))
        before = readiness.last_reports(self._database)
        conductor = Conductor(self._conf, self._database, placement.client(), self._messages)
        conductor.start()
        self._stops.callback(conductor.stop)
        for name in self._options.host_names():
            self._start_agent(name, run_dir)
        self._serve()
        readiness.wait_for_hosts(self._database, set(self._options.host_names()), before, self.api_url)
        if not self._options.simulated:
            self._check_devices()
        self._write_endpoints(placement.url)

    def _check_devices(self) -> None:
        with self._database.reader() as session:
            if not devices.list_(session, {"health": DeviceHealth.OK}, limit=1):
                raise CannotStart(
                    "NVML lists no GPU on this machine; without --driver, devices are simulated"
                )

    def _bind(self) -> wsgi.Server:
        """Return the API's server, listening but not answering yet."""
        made = make_app(self._conf, self._database, ConductorClient(self._messages))
        app = Presence(made, self._database)
        address = (ADDRESS, self._options.port)
        server = _Server(address, app, numthreads=API_THREADS, shutdown_timeout=API_PATIENCE)
        try:
            server.prepare()
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE or "in use" in str(exc):
                why = f"port {self._options.port} is in use; choose another by --port (0: any free one)"
                raise CannotStart(why) from exc
            raise CannotStart(f"port {self._options.port} cannot be listened on: {exc}") from exc
        self._stops.callback(server.stop)
        return server

    def _serve(self) -> None:
        threading.Thread(target=self._server.serve, name="api", daemon=True).start()
        # A second time: now before anything that answers need.
        self._stops.callback(self._server.stop)

    def _start_agent(self, name: str, run_dir: Path) -> None:
        conf = _agent_conf(self._options, name, run_dir)
        agent = Agent(conf, self._messages)
        agent.start()
        self._stops.callback(agent.stop, end_sessions=True)

    def stop(self) -> None:
        """Stop what was started, last things first; every session ends."""
        self._stops.close()

    def _write_endpoints(self, placement_url: str) -> None:
        """Write down where to reach what; the file is there while this is ready."""
        path = self._options.state_dir / ENDPOINTS
        content = json.dumps({"api": self.api_url, "placement": placement_url})
        whole_file.write(path, content.encode(), durable=False)
        self._stops.callback(path.unlink, missing_ok=True)


def _conf(path: Path, ours: dict[str, dict[str, Any]], options: Options) -> cfg.ConfigOpts:
    """Return the configuration of ``ours`` by group, which ``path`` holds, and of the user's files."""
    lines = []
    for group, values in ours.items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in values.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return gpupool_conf.new(files=[str(file) for file in (path, *options.config_files)])


def _service_conf(options: Options) -> cfg.ConfigOpts:
    """Return the configuration of API and conductor."""
    database = options.state_dir / "gpupool.sqlite"
    return _conf(
        options.state_dir / "gpupool.conf",
        {
            "DEFAULT": {"transport_url": MESSAGES, "log_file": options.log_file},
            "database": {"connection": f"sqlite:///{database}"},
            "api": {"auth_strategy": "noauth"},
            # Nobody waits a minute for the first lease to end, or else is on this process's messages.
            "conductor": {"clock_settle": 10, "admit_hosts": "automatic"},
        },
        options,
    )


def _agent_conf(options: Options, name: str, run_dir: Path) -> cfg.ConfigOpts:
    """Return the configuration of one host's agent."""
    folder = options.state_dir / "hosts" / name
    agent = {
        "host": name,
        "drivers": options.driver,
        "state_path": folder,
        "run_path": run_dir / name,
        "cdi_path": options.cdi_dir,
    }
    reference = {"devices": options.devices, "memory_mib": options.memory_mib}
    return _conf(
        folder / "gpupool.conf",
        {"DEFAULT": {"transport_url": MESSAGES}, "agent": agent, "reference": reference},
        options,
    )


def _make_run_folder(state_dir: Path) -> Path:
    """Return the folder of the session sockets, which keep their paths from one start to the next.

    So it is in the state folder, which nobody empties but its owner, and stays there when this stops: a
    container holds the folder itself. Earlier versions had a link there, to a folder in /tmp.
    """
    folder = state_dir / "run"
    if folder.is_symlink():
        if folder.readlink().name.startswith("gpupool-"):
            shutil.rmtree(folder.readlink(), ignore_errors=True)
        folder.unlink()
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """Lock the state folder for this process, from now to its end."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (state_dir / "lock").open("a+")
        _warn_of_others(state_dir)
    except OSError as exc:
        raise CannotStart(f"the state folder {state_dir} cannot be used: {exc.strerror}") from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            lock.seek(0)
            who = lock.read().strip()
            why = f"gpupool-standalone runs already in {state_dir}, as process {who}"
            raise CannotStart(f"{why}; stop it, or choose another folder by --state-dir") from exc
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _warn_of_others(state_dir: Path) -> None:
    """Say when others than the owner can look into the state folder: keys and sockets are in it."""
    if (mode := stat.S_IMODE(state_dir.stat().st_mode)) & 0o077:
        print(
            f"gpupool-standalone: warning: others can look into the state folder {state_dir} "
            f"(mode {mode:o}): chmod 700 {state_dir}",
            file=sys.stderr,
        )


def _greet(api_url: str, options: Options) -> None:
    """Say where this listens and what to try."""
    what = f"{_count(options.hosts, 'host')}, {_count(options.devices, 'device')} on each"
    print(
        f"""\
gpupool runs on this machine: {what if options.simulated else "its GPUs"}.
  API    {api_url} (whoever reaches it is administrator)
  state  {options.state_dir}
  log    {options.log_file}

Try, in another terminal:
  export OS_AUTH_TYPE=none OS_ENDPOINT={api_url}
  openstack gpu device list
  openstack gpu claim create --name mine --compute 25 --memory-mib 512 --wait
  openstack gpu run --claim mine -- PROGRAM
  openstack gpu claim delete mine

Ctrl-C stops all of it; the next start goes on from there.""",
        flush=True,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} simulated {noun}{'' if number == 1 else 's'}"


def _stop_signal() -> threading.Event:
    """Return what is set when somebody wants this to end, also while it still starts."""
    stop = threading.Event()

    def take(_signum: int, _frame: FrameType | None) -> None:
        stop.set()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, take)
    return stop


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


def _parse() -> Options:
    parser = argparse.ArgumentParser(prog="gpupool-standalone", description=__doc__)
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


def main() -> int:
    """Run until a signal; return 0 then, 1 when it cannot start."""
    options = _parse()
    try:
        with _locked(options.state_dir):
            _run(options)
    except (CannotStart, OSError, cfg.Error) as exc:
        print(f"gpupool-standalone: {_room(options)}{one_line(exc)}", file=sys.stderr)
        return 1
    except Exception as exc:
        # Any: once oslo.log is set up, nothing that ends Python is shown on the terminal.
        why = f"{_room(options)}{output.reason(exc)}"
        print(f"gpupool-standalone: {why}; {options.log_file} says more", file=sys.stderr)
        return 1
    return 0


def _room(options: Options) -> str:
    """Return what goes before the reason why this can't start: that the disk is full, if it is.

    What meets a full disk may have given its room back, and Placement tells it like any other error.
    """
    try:
        found = os.statvfs(options.state_dir)
    except OSError:
        return ""
    if found.f_favail and found.f_bavail * found.f_frsize >= ROOM:
        return ""
    return f"the disk of the state folder {options.state_dir} is full: "


def _check_built() -> None:
    if missing := [path for path in (paths.RUNTIME, paths.REFERENCE, paths.WORKER) if not path.exists()]:
        how = "build the C by: python -m gpupool.dataplane.build"
        raise CannotStart(f"{missing[0]} is missing; {how}")


def _run(options: Options) -> None:
    stop = _stop_signal()
    _check_built()
    standalone = Standalone(options)
    try:
        standalone.start()
        _greet(standalone.api_url, options)
        stop.wait()
        print("Stopping ...", flush=True)
    except EXPECTED as exc:
        LOG.error("cannot start: %s", exc)
        raise
    except Exception:
        LOG.exception("this ends gpupool-standalone")
        raise
    finally:
        standalone.stop()


if __name__ == "__main__":
    sys.exit(main())
