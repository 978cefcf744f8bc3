"""A host: a machine with an agent, and perhaps with devices."""

import re
from dataclasses import dataclass
from datetime import datetime

from gpupool.model.states import HostState

# A host's name is part of message topics, folders, addresses and names of providers. More than DNS
# takes: machines are called gpu_node-1 or fe80::1, too.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,254}")
# Why a host whose keys an operator revoked takes no new vGPUs.
REVOKED = "its key is revoked"
NAME_ALLOWED = "1 to 255 of A to Z, a to z, 0 to 9, '_', '.', ':' and '-', no '.', ':' or '-' first"


def is_name(text: str) -> bool:
    """Return whether a host may be called ``text``."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host.

    ``generation`` grows with every change of what the host should have; ``applied_generation`` is
    the one its agent last converged to. ``revision`` grows with every change of what its devices are
    or have granted, so that views kept in memory know what to read again. ``cpu_milli`` (thousandths
    of a core) and ``memory_mib`` are what programs on it may claim; 0 when it does not say.

    One that is not ``enabled`` takes no new vGPUs as an operator wants it so, and keeps what it has.
    A host that was revoked says so in ``unable_reason``, until it is admitted by another key.
    A host that is up takes no new vGPUs while its agent says that it is unable to (``unable_reason``,
    a full disk for instance), and until ``held_until`` after it refused vGPUs: ``refusals`` counts the
    reports in a row that did, ``held_reason`` is what the last one said.

    ``compute_node`` is the name of the resource provider that its devices belong below: what the first
    report after its admission said, None before. ``report_error`` is why its last report was refused.
    ``unapplied_reason``: it takes no new vGPUs since it reports and does not apply what it should have.
    """

    id: str
    name: str
    pool_id: str
    state: HostState
    generation: int = 0
    applied_generation: int = 0
    revision: int = 0
    incarnation: str = ""
    cpu_milli: int = 0
    memory_mib: int = 0
    agent_version: str = ""
    simulated: bool = False
    enabled: bool = True
    disabled_reason: str = ""
    unable_reason: str = ""
    refusals: int = 0
    held_until: datetime | None = None
    held_reason: str = ""
    compute_node: str | None = None
    report_error: str = ""
    unapplied_reason: str = ""
    last_seen_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
