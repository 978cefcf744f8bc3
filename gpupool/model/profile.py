"""A profile: a named request, like a flavor."""

from dataclasses import dataclass
from datetime import datetime

from gpupool.model.claim import Layout, OnDeviceLost, OnPreempt, Qos, Tier
from gpupool.model.device import SharingMode


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One profile; the fields mean what they mean on a claim. ``name`` is unique.

    Without ``sessions`` a claim gets the conductor's default.
    """

    id: str
    name: str
    description: str = ""
    count: int = 1
    min_count: int | None = None
    max_count: int | None = None
    compute: int
    memory_mib: int
    tier: Tier
    priority: int
    required_traits: tuple[str, ...] = ()
    forbidden_traits: tuple[str, ...] = ()
    time_limit: int | None = None
    qos: Qos = Qos.GUARANTEED
    preemptible: bool = False
    on_preempt: OnPreempt = OnPreempt.REQUEUE
    on_device_lost: OnDeviceLost = OnDeviceLost.WAIT
    cpu_milli: int = 0
    host_memory_mib: int = 0
    sessions: int | None = None
    layout: Layout = Layout.ANY
    same_host: bool = False
    same_type: bool = False
    linked: bool = False
    sharing_mode: SharingMode = SharingMode.SHARED
    partition: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
