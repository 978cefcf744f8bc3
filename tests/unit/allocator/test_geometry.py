"""Devices that are not shared freely."""

from gpupool.allocator.demand import Demand
from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import NoRoom, Plan, plan
from gpupool.allocator.policies import make
from gpupool.allocator.rooms import DeviceRoom, HostRoom
from gpupool.allocator.view import PoolView
from gpupool.model.device import SharingMode
from gpupool.model.pool import PolicyName


def view() -> PoolView:
    def device(number: int, mode: SharingMode) -> DeviceRoom:
        return DeviceRoom(
            device_id=f"device-{number}",
            sharing_mode=mode,
            compute_total=100,
            compute_limit=100,
            memory_total=1000,
            memory_limit=1000,
        )

    modes = (SharingMode.SHARED, SharingMode.EXCLUSIVE, SharingMode.EXCLUSIVE, SharingMode.MIG)
    devices = tuple(device(number, mode) for number, mode in enumerate(modes))
    return PoolView([HostRoom(name="host", devices=devices)])


def test_an_exclusive_device_goes_as_a_whole_to_one() -> None:
    policy = make(PolicyName.FGD, Mix())
    pool, wanted = view(), Demand(count=1, compute=10, memory_mib=10, sharing_mode=SharingMode.EXCLUSIVE)
    before = list(pool.rooms())
    taken = []
    for device in ("device-1", "device-2"):
        planned = plan(pool, wanted, policy)
        assert isinstance(planned, Plan)
        assert (planned.device_ids, planned.sizes) == ((device,), ((100, 1000),))
        pool.take(wanted, planned)
        taken.append(planned)
    refused = plan(pool, wanted, policy)
    assert isinstance(refused, NoRoom)
    assert not refused.impossible
    for planned in taken:
        pool.give(wanted, planned)
    assert list(pool.rooms()) == before


def test_two_exclusive_devices_at_once_and_never_three() -> None:
    policy = make(PolicyName.BEST_FIT, Mix())
    pair = Demand(count=2, compute=10, memory_mib=10, sharing_mode=SharingMode.EXCLUSIVE)
    planned = plan(view(), pair, policy)
    assert isinstance(planned, Plan)
    assert sorted(planned.device_ids) == ["device-1", "device-2"]
    three = Demand(count=3, compute=10, memory_mib=10, sharing_mode=SharingMode.EXCLUSIVE)
    refused = plan(view(), three, policy)
    assert isinstance(refused, NoRoom)
    assert refused.impossible


def test_modes_that_no_driver_cuts_are_impossible() -> None:
    wanted = Demand(count=1, compute=10, memory_mib=10, sharing_mode=SharingMode.MIG, partition="1g.5gb")
    refused = plan(view(), wanted, make(PolicyName.FGD, Mix()))
    assert isinstance(refused, NoRoom)
    assert refused.impossible
