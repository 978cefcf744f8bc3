"""One helper for every simulated agent: it signs and reads what a real one does, without files."""

from oslo_config import cfg
from oslo_messaging import Transport

from gpupool import conf as gpupool_conf
from gpupool.agent.uplink import Uplink
from gpupool.rpc.keys import HostKeys
from gpupool.rpc.reports import ReportsClient


class MemoryIdentity:
    """As agent.identity.Identity, for a host that does not outlive its process."""

    def __init__(self) -> None:
        self.own = HostKeys.generate()
        self.following: HostKeys | None = None
        self.sequence = 0
        self.conductor_keys: tuple[str, ...] = ()

    def keys(self) -> HostKeys:
        return self.own

    def next_keys(self) -> HostKeys | None:
        return self.following

    def advance(self) -> HostKeys:
        assert self.following is not None
        self.own, self.following = self.following, None
        return self.own

    def next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence

    def skip_to(self, sequence: int) -> None:
        self.sequence = max(self.sequence, sequence)

    def trusted(self) -> tuple[str, ...]:
        return self.conductor_keys

    def trust(self, conductor_keys: tuple[str, ...]) -> None:
        self.conductor_keys = conductor_keys


def agent_conf(host: str, pool: str = "default") -> cfg.ConfigOpts:
    """Return the configuration of an agent that is only simulated."""
    conf = gpupool_conf.new(files=[])
    # As it is, though no host address: some tests' hosts have names that no host has.
    conf.set_override("pool", pool, "agent")
    conf.set_override("host", host.replace("$", "$$"), "agent")
    return conf


def uplink(
    transport: Transport,
    host: str,
    *,
    pool: str = "default",
    timeout: float = 60,
    identity: MemoryIdentity | None = None,
) -> Uplink:
    """Return what a simulated agent of ``host`` reports by."""
    client = ReportsClient(transport, timeout)
    return Uplink(agent_conf(host, pool), identity or MemoryIdentity(), client)
