"""States and their transitions, as tables. ``check`` is the only way from one state to the next."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from gpupool.model import errors


class ClaimState(StrEnum):
    """States of a claim, see DESIGN section 6."""

    QUEUED = "queued"
    ALLOCATING = "allocating"
    BINDING = "binding"
    BOUND = "bound"
    RELEASING = "releasing"
    RELEASED = "released"
    SUSPENDED = "suspended"
    FAILED = "failed"
    EXPIRED = "expired"


class VgpuState(StrEnum):
    """States of a vGPU: ``planned`` in Placement, ``active`` on its host, ``removing`` from it."""

    PLANNED = "planned"
    ACTIVE = "active"
    REMOVING = "removing"


class AttachmentState(StrEnum):
    """States of an attachment: wanted, usable, refused by its host, being taken away."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    REMOVING = "removing"


class SessionState(StrEnum):
    """A session is ``live``, as its host last reported, or ``ending``: the host is to end it."""

    LIVE = "live"
    ENDING = "ending"


class HostState(StrEnum):
    """A host is ``up`` while its agent reports; ``pending`` until the operator first admits it."""

    UP = "up"
    DOWN = "down"
    PENDING = "pending"


class DeviceHealth(StrEnum):
    """What the agent last said of a device; ``missing`` when it stopped listing it."""

    OK = "ok"
    FAILED = "failed"
    MISSING = "missing"


# A claim is taken apart in one way only, `releasing`; `Claim.release_to` says what it becomes then.
CLAIM: Mapping[ClaimState, frozenset[ClaimState]] = {
    ClaimState.QUEUED: frozenset(
        {ClaimState.ALLOCATING, ClaimState.RELEASED, ClaimState.EXPIRED, ClaimState.FAILED}
    ),
    ClaimState.ALLOCATING: frozenset({ClaimState.BINDING, ClaimState.QUEUED, ClaimState.RELEASING}),
    ClaimState.BINDING: frozenset({ClaimState.BOUND, ClaimState.RELEASING}),
    ClaimState.BOUND: frozenset({ClaimState.RELEASING}),
    ClaimState.RELEASING: frozenset(
        {
            ClaimState.RELEASED,
            ClaimState.EXPIRED,
            ClaimState.FAILED,
            ClaimState.SUSPENDED,
            ClaimState.QUEUED,
        }
    ),
    ClaimState.SUSPENDED: frozenset({ClaimState.QUEUED, ClaimState.RELEASED, ClaimState.EXPIRED}),
    ClaimState.RELEASED: frozenset(),
    ClaimState.FAILED: frozenset(),
    ClaimState.EXPIRED: frozenset(),
}

VGPU: Mapping[VgpuState, frozenset[VgpuState]] = {
    VgpuState.PLANNED: frozenset({VgpuState.ACTIVE, VgpuState.REMOVING}),
    # Planned again when it moves: its host has it no more, until it reports it on its target.
    VgpuState.ACTIVE: frozenset({VgpuState.PLANNED, VgpuState.REMOVING}),
    VgpuState.REMOVING: frozenset(),
}

ATTACHMENT: Mapping[AttachmentState, frozenset[AttachmentState]] = {
    AttachmentState.PENDING: frozenset(
        {AttachmentState.READY, AttachmentState.FAILED, AttachmentState.REMOVING}
    ),
    AttachmentState.READY: frozenset({AttachmentState.FAILED, AttachmentState.REMOVING}),
    AttachmentState.FAILED: frozenset({AttachmentState.READY, AttachmentState.REMOVING}),
    AttachmentState.REMOVING: frozenset(),
}

# States in which a claim holds vGPUs, and so allocations.
HOLDING = frozenset({ClaimState.ALLOCATING, ClaimState.BINDING, ClaimState.BOUND, ClaimState.RELEASING})
# States that nothing leaves.
ENDED = frozenset(state for state, following in CLAIM.items() if not following)

State = TypeVar("State", bound=StrEnum)


def check(table: Mapping[State, frozenset[State]], old: State, new: State) -> None:
    """Raise Conflict unless ``table`` lets ``old`` become ``new``; staying is no transition."""
    if new not in table[old]:
        allowed = ", ".join(sorted(table[old])) or "nothing"
        raise errors.Conflict(f"{old} cannot become {new}; allowed: {allowed}")
