"""What is granted, summed by the database."""

import pytest

from gpupool.db import claims, devices, hosts, pools, usage, vgpus
from gpupool.db.api import Database
from gpupool.db.vgpus import Granted
from gpupool.model.states import ClaimState
from tests.functional.db import make

NONE = dict.fromkeys(ClaimState, 0)


@pytest.fixture
def world(database: Database) -> Database:
    """Two pools with devices, one without; two projects; claims with 0, 1 and 2 vGPUs."""
    with database.writer() as session:
        for name, memories in (("a", (4096, 1024)), ("b", (2048,)), ("c", ())):
            pool = pools.create(session, make.pool(id=f"pool-{name}", name=name))
            for number, memory in enumerate(memories):
                key = f"{name}{number}"
                host = hosts.create(session, make.host(pool, id=f"host-{key}"))
                devices.create(session, make.device(host, id=f"device-{key}", memory_mib=memory))
        for name, pool_id, project, places, state in (
            ("two", "pool-a", "red", ("a0", "a1"), ClaimState.BOUND),
            ("one", "pool-a", "blue", ("a0",), ClaimState.RELEASING),
            ("far", "pool-b", "red", ("b0",), ClaimState.BOUND),
            ("none", "pool-b", "red", (), ClaimState.QUEUED),
            ("past", "pool-b", "green", (), ClaimState.RELEASED),
        ):
            claim = make.claim(
                pools.get(session, pool_id), id=f"claim-{name}", project_id=project, state=state
            )
            claims.create(session, claim)
            for index, place in enumerate(places):
                device = devices.get(session, f"device-{place}")
                vgpus.create(session, make.vgpu(claim, device, index=index))
    return database


def granted(count: int) -> Granted:
    size = {"compute": 25 * count, "memory_mib": 512 * count}
    guaranteed = {f"{name}_guaranteed": amount for name, amount in size.items()}
    return Granted(vgpus=count, **size, **guaranteed)


def test_granted_of_devices(world: Database) -> None:
    with world.reader() as session:
        found = vgpus.usage(session)
    expected = {"device-a0": 2, "device-a1": 1, "device-b0": 1}
    assert found == {device_id: granted(count) for device_id, count in expected.items()}


def test_granted_of_some(world: Database) -> None:
    with world.reader() as session:
        assert vgpus.usage(session, device_id=["device-b0"]) == {"device-b0": granted(1)}


def test_usage_by_pool(world: Database) -> None:
    with world.reader() as session:
        found = usage.by_pool(session)
    assert found == [
        usage.PoolUsage(
            pool_id="pool-a",
            pool="a",
            devices=2,
            compute_total=200,
            memory_mib_total=5120,
            vgpus=3,
            compute_granted=75,
            memory_mib_granted=1536,
            claims={**NONE, ClaimState.BOUND: 1, ClaimState.RELEASING: 1},
        ),
        usage.PoolUsage(
            pool_id="pool-b",
            pool="b",
            devices=1,
            compute_total=100,
            memory_mib_total=2048,
            vgpus=1,
            compute_granted=25,
            memory_mib_granted=512,
            claims={
                **NONE,
                ClaimState.BOUND: 1,
                ClaimState.QUEUED: 1,
                ClaimState.RELEASED: 1,
            },
        ),
        usage.PoolUsage(
            pool_id="pool-c",
            pool="c",
            devices=0,
            compute_total=0,
            memory_mib_total=0,
            vgpus=0,
            compute_granted=0,
            memory_mib_granted=0,
            claims=NONE,
        ),
    ]


def test_usage_by_project(world: Database) -> None:
    red = usage.ProjectUsage(
        project_id="red",
        vgpus=3,
        compute_granted=75,
        memory_mib_granted=1536,
        claims={**NONE, ClaimState.BOUND: 2, ClaimState.QUEUED: 1},
    )
    with world.reader() as session:
        blue, green, third = usage.by_project(session)
        assert third == red
        assert usage.by_project(session, "red") == [red]
        assert usage.by_project(session, "nobody") == []
    assert (blue.project_id, blue.vgpus, blue.claims[ClaimState.RELEASING]) == ("blue", 1, 1)
    assert (green.project_id, green.vgpus, green.memory_mib_granted) == ("green", 0, 0)


def test_usage_of_an_empty_database(database: Database) -> None:
    with database.reader() as session:
        assert usage.by_pool(session) == usage.by_project(session) == []
        assert vgpus.usage(session) == {}
