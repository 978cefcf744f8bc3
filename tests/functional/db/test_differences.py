"""Each kind of difference is found on every database, and nothing where there is none."""

import pytest

from gpupool.db import attachments, claims, devices, hosts, inconsistencies, moves, vgpus
from gpupool.db.api import Database
from gpupool.model.claim import ClaimHealth
from gpupool.model.move import Move
from gpupool.model.states import (
    AttachmentState,
    ClaimState,
    DeviceHealth,
    HostState,
    VgpuState,
)
from tests.functional.db import make

ACTIVE, PLANNED, REMOVING = VgpuState.ACTIVE, VgpuState.PLANNED, VgpuState.REMOVING


@pytest.fixture
def put(database: Database):
    """Return a function that stores a claim with vGPUs in some states, on a host that may be down."""

    def store(state: ClaimState, *states: VgpuState, count: int = 2, down: bool = False, **fields):
        with database.writer() as session:
            pool, host, device = make.place(session)
            if down:
                hosts.update(session, host.id, state=HostState.DOWN)
            claim = claims.create(session, make.claim(pool, state=state, count=count, **fields))
            for index, each in enumerate(states):
                vgpus.create(session, make.vgpu(claim, device, index=index, state=each))
        return claim, host, device

    return store


def find(database: Database, kind) -> list[str]:
    with database.reader() as session:
        return kind(session)


@pytest.mark.parametrize(
    ("state", "states", "down", "wrong"),
    [
        (ClaimState.BOUND, [ACTIVE, ACTIVE], False, False),
        (ClaimState.BOUND, [ACTIVE, ACTIVE], True, False),
        (ClaimState.BOUND, [ACTIVE], False, True),
        (ClaimState.BOUND, [], False, True),
        (ClaimState.BOUND, [ACTIVE] * 3, False, True),
        (ClaimState.BINDING, [PLANNED, ACTIVE], False, False),
        (ClaimState.BINDING, [ACTIVE, ACTIVE], False, True),
        (ClaimState.BINDING, [PLANNED, ACTIVE], True, True),
        (ClaimState.BINDING, [], False, True),
        (ClaimState.ALLOCATING, [], False, False),
        (ClaimState.RELEASING, [REMOVING], True, False),
    ],
)
def test_binding(database: Database, put, state, states, down, wrong) -> None:
    put(ClaimState.BOUND, ACTIVE, ACTIVE)
    claim, *_ = put(state, *states, down=down)
    assert find(database, inconsistencies.binding) == ([claim.id] if wrong else [])


def test_a_vgpu_by_which_a_claim_is_to_grow_is_not_counted(database: Database, put) -> None:
    claim, _, device = put(ClaimState.BOUND, ACTIVE, ACTIVE)
    with database.writer() as session:
        vgpus.create(session, make.vgpu(claim, device, index=9, generation=0))
    assert find(database, inconsistencies.binding) == []


@pytest.mark.parametrize(
    ("state", "states", "wrong"),
    [
        (ClaimState.RELEASING, [REMOVING, REMOVING], False),
        (ClaimState.RELEASING, [REMOVING, ACTIVE], True),
        (ClaimState.RELEASING, [], True),
        (ClaimState.BOUND, [], False),
    ],
)
def test_releasing(database: Database, put, state, states, wrong) -> None:
    put(ClaimState.RELEASING, REMOVING)
    claim, *_ = put(state, *states)
    assert find(database, inconsistencies.releasing) == ([claim.id] if wrong else [])


@pytest.mark.parametrize(
    ("state", "states", "wrong"),
    [
        (ClaimState.QUEUED, [ACTIVE, PLANNED], True),
        (ClaimState.RELEASED, [REMOVING], False),
        (ClaimState.RELEASING, [ACTIVE], False),
    ],
)
def test_kept_vgpus(database: Database, put, state, states, wrong) -> None:
    claim, *_ = put(state, *states)
    assert find(database, inconsistencies.kept_vgpus) == ([claim.id] if wrong else [])


@pytest.mark.parametrize(
    ("state", "attached", "wrong"),
    [
        (ClaimState.BOUND, AttachmentState.READY, False),
        (ClaimState.RELEASING, AttachmentState.READY, True),
        (ClaimState.RELEASED, AttachmentState.REMOVING, False),
    ],
)
def test_kept_attachments(database: Database, put, state, attached, wrong) -> None:
    claim, host, _ = put(state)
    with database.writer() as session:
        for _ in range(2):
            attachments.create(session, make.attachment(claim, host, state=attached))
    assert find(database, inconsistencies.kept_attachments) == ([claim.id] if wrong else [])


@pytest.mark.parametrize(
    ("health", "down", "failed", "wrong"),
    [
        (ClaimHealth.OK, False, False, False),
        (ClaimHealth.OK, True, False, True),
        (ClaimHealth.OK, False, True, True),
        (ClaimHealth.HOST_DOWN, True, True, False),
        (ClaimHealth.DEVICE_FAILED, False, True, False),
        (ClaimHealth.DEVICE_FAILED, True, True, True),
        (ClaimHealth.HOST_DOWN, False, False, True),
    ],
)
def test_health(database: Database, put, health, down, failed, wrong) -> None:
    _, host, device = put(ClaimState.BOUND, ACTIVE, ACTIVE, down=down, health=health)
    if failed:
        with database.writer() as session:
            devices.update(session, device.id, health=DeviceHealth.FAILED)
    assert find(database, inconsistencies.health) == ([host.id] if wrong else [])


def test_vgpus_that_have_to_have_allocations(database: Database, put) -> None:
    claim, _, device = put(ClaimState.BOUND, ACTIVE, PLANNED, REMOVING)
    _, _, other = put(ClaimState.BINDING, PLANNED)
    _, _, early = put(ClaimState.ALLOCATING, PLANNED)
    with database.writer() as session:
        vgpus.create(session, make.vgpu(claim, device, index=9, generation=0))
        found = vgpus.due(session, [device.id, other.id, early.id])
        assert {(vgpu.device_id, vgpu.state) for vgpu in found} == {
            (device.id, ACTIVE),
            (device.id, PLANNED),
            (other.id, PLANNED),
        }
        assert len(vgpus.due(session, [device.id])) == 2
        assert vgpus.due(session, []) == []
        assert len(vgpus.consumers(session)) == 6
        assert devices.ids(session) == {device.id, other.id, early.id}


def test_consumers_are_vgpus_moves_and_those_who_hold_shares_of_vgpus(database: Database, put) -> None:
    claim, host, device = put(ClaimState.BOUND, ACTIVE, ACTIVE)
    with database.writer() as session:
        one, two = vgpus.list_(session, {"claim_id": claim.id})
        vgpus.update(session, two.id, consumer_id="instance")
        share = one.share._replace(device_id="other")
        move = Move(id="move", vgpu_id=one.id, host_id=host.id, source=one.share, target=share)
        assert moves.create(session, move).source == one.share
        assert vgpus.consumers(session) == {one.id, "instance", "move"}
        assert vgpus.consumers(session, device.id) == {one.id, "instance", "move"}
        # It may be on its target in Placement already.
        assert vgpus.consumers(session, "other") == {one.id, "move"}
        # Both shares of a vGPU that moves are taken.
        assert {name: each.vgpus for name, each in vgpus.usage(session).items()} == {
            device.id: 2,
            "other": 1,
        }
        vgpus.delete(session, one.id)
        assert moves.list_(session) == []
