"""Messages that tell agents to look at once at what their hosts should have."""

from functools import partial

from gpupool.conductor.signing_keys import ConductorKeys
from gpupool.model.host_key import HostKey
from gpupool.model.report import DesiredState
from gpupool.rpc import context
from gpupool.rpc.agent import AgentClient
from gpupool.rpc.sender import Sender

# Hosts that may be told once the broker is back, at most.
_HOSTS = 10_000


class Looks:
    """Sends them in a thread of its own. One that is lost costs time only: agents look by themselves."""

    def __init__(self, keys: ConductorKeys, agents: AgentClient) -> None:
        self._keys, self._agents = keys, agents
        self._sender = Sender("messages to agents", _HOSTS)

    def put(self, desired: DesiredState, key: HostKey | None) -> None:
        """Send soon what a host should have, sealed to ``key``; a newer message replaces an older."""
        self._sender.put(desired.host, partial(self._send, desired, key), desired.generation)

    def stop(self, seconds: float) -> None:
        """Send what waits, within ``seconds``, and no more after that."""
        self._sender.stop(seconds)

    def _send(self, desired: DesiredState, key: HostKey | None) -> None:
        """Sign and seal too, which takes a while."""
        message = self._keys.look(desired, key) if key else None
        self._agents.look(context.detached(), desired.host, message)
