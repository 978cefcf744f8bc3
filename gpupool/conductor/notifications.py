"""One notification for every transition and resize of a claim, for whoever listens (oslo.messaging).

Nothing is sent unless ``[oslo_messaging_notifications] driver`` is set; ``topics`` is there too, and
``retry``, by default for ever. So they are sent in a thread of their own, one after the other: whoever
moves a claim does not wait for the broker.
"""

import itertools
import socket
from functools import partial

import oslo_messaging
from oslo_config import cfg

from gpupool.model import wire
from gpupool.model.claim import Claim
from gpupool.rpc import context, transport
from gpupool.rpc.sender import Sender

# Notifications that wait for a broker that is away, at most; each is about 2 KiB.
_MOST = 10_000


class ClaimNotifier:
    """Sends ``gpupool.claim.<state>``, or ``gpupool.claim.resized``, with the claim as payload."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._notifier = oslo_messaging.Notifier(
            oslo_messaging.get_notification_transport(conf),
            publisher_id=f"gpupool-conductor.{socket.gethostname()}",
            serializer=transport.ContextSerializer(),
        )
        self._sender = Sender("notifications", _MOST, in_order=True)
        self._numbers = itertools.count()

    def moved(self, claim: Claim) -> None:
        """Tell that ``claim`` has come to its present state."""
        self._sender.put(next(self._numbers), partial(self._send, claim, claim.state.value))

    def resized(self, claim: Claim) -> None:
        """Tell that ``claim``, which stays bound, has another count of vGPUs."""
        self._sender.put(next(self._numbers), partial(self._send, claim, "resized"))

    def stop(self, seconds: float) -> None:
        """Send what waits, within ``seconds``."""
        self._sender.stop(seconds)

    def _send(self, claim: Claim, what: str) -> None:
        ctxt = context.detached(project_id=claim.project_id, user_id=claim.user_id)
        self._notifier.info(ctxt, f"gpupool.claim.{what}", wire.dump(claim))
