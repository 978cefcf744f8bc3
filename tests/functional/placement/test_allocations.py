"""Allocations on the real Placement: all or nothing, told apart, and the same when repeated."""

import threading
import uuid
from dataclasses import replace

import pytest

from gpupool.model import errors
from gpupool.model.device import device_id
from gpupool.model.move import Move
from gpupool.model.share import Share
from gpupool.placement import names
from gpupool.placement.allocation import Grant
from gpupool.placement.allocations import Allocations
from gpupool.placement.errors import ConcurrentUpdate, NoCapacity


@pytest.fixture(autouse=True)
def _device(ensure):
    ensure()


def test_a_grant_is_an_allocation_of_our_consumer_type(client, allocations, grant, device):
    held = grant()
    allocations.allocate([held], "project", "user")
    found = allocations.get_allocation(held.vgpu_id)
    assert found.consumer_type == names.CONSUMER_TYPE
    assert (found.project_id, found.user_id) == ("project", "user")
    assert found.resources == {device.id: {names.COMPUTE: 25, names.MEMORY_MIB: 1024}}
    assert allocations.allocations_of(device.id) == {held.vgpu_id: found.resources[device.id]}
    usage = client._call("GET", "/usages?project_id=project&consumer_type=GPUPOOL_VGPU")["usages"]
    assert usage["GPUPOOL_VGPU"]["CUSTOM_GPUPOOL_COMPUTE"] >= 25


def test_all_grants_or_none(allocations, grant, device):
    grants = [grant(compute=40), grant(compute=40), grant(compute=40)]
    with pytest.raises(NoCapacity, match="CUSTOM_GPUPOOL_COMPUTE"):
        allocations.allocate(grants, "project", "user")
    assert allocations.allocations_of(device.id) == {}
    allocations.allocate(grants[:2], "project", "user")
    assert len(allocations.allocations_of(device.id)) == 2


@pytest.mark.parametrize("size", [{"compute": 101}, {"memory_mib": 4097}])
def test_more_than_the_device_is_no_capacity(allocations, grant, size):
    with pytest.raises(NoCapacity):
        allocations.allocate([grant(**size)], "project", "user")


def test_the_same_grants_again_change_nothing(allocations, grant, device):
    grants = [grant(), grant()]
    allocations.allocate(grants, "project", "user")
    before = allocations.get_allocation(grants[0].vgpu_id)
    allocations.allocate(grants, "project", "user")
    assert allocations.get_allocation(grants[0].vgpu_id) == before
    assert len(allocations.allocations_of(device.id)) == 2


def test_a_repeat_with_one_more_is_completed(allocations, grant, device):
    first, second = grant(), grant()
    allocations.allocate([first], "project", "user")
    allocations.allocate([first, second], "project", "user")
    assert set(allocations.allocations_of(device.id)) == {first.vgpu_id, second.vgpu_id}


@pytest.mark.parametrize("other", [{"compute": 26}, {"memory_mib": 1}])
def test_a_vgpu_that_holds_something_else_is_a_conflict(allocations, grant, other):
    held = grant()
    allocations.allocate([held], "project", "user")
    with pytest.raises(errors.Conflict, match=f"{held.vgpu_id} holds another") as caught:
        allocations.allocate([replace(held, share=held.share._replace(**other))], "project", "user")
    assert not isinstance(caught.value, ConcurrentUpdate | NoCapacity)
    with pytest.raises(errors.Conflict, match="holds another"):
        allocations.allocate([held], "another project", "user")
    assert allocations.get_allocation(held.vgpu_id).resources == held.resources()


def test_a_device_that_is_gone_is_named(allocations, grant, device):
    missing = str(uuid.uuid4())
    grants = [grant(), grant(device_id=missing)]
    with pytest.raises(NoCapacity, match=missing):
        allocations.allocate(grants, "project", "user")
    assert allocations.allocations_of(device.id) == {}
    assert allocations.allocations_of(missing) == {}


def test_a_vgpu_named_twice_is_refused(allocations, grant):
    held = grant()
    with pytest.raises(errors.Invalid, match="twice"):
        allocations.allocate([held, held], "project", "user")


@pytest.mark.parametrize("wrong", [{"compute": 0}, {"memory_mib": -1}, {"vgpu_id": "no uuid"}])
def test_what_placement_calls_a_bad_request_is_invalid(allocations, grant, wrong, device):
    sizes = {name: wrong[name] for name in wrong if name != "vgpu_id"}
    asked = grant()
    asked = replace(asked, **(wrong if not sizes else {"share": asked.share._replace(**sizes)}))
    with pytest.raises(errors.Invalid):
        allocations.allocate([asked], "project", "user")
    assert allocations.allocations_of(device.id) == {}


def test_giving_back_twice_is_giving_back_once(allocations, grant, device):
    held = grant(compute=100)
    allocations.allocate([held], "project", "user")
    allocations.deallocate(held.vgpu_id)
    allocations.deallocate(held.vgpu_id)
    assert allocations.get_allocation(held.vgpu_id) is None
    assert allocations.allocations_of(device.id) == {}
    allocations.allocate([grant(compute=100)], "project", "user")


def test_capacity_and_generation_conflicts_are_different_errors(client, allocations, grant):
    held = grant()
    allocations.allocate([held], "project", "user")
    body = {
        held.vgpu_id: {
            "allocations": {},
            "project_id": "project",
            "user_id": "user",
            "consumer_type": names.CONSUMER_TYPE,
            "consumer_generation": None,
        }
    }
    with pytest.raises(ConcurrentUpdate):
        client.set_allocations(body)
    with pytest.raises(NoCapacity):
        allocations.allocate([grant(compute=76)], "project", "user")


def test_a_batch_that_fits_is_one_request(client, allocations, grant, order, device, monkeypatch):
    posted, post = [], client.set_allocations
    monkeypatch.setattr(client, "set_allocations", lambda body: (posted.append(len(body)), post(body)))
    assert allocations.allocate_all([order(grant(), grant()), order(grant())]) == {}
    assert posted == [3]
    assert len(allocations.allocations_of(device.id)) == 3
    assert allocations.allocate_all([]) == {}


@pytest.mark.parametrize("at", range(5))
def test_of_a_batch_only_those_lose_that_do_not_fit(allocations, grant, order, device, at):
    orders = [order(grant(compute=20, memory_mib=1)) for _ in range(4)]
    orders.insert(at, order(grant(compute=60), grant(compute=60)))
    failed = allocations.allocate_all(orders)
    assert set(failed) == {orders[at].key}
    assert isinstance(failed[orders[at].key], NoCapacity)
    held = {each.vgpu_id for one in orders if one is not orders[at] for each in one.grants}
    assert set(allocations.allocations_of(device.id)) == held


def test_in_a_batch_that_is_too_large_as_many_get_theirs_as_fit(allocations, grant, order, device):
    orders = [order(grant(compute=30, memory_mib=1)) for _ in range(8)]
    failed = allocations.allocate_all(orders)
    assert len(failed) == 5
    assert sum(each[names.COMPUTE] for each in allocations.allocations_of(device.id).values()) == 90


def test_a_device_that_is_gone_costs_its_order_only(allocations, grant, order):
    missing = str(uuid.uuid4())
    lost, good = order(grant(), grant(device_id=missing)), order(grant())
    failed = allocations.allocate_all([lost, good])
    assert isinstance(failed.pop(lost.key), NoCapacity)
    assert failed == {}


def test_a_batch_again_changes_nothing(allocations, grant, order, device):
    orders = [order(grant(), grant()), order(grant())]
    allocations.allocate_all(orders)
    before = allocations.allocations_of(device.id)
    assert allocations.allocate_all(orders) == {}
    assert allocations.allocations_of(device.id) == before


def test_one_that_is_given_back_already_costs_its_batch_some_requests(
    client, allocations, grant, order, device, monkeypatch
):
    orders = [order(grant(compute=6, memory_mib=1)) for _ in range(16)]
    assert allocations.allocate_all(orders) == {}
    allocations.deallocate(orders[5].grants[0].vgpu_id)
    asked, call = [], client._call
    monkeypatch.setattr(client, "_call", lambda *args: (asked.append(args[0]), call(*args))[1])
    assert allocations.deallocate_all(orders) == {}
    assert (asked.count("POST"), asked.count("DELETE")) == (7, 2)
    assert allocations.allocations_of(device.id) == {}
    assert allocations.deallocate_all([]) == {}


def test_what_can_not_be_given_back_together_is_unavailable_from_there_on(
    client, allocations, grant, order, monkeypatch
):
    orders = [order(grant(compute=6, memory_mib=1)) for _ in range(4)]
    allocations.allocate_all(orders)
    allocations.deallocate(orders[0].grants[0].vgpu_id)

    def away(vgpu_id):
        raise errors.Unavailable("away")

    monkeypatch.setattr(client, "delete_allocation", away)
    failed = allocations.deallocate_all(orders)
    assert failed.keys() == {each.key for each in orders}
    assert {type(exc) for exc in failed.values()} == {errors.Unavailable}


def test_many_at_once_never_get_more_than_there_is(service, device):
    """Eight clients ask for twenty times 10 % each; ten of those fit."""
    granted, refused = [], []

    def ask():
        mine = Allocations(service.client())
        for _ in range(20):
            vgpu_id = str(uuid.uuid4())
            share = Share(device_id=device.id, compute=10, memory_mib=1)
            wanted = Grant(vgpu_id=vgpu_id, share=share)
            try:
                mine.allocate([wanted], "project", "user")
                granted.append(wanted.vgpu_id)
            except NoCapacity:
                refused.append(wanted.vgpu_id)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(granted), len(refused)) == (10, 150)


@pytest.fixture
def other(host, device, ensure):
    """Another device of the host."""
    changes = {"key": "ref-1", "id": device_id(host, "ref-1")}
    ensure(**changes)
    return replace(device, **changes)


def of_move(source: Grant, device_id: str) -> Move:
    target = source.share._replace(device_id=device_id)
    return Move(
        id=str(uuid.uuid4()), vgpu_id=source.vgpu_id, host_id="h", source=source.share, target=target
    )


def amounts(allocations, device_id):
    return {
        consumer: each[names.COMPUTE] for consumer, each in allocations.allocations_of(device_id).items()
    }


def test_a_move_holds_the_source_while_its_vgpu_has_the_target(allocations, grant, device, other):
    held = grant()
    allocations.allocate([held], "project", "user")
    move = of_move(held, other.id)
    for _ in range(2):
        allocations.move(move)
        assert amounts(allocations, device.id) == {move.id: 25}
        assert amounts(allocations, other.id) == {held.vgpu_id: 25}
    kept = allocations.get_allocation(move.id)
    assert (kept.consumer_type, kept.project_id, kept.user_id) == (names.MOVE_TYPE, "project", "user")
    for _ in range(2):
        allocations.move_back(move)
        assert amounts(allocations, device.id) == {held.vgpu_id: 25}
        assert amounts(allocations, other.id) == {}
    # And once more: Placement knows both consumers.
    allocations.move(move)
    assert amounts(allocations, other.id) == {held.vgpu_id: 25}


def test_a_target_without_room_leaves_the_vgpu_where_it_is(allocations, grant, device, other):
    held = grant()
    allocations.allocate([held, grant(device_id=other.id, compute=80)], "project", "user")
    with pytest.raises(NoCapacity):
        allocations.move(of_move(held, other.id))
    with pytest.raises(NoCapacity, match="not in Placement: device"):
        allocations.move(of_move(held, str(uuid.uuid4())))
    assert amounts(allocations, device.id) == {held.vgpu_id: 25}


def test_a_vgpu_that_holds_something_else_does_not_move(allocations, grant, other):
    held = grant()
    with pytest.raises(errors.Conflict, match="holds another"):
        allocations.move(of_move(held, other.id))
    allocations.allocate([held], "project", "user")
    wrong = replace(held, share=held.share._replace(compute=26))
    with pytest.raises(errors.Conflict, match="holds another"):
        allocations.move(of_move(wrong, other.id))


def test_what_a_move_holds_is_given_back_when_its_vgpu_has_nothing(allocations, grant, device, other):
    held = grant()
    allocations.allocate([held], "project", "user")
    move = of_move(held, other.id)
    allocations.move(move)
    allocations.deallocate(held.vgpu_id)
    allocations.move_back(move)
    assert amounts(allocations, device.id) == amounts(allocations, other.id) == {}
