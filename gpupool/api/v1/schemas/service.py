"""Schemas of services."""

from gpupool.api.v1.schemas import common
from gpupool.model.states import HostState

LIST = common.listing(
    {
        "binary": common.TEXT,
        "host": common.TEXT,
        "state": common.one_of(HostState),
        "leader": common.BOOLEAN,
    },
    ("binary", "host", "version", "started_at", "last_seen_at"),
)
