"""A claim: a project's request for one or more vGPUs."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gpupool.model.device import SharingMode
from gpupool.model.states import ClaimState

COMPUTE_MAX = 100
COUNT_MAX = 1024
PRIORITY_MAX = 100
PRIORITY_DEFAULT = 50
# Of one vGPU: one for each process that uses it. Sixteen are enough for a program with some workers, as
# a test run in parallel or a server's processes; one with a rank for each core says how many it needs.
SESSIONS_DEFAULT = 16
# How devices may be cut of which a claim gets shares: freely, or into parts of one kind.
SHARING_MODES = (SharingMode.SHARED, SharingMode.MIG, SharingMode.MDEV, SharingMode.VFIO)
PARTITION_MAX = 64
# What a ledger has room for; see dataplane.ledger.
SESSIONS_MAX = 1024
# Of seconds, MiB and thousandths of a core: 68 years, 2 PiB, two million cores; no sum overflows.
AMOUNT_MAX = 2**31 - 1


class Tier(StrEnum):
    """Where the devices of a claim may be, see R18."""

    DEDICATED = "dedicated"
    LOCAL = "local"
    POOL = "pool"


class Qos(StrEnum):
    """Whether a claim's shares are its own, or of what others leave idle (R15)."""

    GUARANTEED = "guaranteed"
    BEST_EFFORT = "best_effort"


class OnPreempt(StrEnum):
    """What a claim becomes when a more important one takes its place."""

    REQUEUE = "requeue"
    RELEASE = "release"


class OnDeviceLost(StrEnum):
    """What becomes of a bound claim when a device of it stays failed or missing, or its host down."""

    WAIT = "wait"
    REQUEUE = "requeue"
    FAIL = "fail"


class Layout(StrEnum):
    """How the vGPUs of a claim are to lie: on as few hosts and devices as possible, or on as many."""

    ANY = "any"
    PACK = "pack"
    SPREAD = "spread"


class ClaimHealth(StrEnum):
    """Whether the hosts of a claim's vGPUs report, and whether their devices work."""

    OK = "ok"
    HOST_DOWN = "host_down"
    DEVICE_FAILED = "device_failed"


@dataclass(frozen=True, kw_only=True)
class ClaimRequest:
    """What a project asks for.

    ``compute`` is percent of one device (1 to 100) and ``memory_mib`` MiB of device memory, each for
    every one of ``count`` vGPUs. With ``profile`` (name or id) the profile gives every size that is
    None here. Tier ``dedicated`` needs ``devices`` (ids) or ``required_traits``; tier ``local``
    takes ``host``, the program's own, or lets the conductor choose one host for all vGPUs.
    ``priority`` is 0 to 100, higher first. ``lease_end`` is in UTC without a zone, as every time here.
    ``time_limit`` is how many seconds the claim may stay bound; the queue plans with it.

    ``preemptible``: a more important claim may take its place; ``on_preempt`` says what it becomes.
    ``on_device_lost`` says the same for a claim that lost a device: it stays bound until that is back
    (``wait``), gives back all its vGPUs and queues again, or fails.
    ``qos`` best_effort takes what guaranteed claims leave, also beyond a device's capacity where the
    pool allows. ``cpu_milli`` (thousandths of a core) and ``host_memory_mib`` are what the program
    itself takes of its host. ``sessions`` is how many processes may use each vGPU at a time.
    ``same_host``, ``same_type`` and ``linked`` (by a fast link the driver reports) ask that of the
    devices of one claim.

    With another ``sharing_mode`` than ``shared`` each vGPU is one part, of the kind ``partition``, of a
    device that is cut so; ``compute`` and ``memory_mib`` are then what the part has at least.

    With ``min_count`` and ``max_count`` in place of ``count`` the claim is elastic: it starts with what
    there is, ``min_count`` at least, grows when there is room, and gives back for others what it has
    beyond ``min_count``.
    """

    name: str = ""
    pool: str | None = None
    profile: str | None = None
    count: int | None = None
    min_count: int | None = None
    max_count: int | None = None
    compute: int | None = None
    memory_mib: int | None = None
    tier: Tier | None = None
    priority: int | None = None
    required_traits: tuple[str, ...] | None = None
    forbidden_traits: tuple[str, ...] | None = None
    host: str | None = None
    devices: tuple[str, ...] = ()
    lease_end: datetime | None = None
    time_limit: int | None = None
    qos: Qos | None = None
    preemptible: bool | None = None
    on_preempt: OnPreempt | None = None
    on_device_lost: OnDeviceLost | None = None
    cpu_milli: int | None = None
    host_memory_mib: int | None = None
    sessions: int | None = None
    layout: Layout | None = None
    same_host: bool | None = None
    same_type: bool | None = None
    linked: bool | None = None
    sharing_mode: SharingMode | None = None
    partition: str | None = None


@dataclass(frozen=True, kw_only=True)
class ClaimChange:
    """What may change on a claim that exists; None leaves a field as it is.

    ``remove_lease`` takes the lease off: without ``lease_end`` a claim lasts until it is released.
    """

    name: str | None = None
    priority: int | None = None
    lease_end: datetime | None = None
    remove_lease: bool = False


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim, complete.

    ``count`` is how many vGPUs it has, or waits for. An elastic claim has ``min_count`` to ``max_count``
    of them and waits for ``min_count``; both are None for one that is not.
    ``release_to`` is set while ``releasing``: the state that follows when every vGPU is gone.
    ``state_reason`` and ``state_detail`` are a Reason: for the claim's project, and for operators only.
    ``refused_by`` names the hosts that refused the claim since it was bound last: others are tried
    first. ``attempts`` counts those of them that refused what it asks for and were not in trouble; of a
    bound elastic one, how often it was refused more, since it grew or it or its host changed last.
    ``program_host_id`` is where CPU and memory of its program are taken, while it holds something.
    ``generation`` grows with every change, so that two writers notice each other.
    """

    id: str
    name: str
    project_id: str
    user_id: str
    pool_id: str
    count: int
    min_count: int | None = None
    max_count: int | None = None
    compute: int
    memory_mib: int
    tier: Tier
    priority: int = PRIORITY_DEFAULT
    profile_id: str | None = None
    required_traits: tuple[str, ...] = ()
    forbidden_traits: tuple[str, ...] = ()
    host: str | None = None
    devices: tuple[str, ...] = ()
    lease_end: datetime | None = None
    time_limit: int | None = None
    qos: Qos = Qos.GUARANTEED
    preemptible: bool = False
    on_preempt: OnPreempt = OnPreempt.REQUEUE
    on_device_lost: OnDeviceLost = OnDeviceLost.WAIT
    cpu_milli: int = 0
    host_memory_mib: int = 0
    sessions: int = SESSIONS_DEFAULT
    layout: Layout = Layout.ANY
    same_host: bool = False
    same_type: bool = False
    linked: bool = False
    sharing_mode: SharingMode = SharingMode.SHARED
    partition: str = ""
    state: ClaimState
    state_reason: str = ""
    state_detail: str = ""
    release_to: ClaimState | None = None
    health: ClaimHealth = ClaimHealth.OK
    attempts: int = 0
    refused_by: tuple[str, ...] = ()
    program_host_id: str | None = None
    generation: int = 0
    request_id: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    bound_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def label(self) -> str:
        """Return its name, which may be empty, or else its id."""
        return self.name or self.id
