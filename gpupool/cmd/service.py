"""What the services have in common: their configuration, their log, and oslo.service on threads."""

import importlib.metadata
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from oslo_config import cfg
from oslo_log import log
from oslo_service import opts, service

from gpupool import conf as gpupool_conf
from gpupool.conf import logs
from gpupool.model import errors

LOG = logging.getLogger(__name__)
# Seconds from SIGTERM to the end of both processes, launcher and child, whatever hangs: by default, and
# how much sooner than oslo.service kills it the child gives up by itself, and says so.
STOP_TIMEOUT, _MARGIN = 20, 5
# Raises a GpupoolError, OSError or cfg.Error when no part could start with this configuration now.
Check = Callable[[cfg.ConfigOpts], None]


class Part(Protocol):
    """What a service runs, such as conductor.service.Conductor or agent.service.Agent."""

    def start(self) -> None:
        """Begin to serve, and return."""

    def stop(self) -> None:
        """Finish what is being done, and serve no more."""


class Service(service.ServiceBase):
    """Makes its part in the process that oslo.service forks, where its threads must live."""

    def __init__(self, make: Callable[[], Part], stop_timeout: float) -> None:
        self._make = make
        # 0 is oslo.service's word for no bound.
        self._stop_timeout = max(stop_timeout - _MARGIN, 1) if stop_timeout else None
        self._part: Part | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Make the part and start it; what is not allowed ends the process with a clear line."""
        try:
            self._part = self._make()
            self._part.start()
            LOG.info("process %d serves", os.getpid())
        except errors.GpupoolError as exc:
            LOG.critical("cannot start: %s", exc)
            sys.exit(1)

    def wait(self) -> None:
        """Wait for stop."""
        self._stopped.wait()

    def stop(self) -> None:
        """Stop the part, or leave it: what it waits for may never answer."""
        if self._part:
            end = threading.Thread(target=self._part.stop, name="stop", daemon=True)
            end.start()
            end.join(self._stop_timeout)
            if end.is_alive():
                LOG.warning("not everything ended in %s s; leaving it", self._stop_timeout)
        self._stopped.set()

    def reset(self) -> None:
        """Nothing is kept that a reloaded configuration would change."""


def serve(name: str, make: Callable[[cfg.ConfigOpts], Part], check: Check) -> int:
    """Run the part that ``make`` makes until a signal ends it; return the exit status.

    What ``check`` raises ends this with one line and status 1: it runs before oslo.service forks,
    for a child that can't start is started again for ever. Whoever supervises this starts it again.
    """
    try:
        opts.set_service_opts_defaults(cfg.ConfigOpts(), graceful_shutdown_timeout=STOP_TIMEOUT)
        conf = gpupool_conf.new(sys.argv[1:])
        logs.setup(conf, name)
        LOG.info("%s starts, version %s", name, importlib.metadata.version("gpupool"))
        check(conf)
    except (errors.GpupoolError, OSError, cfg.Error, log.LogConfigError) as exc:
        print(f"{name}: {' '.join(str(exc).split())}", file=sys.stderr)
        return 1
    opts.register_service_opts(conf)
    made = Service(lambda: make(conf), conf.graceful_shutdown_timeout)
    launcher = service.launch(conf, made, restart_method="mutate")
    return int(launcher.wait() or 0)
