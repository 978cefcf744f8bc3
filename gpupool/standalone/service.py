"""All services of a cloud of one machine, from start to stop."""

import errno
import json
import logging
import threading
from contextlib import ExitStack
from pathlib import Path

from cheroot import wsgi

from gpupool.agent.service import Agent
from gpupool.api.app import make_app
from gpupool.api.presence import Presence
from gpupool.conductor.service import Conductor
from gpupool.conf import logs
from gpupool.dataplane import paths
from gpupool.db import devices
from gpupool.db.api import Database
from gpupool.model import whole_file
from gpupool.model.states import DeviceHealth
from gpupool.placement.embedded import EmbeddedPlacement
from gpupool.rpc import transport
from gpupool.rpc.conductor import ConductorClient
from gpupool.standalone import configuration, readiness, state_folder
from gpupool.standalone.errors import CannotStart
from gpupool.standalone.options import Options

LOG = logging.getLogger(__name__)
_ADDRESS = "127.0.0.1"
_API_THREADS = 16
# Seconds for requests under way when this stops; connections that clients keep open would use them up.
_API_PATIENCE = 1


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
        self._conf = configuration.of_services(options)
        logs.setup(self._conf, "gpupool")

    @property
    def api_url(self) -> str:
        """Where the API listens; known after ``start``."""
        return f"http://{_ADDRESS}:{self._server.bind_addr[1]}"

    def start(self) -> None:
        """Start every part, and return when every device can be claimed. Raises CannotStart."""
        run_dir = state_folder.make_run_folder(self._options.state_dir)
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
        address = (_ADDRESS, self._options.port)
        server = _Server(address, app, numthreads=_API_THREADS, shutdown_timeout=_API_PATIENCE)
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
        conf = configuration.of_agent(self._options, name, run_dir)
        agent = Agent(conf, self._messages)
        agent.start()
        self._stops.callback(agent.stop, end_sessions=True)

    def stop(self) -> None:
        """Stop what was started, last things first; every session ends."""
        self._stops.close()

    def _write_endpoints(self, placement_url: str) -> None:
        """Write down where to reach what; the file is there while this is ready."""
        path = self._options.state_dir / state_folder.ENDPOINTS
        content = json.dumps({"api": self.api_url, "placement": placement_url})
        whole_file.write(path, content.encode(), durable=False)
        self._stops.callback(path.unlink, missing_ok=True)


def check_built() -> None:
    """Raise CannotStart unless the C of the data plane is built."""
    if missing := [path for path in (paths.RUNTIME, paths.REFERENCE, paths.WORKER) if not path.exists()]:
        how = "build the C by: python -m gpupool.dataplane.build"
        raise CannotStart(f"{missing[0]} is missing; {how}")
