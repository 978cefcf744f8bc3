"""Providers of devices on the real Placement, and what Nova, operators and failures do to them."""

import threading
import uuid

import pytest

from gpupool.model import errors
from gpupool.model.states import DeviceHealth
from gpupool.placement import names
from gpupool.placement.errors import ConcurrentUpdate, NoCapacity
from gpupool.placement.provider import Inventory
from gpupool.placement.provider_tree import Wanted

FOREIGN = "CUSTOM_RACK_7"


def test_a_device_without_a_compute_node_is_a_root(client, ensure, device, host, pool):
    made = ensure()
    assert made.changed
    provider = client.get_provider(device.id)
    assert (provider.name, provider.parent_id) == (f"gpupool:{host}:ref-0", None)
    assert client.inventories(device.id)[0] == {
        "CUSTOM_GPUPOOL_COMPUTE": Inventory(total=100, reserved=0, max_unit=100),
        "CUSTOM_GPUPOOL_MEMORY_MIB": Inventory(total=4096, reserved=0, max_unit=4096),
    }
    assert client.aggregates(device.id)[0] == {pool}
    assert (
        client.provider_traits(device.id)[0]
        == made.traits
        == {
            "CUSTOM_GPUPOOL_DEVICE",
            "CUSTOM_GPUPOOL_REFERENCE_DEVICE",
            "CUSTOM_GPUPOOL_MODE_SHARED",
            "CUSTOM_GPUPOOL_HEALTH_OK",
            "CUSTOM_GPUPOOL_SIMULATED",
            "CUSTOM_GPUPOOL_CUDA_12",
            names.pool_trait(pool),
        }
    )


def test_reporting_again_writes_nothing(client, ensure, device):
    ensure()
    generation = client.get_provider(device.id).generation
    assert not ensure().changed
    assert client.get_provider(device.id).generation == generation


def test_a_new_device_is_few_requests_and_a_known_one_no_writes(client, ensure, device, monkeypatch):
    asked, request = [], client._adapter.request

    def note(path, method, **kwargs):
        asked.append(method)
        return request(path, method, **kwargs)

    monkeypatch.setattr(client._adapter, "request", note)
    ensure()
    told = asked.count("PUT") - 3  # The names of classes and traits, once for all devices.
    assert (asked.count("GET"), asked.count("POST")) == (2, 1)
    asked.clear()
    made = ensure()
    assert asked == ["GET"] * 5
    assert made.generation == client.get_provider(device.id).generation
    assert told > 0


def test_a_placement_that_lost_its_names_is_told_again(client, tree, ensure, device, monkeypatch):
    new = f"CUSTOM_NEW_{uuid.uuid4().hex.upper()}"
    tree._told.add(new)  # As if Placement had been another one then.
    ensure(traits=(new,))
    assert new in client.provider_traits(device.id)[0]


def test_ratios_say_how_far_a_device_is_overcommitted(
    client, tree, device, host, pool, allocations, grant
):
    wanted = Wanted(host=host, pool_id=pool, device=device, compute_percent=114, memory_percent=150)
    tree.ensure_device(wanted, None)
    ratios = {name: each.allocation_ratio for name, each in client.inventories(device.id)[0].items()}
    assert ratios == {names.COMPUTE: 1.145, names.MEMORY_MIB: 1.5002}
    assert not tree.ensure_device(wanted, None).changed
    for compute, memory_mib in ((100, 4096), (14, 2048)):
        allocations.allocate([grant(compute=compute, memory_mib=memory_mib)], "project", "user")
    with pytest.raises(NoCapacity):
        allocations.allocate([grant(compute=1, memory_mib=1)], "project", "user")


def test_a_device_is_the_child_of_its_compute_node(client, ensure, compute_node, device):
    compute_node.create()
    ensure()
    assert client.get_provider(device.id).parent_id == compute_node.id


def test_a_device_moves_below_the_compute_node_that_appears_later(
    client, ensure, compute_node, device, allocations, grant
):
    ensure()
    assert client.get_provider(device.id).parent_id is None
    held = grant()
    allocations.allocate([held], "project", "user")
    compute_node.create()
    moved = ensure()
    assert moved.changed
    assert client.get_provider(device.id).parent_id == compute_node.id
    assert list(allocations.allocations_of(device.id)) == [held.vgpu_id]
    assert not ensure().changed


def test_a_device_deleted_with_its_compute_service_comes_back(client, ensure, compute_node, device):
    compute_node.create()
    ensure()
    compute_node.delete()
    assert client.get_provider(device.id) is None
    again = ensure()
    assert again.changed
    assert client.get_provider(device.id).parent_id is None
    assert client.inventories(device.id)[0]["CUSTOM_GPUPOOL_COMPUTE"].total == 100
    compute_node.create()
    ensure()
    assert client.get_provider(device.id).parent_id == compute_node.id


def test_a_device_deleted_while_it_is_written_comes_back(client, tree, ensure, device, monkeypatch):
    """Nova's service delete comes between making the provider and its inventory."""
    create, deletions = client.create_provider, iter((True, False))

    def create_and_lose(*args):
        made = create(*args)
        if next(deletions):
            client.delete_provider(device.id)
        return made

    monkeypatch.setattr(client, "create_provider", create_and_lose)
    assert ensure().changed
    assert client.inventories(device.id)[0]


def test_the_name_of_a_provider_taken_by_another_is_a_conflict(client, ensure, host):
    client.create_provider(str(uuid.uuid4()), f"gpupool:{host}:ref-0", None)
    with pytest.raises(errors.Conflict, match=f"gpupool:{host}:ref-0"):
        ensure()


def test_memory_of_the_driver_is_reserved_and_not_granted(client, ensure, device):
    ensure(memory_mib=4000, reserved_mib=96)
    memory = client.inventories(device.id)[0][names.MEMORY_MIB]
    assert memory == Inventory(total=4096, reserved=96, max_unit=4000)


@pytest.mark.parametrize(
    "trouble",
    [
        {"enabled": False},
        {"health": DeviceHealth.FAILED},
        {"health": DeviceHealth.MISSING, "memory_mib": 0},
    ],
)
def test_nothing_new_lands_on_a_device_in_trouble(client, ensure, device, allocations, grant, trouble):
    ensure()
    held = grant()
    allocations.allocate([held], "project", "user")
    ensure(**trouble)
    for inventory in client.inventories(device.id)[0].values():
        assert inventory.reserved == inventory.total
    with pytest.raises(NoCapacity):
        allocations.allocate([grant(compute=1, memory_mib=1)], "project", "user")
    assert list(allocations.allocations_of(device.id)) == [held.vgpu_id]
    ensure()
    allocations.allocate([grant()], "project", "user")


def test_a_device_that_shrinks_below_its_use_keeps_what_is_granted(
    client, ensure, device, allocations, grant
):
    ensure()
    held = grant(memory_mib=3000)
    allocations.allocate([held], "project", "user")
    assert ensure(memory_mib=2000).changed
    assert client.inventories(device.id)[0][names.MEMORY_MIB].total == 2000
    assert allocations.get_allocation(held.vgpu_id).resources == held.resources()
    with pytest.raises(NoCapacity):
        allocations.allocate([grant(memory_mib=1)], "project", "user")


def test_our_traits_follow_the_device_and_foreign_ones_stay(client, ensure, device):
    ensure()
    client.create_trait(FOREIGN)
    had, generation = client.provider_traits(device.id)
    client.set_provider_traits(device.id, had | {FOREIGN, "HW_CPU_X86_AVX2"}, generation)
    changed = ensure(traits=("CUSTOM_GPUPOOL_CUDA_13", "HW_GPU_API_VULKAN"))
    assert {FOREIGN, "HW_CPU_X86_AVX2", "HW_GPU_API_VULKAN", "CUSTOM_GPUPOOL_CUDA_13"} <= changed.traits
    assert "CUSTOM_GPUPOOL_CUDA_12" not in changed.traits
    assert client.provider_traits(device.id)[0] == changed.traits
    # What is not of our prefix is not taken away, even if a driver once reported it.
    assert {FOREIGN, "HW_CPU_X86_AVX2", "HW_GPU_API_VULKAN"} <= ensure().traits


def test_a_trait_lost_is_set_again(client, ensure, device):
    traits = ensure().traits
    client.set_provider_traits(device.id, (), client.get_provider(device.id).generation)
    assert ensure().changed
    assert client.provider_traits(device.id)[0] == traits


@pytest.mark.parametrize("trait", ["OWNER_NOVA", "COMPUTE_MANAGED_PCI_DEVICE"])
def test_a_trait_of_nova_is_refused(client, ensure, device, trait):
    with pytest.raises(errors.Invalid, match=trait):
        ensure(traits=(trait,))
    assert client.get_provider(device.id) is None


@pytest.mark.parametrize("trait", ["HW_NO_SUCH_TRAIT", "CUSTOM_lower"])
def test_a_trait_that_cannot_be_is_refused_by_name(ensure, trait):
    with pytest.raises(errors.Invalid, match=trait):
        ensure(traits=(trait,))


def test_unknown_traits_are_told_from_known_ones(client, ensure):
    ensure()
    assert client.unknown_traits([]) == set()
    asked = ["CUSTOM_GPUPOOL_CUDA_12", "HW_GPU_API_VULKAN", "CUSTOM_NOBODY", "lower case, odd"]
    assert client.unknown_traits(asked) == {"CUSTOM_NOBODY", "lower case, odd"}


def test_a_pool_change_leaves_foreign_aggregates_alone(client, ensure, device, pool):
    ensure()
    foreign, other = str(uuid.uuid4()), str(uuid.uuid4())
    client.set_aggregates(device.id, {pool, foreign}, client.get_provider(device.id).generation)
    assert not ensure().changed
    moved = ensure(other)
    assert client.aggregates(device.id)[0] == {other, foreign}
    assert names.pool_trait(other) in moved.traits
    assert names.pool_trait(pool) not in moved.traits


def test_foreign_inventory_stays(client, ensure, device):
    ensure()
    client.create_resource_class("CUSTOM_FAN")
    had, generation = client.inventories(device.id)
    fan = Inventory(total=3, reserved=0, max_unit=3)
    client.set_inventories(device.id, {**had, "CUSTOM_FAN": fan}, generation)
    ensure(memory_mib=2048)
    now = client.inventories(device.id)[0]
    assert now["CUSTOM_FAN"] == fan
    assert now[names.MEMORY_MIB].total == 2048


def test_inventory_lost_is_written_again(client, ensure, device):
    ensure()
    had, generation = client.inventories(device.id)
    client.set_inventories(device.id, {}, generation)
    assert ensure().changed
    assert client.inventories(device.id)[0] == had


def test_a_caller_that_gave_a_generation_gets_its_conflict(client, ensure, device):
    ensure()
    had, generation = client.inventories(device.id)
    for write in (
        lambda: client.set_inventories(device.id, had, generation - 1),
        lambda: client.set_provider_traits(device.id, (), generation - 1),
        lambda: client.set_aggregates(device.id, (), generation - 1),
    ):
        with pytest.raises(ConcurrentUpdate):
            write()
    assert not ensure().changed


def test_a_generation_that_moves_under_us_is_read_again(client, ensure, device, monkeypatch):
    ensure()
    write, interruptions = client.set_inventories, iter((True, False))

    def interrupted(provider_id, inventories, generation):
        if next(interruptions):
            client.set_aggregates(device.id, (), generation)
        return write(provider_id, inventories, generation)

    monkeypatch.setattr(client, "set_inventories", interrupted)
    assert ensure(memory_mib=1024).changed
    assert client.inventories(device.id)[0][names.MEMORY_MIB].total == 1024
    assert client.aggregates(device.id)[0]


def test_a_provider_that_another_conductor_makes_meanwhile_is_taken(client, ensure, device, monkeypatch):
    create = client.create_provider

    def create_second(*args):
        create(*args)
        return create(*args)

    monkeypatch.setattr(client, "create_provider", create_second)
    ensure()
    assert client.inventories(device.id)[0]


def test_several_conductors_report_the_same_device_at_once(client, ensure, device):
    failures = []

    def report():
        try:
            ensure()
        except errors.GpupoolError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not ensure().changed


def test_a_device_in_use_is_not_removed(client, tree, ensure, device, allocations, grant):
    ensure()
    held = grant()
    allocations.allocate([held], "project", "user")
    with pytest.raises(errors.Conflict, match=device.id):
        tree.remove_device(device.id)
    allocations.deallocate(held.vgpu_id)
    tree.remove_device(device.id)
    assert client.get_provider(device.id) is None
    tree.remove_device(device.id)


def test_our_providers_are_listed_and_no_others(tree, ensure, device, compute_node):
    compute_node.create()
    ensure()
    listed = tree.devices()
    assert listed[device.id].parent_id == compute_node.id
    assert compute_node.id not in listed


def test_what_placement_refuses_at_the_last_attempt_is_said(client, ensure, device, monkeypatch):
    ensure()
    client.delete_provider(device.id)
    failures = iter([ConcurrentUpdate("changed")] * 3 + [errors.Invalid("refused")])

    def fail(*_):
        raise next(failures)

    monkeypatch.setattr(client, "create_provider", fail)
    with pytest.raises(errors.Invalid, match="refused"):
        ensure()
