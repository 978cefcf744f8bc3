"""The agent's interface: look at what your host should have, now. Payloads as in ``conductor``."""

from typing import Protocol

import oslo_messaging
from oslo_context.context import RequestContext

from gpupool.model import wire
from gpupool.model.report import DesiredState
from gpupool.model.wire import Payload
from gpupool.rpc import transport

TOPIC = "gpupool-agent"
# 1.0: look
# 1.1: look takes the desired state
VERSION = "1.1"


class AgentApi(Protocol):
    """What an agent's manager implements."""

    def look(self, ctxt: RequestContext, desired: Payload | None = None) -> None:
        """Converge soon, to the DesiredState or a newer one; an older one is not looked at.

        A conductor of 1.0 sends none.
        """


class AgentClient:
    """Sends to agents, and waits for no answer; raises Unavailable when the broker is away."""

    def __init__(self, messaging: oslo_messaging.Transport) -> None:
        self._client = transport.get_client(
            messaging, oslo_messaging.Target(topic=TOPIC, version=VERSION)
        )

    def look(self, ctxt: RequestContext, desired: DesiredState) -> None:
        """Tell the agent of a host what it should have now; a lost message costs only time."""
        with transport.reaching():
            told = self._client.prepare(server=desired.host, retry=1)
            told.cast(ctxt, "look", desired=wire.dump(desired))
