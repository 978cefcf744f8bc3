"""Quotas: how much of each resource the claims of one project may hold at once."""

from dataclasses import dataclass
from enum import StrEnum

NO_LIMIT = -1


class Resource(StrEnum):
    """What is limited, summed over the claims of a project that have not ended."""

    CLAIMS = "claims"
    VGPUS = "vgpus"
    COMPUTE = "compute"
    MEMORY_MIB = "memory_mib"


class LimitSource(StrEnum):
    """Where limits are kept: options of the conductors, or unified limits in Keystone."""

    CONFIGURATION = "configuration"
    KEYSTONE = "keystone"


@dataclass(frozen=True, kw_only=True)
class Quota:
    """One resource of one project; compute in percent of a device. ``limit`` -1: there is none."""

    project_id: str
    resource: Resource
    limit: int
    used: int
    source: LimitSource = LimitSource.CONFIGURATION
