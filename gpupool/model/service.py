"""A service: one running process of gpupool."""

import importlib.metadata
from dataclasses import dataclass
from datetime import datetime

from gpupool.model.states import HostState

CONDUCTOR, API, AGENT = "gpupool-conductor", "gpupool-api", "gpupool-agent"
# Of the package that runs here.
VERSION = importlib.metadata.version("gpupool")


@dataclass(frozen=True, kw_only=True)
class Service:
    """One running process.

    ``id`` is new with every start; an agent's is its host's. ``leader`` is true of the conductor that
    leads. ``state`` is worked out when it is read, and ``started_at`` is not known of agents.
    """

    id: str
    binary: str
    host: str
    version: str
    started_at: datetime | None
    last_seen_at: datetime | None
    leader: bool = False
    state: HostState = HostState.UP
