"""A running agent: its manager, and its end of the messages."""

import logging
import os

import oslo_messaging
from oslo_config import cfg
from oslo_context.context import RequestContext

from gpupool.agent import uids
from gpupool.agent.folders import Folders
from gpupool.agent.identity import Identity
from gpupool.agent.inventory import Inventory
from gpupool.agent.manager import AgentManager
from gpupool.agent.uplink import Uplink
from gpupool.model import errors
from gpupool.model import text as texts
from gpupool.model.host import NAME_ALLOWED, is_name
from gpupool.model.service import VERSION
from gpupool.model.wire import Payload
from gpupool.rpc import agent as rpc
from gpupool.rpc import transport as rpc_transport
from gpupool.rpc.reports import ReportsClient
from gpupool.rpc.server import Server

LOG = logging.getLogger(__name__)
# Seconds; well below [conductor] host_timeout, so that one lost report does not mark a host down.
REPORT_TIMEOUT = 10
# Seconds that starting and stopping may wait for the broker.
_PATIENCE = 3.0


def check(conf: cfg.ConfigOpts) -> None:
    """Raise Invalid, Conflict or OSError when no agent could start with ``conf``; make its folders."""
    _check_name(conf.agent.host)
    folders = Folders.from_conf(conf)
    Inventory(conf)
    uids.check(uids.parse(conf.agent.worker_uids))
    transport = rpc_transport.get_transport(conf)
    folders.make()
    lock = folders.lock()
    try:
        Uplink(conf, Identity(folders.state), ReportsClient(transport, REPORT_TIMEOUT))
    finally:
        os.close(lock)


def _check_name(name: str) -> None:
    if not is_name(name):
        raise errors.Invalid(f"[agent] host is '{texts.shown(name)}'; allowed: {NAME_ALLOWED}")


class AgentEndpoint:
    """What other services may call; see rpc.agent.AgentApi."""

    target = oslo_messaging.Target(version=rpc.VERSION)

    def __init__(self, manager: AgentManager, uplink: Uplink) -> None:
        self._manager = manager
        self._uplink = uplink

    def look(
        self,
        ctxt: RequestContext,  # noqa: ARG002 the interface's
        desired: Payload | None = None,  # noqa: ARG002 nobody signed it
        message: Payload | None = None,
    ) -> None:
        """See AgentApi."""
        if message is None:
            if not self._uplink.answered:
                self._manager.look()
            return
        if told := self._uplink.read(message):
            self._manager.look(told)


class Agent:
    """Serves one host from ``start`` to ``stop``."""

    def __init__(self, conf: cfg.ConfigOpts, transport: oslo_messaging.Transport) -> None:
        folders = Folders.from_conf(conf)
        folders.make()
        uplink = Uplink(conf, Identity(folders.state), ReportsClient(transport, REPORT_TIMEOUT))
        self.manager = AgentManager(conf, uplink)
        target = rpc_transport.agents_target(transport, rpc.TOPIC, server=conf.agent.host)
        self._server = Server(transport, target, [AgentEndpoint(self.manager, uplink)])

    def start(self) -> None:
        """Begin to serve; see AgentManager.start for what it raises.

        Returns also while the broker is away: programs go on, and the host is reported when it is back.
        """
        self.manager.start()
        self._server.start(_PATIENCE)
        LOG.info("agent of host %s serves, version %s", self.manager.host, VERSION)

    def stop(self, end_sessions: bool = False) -> None:
        """Serve no more. Sessions go on without an agent, unless told otherwise."""
        self._server.stop(_PATIENCE)
        self.manager.stop(end_sessions)
