"""Devices and claims for the allocator's tests, by hand and by hypothesis."""

from hypothesis import strategies as st

from gpupool.allocator.view import DeviceRoom
from gpupool.model.claim import Claim, Tier
from gpupool.model.states import ClaimState

TRAITS = ("CUSTOM_A", "CUSTOM_B", "CUSTOM_C")
HOSTS = ("host-a", "host-b", "host-c")


def room(device_id: str, host: str = "host-a", **changes) -> DeviceRoom:
    values = {
        "host_up": True,
        "traits": frozenset(),
        "usable": True,
        "compute_total": 100,
        "compute_free": 100,
        "memory_total": 1000,
        "memory_free": 1000,
    }
    return DeviceRoom(device_id=device_id, host=host, **{**values, **changes})


def claim(**changes) -> Claim:
    values = {
        "id": "claim",
        "name": "",
        "project_id": "project",
        "user_id": "user",
        "pool_id": "pool",
        "count": 1,
        "compute": 25,
        "memory_mib": 250,
        "tier": Tier.POOL,
        "state": ClaimState.QUEUED,
    }
    return Claim(**{**values, **changes})


@st.composite
def pools(draw):
    """Lists of up to nine devices on up to three hosts, in any order."""
    rooms = []
    for number in range(draw(st.integers(0, 9))):
        total = draw(st.sampled_from((1, 500, 1000, 1024)))
        rooms.append(
            room(
                f"device-{number}",
                draw(st.sampled_from(HOSTS)),
                host_up=draw(st.sampled_from((True, True, True, False))),
                usable=draw(st.sampled_from((True, True, True, False))),
                traits=draw(st.frozensets(st.sampled_from(TRAITS))),
                compute_free=draw(st.integers(0, 100)),
                memory_total=total,
                memory_free=draw(st.integers(0, total)),
            )
        )
    return draw(st.permutations(rooms))


@st.composite
def claims(draw):
    """Claims small enough to have a place in some of those pools, and none in others."""
    required = draw(st.frozensets(st.sampled_from(TRAITS), max_size=1))
    return claim(
        count=draw(st.integers(1, 5)),
        compute=draw(st.one_of(st.integers(1, 100), st.sampled_from((5, 10)))),
        memory_mib=draw(st.one_of(st.integers(1, 1100), st.sampled_from((5, 10)))),
        required_traits=tuple(required),
        forbidden_traits=tuple(draw(st.frozensets(st.sampled_from(TRAITS), max_size=1)) - required),
        host=draw(st.sampled_from((None, None, None, *HOSTS, "host-unknown"))),
        devices=draw(st.sampled_from(((), (), (), ("device-0", "device-1", "device-2")))),
    )


def eligible(each: DeviceRoom, wanted: Claim) -> bool:
    """Whether ``wanted`` may be on the device at all, said in plain words."""
    return (
        set(wanted.required_traits) <= each.traits
        and not set(wanted.forbidden_traits) & each.traits
        and wanted.host in (None, each.host)
        and (not wanted.devices or each.device_id in wanted.devices)
    )


def fits(rooms, wanted: Claim) -> bool:
    """Whether some host has room for the whole claim, by counting one device after the other."""
    by_host: dict[str, int] = {}
    for each in rooms:
        if eligible(each, wanted) and each.usable and each.host_up:
            slots = min(each.compute_free // wanted.compute, each.memory_free // wanted.memory_mib)
            by_host[each.host] = by_host.get(each.host, 0) + slots
    return any(slots >= wanted.count for slots in by_host.values())
