"""One notification for every transition of a claim, for whoever listens (oslo.messaging notifier).

Nothing is sent unless ``[oslo_messaging_notifications] driver`` is set; ``topics`` is there too.
"""

import socket

import oslo_messaging
from oslo_config import cfg

from gpupool.model import wire
from gpupool.model.claim import Claim
from gpupool.rpc import context, transport


class ClaimNotifier:
    """Sends ``gpupool.claim.<state>`` with the claim as payload."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._notifier = oslo_messaging.Notifier(
            oslo_messaging.get_notification_transport(conf),
            publisher_id=f"gpupool-conductor.{socket.gethostname()}",
            serializer=transport.ContextSerializer(),
        )

    def moved(self, claim: Claim) -> None:
        """Tell that ``claim`` has come to its present state."""
        ctxt = context.detached(project_id=claim.project_id, user_id=claim.user_id)
        self._notifier.info(ctxt, f"gpupool.claim.{claim.state}", wire.dump(claim))
