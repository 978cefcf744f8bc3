"""The agent's interface: look at what your host should have, now."""

from typing import Protocol

import oslo_messaging
from oslo_context.context import RequestContext

from gpupool.rpc import transport

TOPIC = "gpupool-agent"
# 1.0: look
VERSION = "1.0"


class AgentApi(Protocol):
    """What an agent's manager implements."""

    def look(self, ctxt: RequestContext) -> None:
        """Converge soon; asking again before it happened changes nothing."""


class AgentClient:
    """Calls agents; never waits for one."""

    def __init__(self, messaging: oslo_messaging.Transport) -> None:
        self._client = transport.get_client(
            messaging, oslo_messaging.Target(topic=TOPIC, version=VERSION)
        )

    def look(self, ctxt: RequestContext, host: str) -> None:
        """Tell the agent of ``host`` to look; a lost message costs only time."""
        # Not again and again: the agent looks by itself, and who calls has more to do.
        self._client.prepare(server=host, retry=0).cast(ctxt, "look")
