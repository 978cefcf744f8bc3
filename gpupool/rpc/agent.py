"""The agent's interface: look at what your host should have, now. Payloads as in ``conductor``."""

from typing import Protocol

import oslo_messaging
from oslo_context.context import RequestContext

from gpupool.model import wire
from gpupool.model.envelope import Envelope
from gpupool.model.wire import Payload
from gpupool.rpc import transport

TOPIC = "gpupool-agent"
# 1.0: look
# 1.1: look takes the desired state
# 1.2: look takes a signed message; the desired state alone is not believed
VERSION = "1.2"
# Which a look asks for, that of the form it has.
_OLDEST, _SIGNED = "1.0", "1.2"


class AgentApi(Protocol):
    """What an agent's manager implements."""

    def look(
        self, ctxt: RequestContext, desired: Payload | None = None, message: Payload | None = None
    ) -> None:
        """Converge soon, to what ``message``, a LOOK, says, or newer; an older one is not looked at.

        Without one, report soon, unless a conductor has signed before: it would have now.
        """


class AgentClient:
    """Sends to agents, and waits for no answer; raises Unavailable when the broker is away."""

    def __init__(self, messaging: oslo_messaging.Transport) -> None:
        target = transport.agents_target(messaging, TOPIC, version=_OLDEST)
        self._client = transport.get_client(messaging, target)

    def look(self, ctxt: RequestContext, host: str, message: Envelope | None) -> None:
        """Tell the agent of a host what it should have now; a lost message costs only time.

        Without a ``message``, which takes an admitted key, it is told to report, no more.
        """
        with transport.reaching():
            version = _SIGNED if message else _OLDEST
            told = self._client.prepare(server=host, retry=1, version=version)
            told.cast(ctxt, "look", **({"message": wire.dump(message)} if message else {}))
