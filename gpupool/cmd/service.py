"""What the services have in common: their configuration, their log, and oslo.service on threads."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn, Protocol

from oslo_config import cfg
from oslo_log import log
from oslo_service import opts, service

from gpupool import conf as gpupool_conf
from gpupool.conf import logs
from gpupool.model import errors
from gpupool.model.service import VERSION

LOG = logging.getLogger(__name__)
# Seconds from SIGTERM to the end of both processes, launcher and child, whatever hangs: by default, and
# how much sooner than oslo.service kills it the child gives up by itself, and says so.
STOP_TIMEOUT, _MARGIN = 20, 5
# Raises a GpupoolError, OSError or cfg.Error when no part could start with this configuration now.
Check = Callable[[cfg.ConfigOpts], None]
# What keeps a service from starting, and is no fault in its code.
EXPECTED = (errors.GpupoolError, OSError, cfg.Error, log.LogConfigError)
_REASON_MAX = 1000


class Part(Protocol):
    """What a service runs, such as conductor.service.Conductor or agent.service.Agent."""

    def start(self) -> None:
        """Begin to serve, and return."""

    def stop(self) -> None:
        """Finish what is being done, and serve no more."""


class Launcher:
    """The process that forks a service, which tells it here why it can't start.

    oslo.service starts a child that ended again for ever. One that can't start ends its launcher, too.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    def end(self, why: str) -> NoReturn:
        """End this process and the launcher; called in the child."""
        os.write(self._write, why.encode(errors="replace")[:_REASON_MAX])
        if os.getpid() != self._pid:
            os.kill(self._pid, signal.SIGTERM)
        sys.exit(1)

    def reason(self) -> str:
        """Return why a child could not start, or nothing."""
        try:
            return os.read(self._read, _REASON_MAX).decode(errors="replace")
        except BlockingIOError:
            return ""


class Service(service.ServiceBase):
    """Makes its part in the process that oslo.service forks, where its threads must live."""

    def __init__(self, make: Callable[[], Part], launcher: Launcher, stop_timeout: float) -> None:
        self._make = make
        self._launcher = launcher
        # 0 is oslo.service's word for no bound.
        self._stop_timeout = max(stop_timeout - _MARGIN, 1) if stop_timeout else None
        self._part: Part | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Make the part and start it; what keeps it from starting ends all of it with a clear line."""
        try:
            self._part = self._make()
            self._part.start()
        except Exception as exc:
            why = one_line(exc)
            LOG.critical("cannot start: %s", why, exc_info=not isinstance(exc, EXPECTED))
            self._launcher.end(why)
        LOG.info("process %d serves", os.getpid())

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


def one_line(exc: BaseException) -> str:
    """Return what an exception says, on one line."""
    return " ".join(str(exc).split()) or type(exc).__name__


def serve(name: str, make: Callable[[cfg.ConfigOpts], Part], check: Check) -> int:
    """Run the part that ``make`` makes until a signal ends it; return the exit status.

    What ``check`` raises, before oslo.service forks, or what keeps the part from starting ends this with
    one line and status 1. Whoever supervises this starts it again.
    """
    try:
        opts.set_service_opts_defaults(cfg.ConfigOpts(), graceful_shutdown_timeout=STOP_TIMEOUT)
        conf = gpupool_conf.new(sys.argv[1:])
        logs.setup(conf, name)
        LOG.info("%s starts, version %s", name, VERSION)
        check(conf)
    except Exception as exc:
        if not isinstance(exc, EXPECTED):
            LOG.exception("%s cannot start", name)
        print(f"{name}: {one_line(exc)}", file=sys.stderr)
        return 1
    opts.register_service_opts(conf)
    own = Launcher()
    made = Service(lambda: make(conf), own, conf.graceful_shutdown_timeout)
    status = int(service.launch(conf, made, restart_method="mutate").wait() or 0)
    if why := own.reason():
        print(f"{name}: {why}", file=sys.stderr)
        return 1
    return status
