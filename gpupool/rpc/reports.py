"""What agents may ask of conductors, on a topic of its own: nothing else is within an agent's reach.

Messages are model.envelope.Envelope as JSON types, signed by the sender.
"""

from typing import Protocol

import oslo_messaging
from oslo_context.context import RequestContext

from gpupool.model import wire
from gpupool.model.envelope import Envelope
from gpupool.model.wire import Payload
from gpupool.rpc import transport

TOPIC = "gpupool-reports"
# 1.0: everything below. What comes later is asked for by its own version, see rpc.conductor.
VERSION = "1.0"
_OLDEST = "1.0"


class ReportsApi(Protocol):
    """What a conductor serves agents.

    Errors are not signed, so an agent does nothing but wait, or introduce itself, because of one.
    """

    def introduce(self, ctxt: RequestContext, message: Payload) -> Payload:
        """Take an INTRODUCTION, return a WELCOME; Forbidden when it proves nothing."""

    def report(self, ctxt: RequestContext, message: Payload) -> Payload:
        """Take a REPORT whose body is a HostReport, return a DESIRED, or a STALE (see agent.uplink).

        NotFound when the key was not introduced, Forbidden when it is not admitted.
        """


class ReportsClient:
    """Asks a conductor and waits for its answer; Unavailable when there is none in time."""

    def __init__(self, messaging: oslo_messaging.Transport, timeout: float) -> None:
        target = transport.agents_target(messaging, TOPIC, version=_OLDEST)
        self._client = transport.get_client(messaging, target, timeout)
        self._replies = transport.ReplyQueue(messaging)
        self._timeout = timeout

    def introduce(self, ctxt: RequestContext, message: Envelope) -> Envelope:
        """See ReportsApi."""
        return self._call(ctxt, "introduce", message)

    def report(self, ctxt: RequestContext, message: Envelope) -> Envelope:
        """See ReportsApi."""
        return self._call(ctxt, "report", message)

    def _call(self, ctxt: RequestContext, method: str, message: Envelope) -> Envelope:
        self._replies.wait(self._timeout)
        with transport.reaching(), transport.answering(method):
            client = self._client.prepare(transport_options=transport.TAKEN)
            answer = client.call(ctxt, method, message=wire.dump(message))
        return wire.load(Envelope, answer)
