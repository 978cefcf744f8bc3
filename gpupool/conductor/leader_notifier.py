"""Notifies the conductor that serves the queue that there may be something to decide."""

from collections.abc import Callable

from gpupool.conductor.leader import Leader
from gpupool.rpc import context
from gpupool.rpc.conductor import ConductorClient
from gpupool.rpc.sender import Sender

# Seconds at least between two messages to the leader: each has all conductors read it, and the leader
# decides about all that waits, not about one claim.
_PAUSE = 0.2


class LeaderNotifier:
    """Sends messages in a thread of its own; ``conductors`` reaches all conductors, this one too."""

    def __init__(self, leader: Leader, conductors: ConductorClient) -> None:
        self._leader, self._conductors = leader, conductors
        self._sender = Sender("news of the queue", 1, _PAUSE)
        self._calls: list[Callable[[], object]] = []

    def on_notify(self, call: Callable[[], object]) -> None:
        """Register ``call``, which is called, from any thread, when this conductor is notified."""
        self._calls.append(call)

    def notify(self) -> None:
        """Notify this conductor, and the one that leads."""
        self.notify_here()
        self._sender.put("queue", self._notify_leader)

    def notify_here(self) -> None:
        """Notify this conductor only."""
        for call in self._calls:
            call()

    def stop(self, seconds: float) -> None:
        """Send what waits, within ``seconds``, and no more after that."""
        self._sender.stop(seconds)

    def _notify_leader(self) -> None:
        """Pass on that the queue has changed, once for all changes since the last time."""
        if not self._leader.led:
            self._conductors.wake_queue(context.detached())
