"""Devices that were taken out, and devices that are not in Placement yet."""

import pytest
import sqlalchemy as sa

from gpupool.db import usage
from gpupool.model import errors
from gpupool.model.states import ClaimState, DeviceHealth
from testbed.simulated_agent import SimulatedAgent


def totals(lab):
    with lab.database.reader() as session:
        (pool,) = usage.by_pool(session)
    return pool.devices, pool.compute_total, pool.memory_mib_total


def test_a_device_that_was_taken_out_is_deleted(lab):
    agent = lab.agent()
    kept, gone = lab.devices(agent)
    with pytest.raises(
        errors.Conflict, match=f"device {agent.host}/ref-1 is ok: its host still reports"
    ):
        lab.client.delete_device(lab.ctxt, gone.id)
    assert totals(lab) == (2, 200, 8192)
    agent.devices.pop("ref-1")
    lab.look(agent)
    assert lab.devices(agent)[1].health == DeviceHealth.MISSING
    assert totals(lab) == (1, 100, 4096)
    lab.client.delete_device(lab.ctxt, gone.id)
    assert lab.devices(agent) == [kept]
    assert lab.made.placement.get_provider(gone.id) is None
    with pytest.raises(errors.NotFound, match=f"device {gone.id} not found"):
        lab.client.delete_device(lab.ctxt, gone.id)
    lab.settle(agent)
    assert [device.id for device in lab.devices(agent)] == [kept.id]
    assert lab.bound(agent).state == ClaimState.BOUND


def test_a_device_that_holds_something_is_kept(lab):
    agent = lab.agent(devices=1)
    claim = lab.bound(agent)
    (device,) = lab.devices(agent)
    instance = lab.instance_on(device.id, 10)
    agent.devices.pop("ref-0")
    lab.look(agent)
    with pytest.raises(errors.Conflict, match=f"device {agent.host}/ref-0 still holds 1 vGPUs"):
        lab.client.delete_device(lab.ctxt, device.id)
    lab.release(claim)
    lab.settle(agent)
    with pytest.raises(errors.Conflict, match="still has allocations in Placement"):
        lab.client.delete_device(lab.ctxt, device.id)
    assert [each.id for each in lab.devices(agent)] == [device.id]
    lab.made.placement.delete_allocation(instance)
    lab.client.delete_device(lab.ctxt, device.id)
    assert lab.devices(agent) == []


def test_a_deletion_that_ended_halfway_is_done_again(lab):
    agent = lab.agent(devices=1)
    (device,) = lab.devices(agent)
    agent.devices.pop("ref-0")
    lab.look(agent)
    lab.made.inventory.remove(device.id)  # And then the conductor was killed.
    lab.client.delete_device(lab.ctxt, device.id)
    assert lab.devices(agent) == []


def test_a_device_that_comes_back_is_as_it_was(lab, monkeypatch):
    """While it is deleted, between Placement and the database; and long after."""
    agent = lab.agent(devices=1)
    (device,) = lab.devices(agent)
    reported = agent.devices.pop("ref-0")
    lab.look(agent)
    remove = lab.made.inventory.remove

    def removed_then_reported(device_id):
        remove(device_id)
        agent.devices["ref-0"] = reported
        agent.send()

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(lab.made.inventory, "remove", removed_then_reported)
        with pytest.raises(errors.Conflict, match="its host still reports it"):
            lab.client.delete_device(lab.ctxt, device.id)
    lab.settle(agent)
    assert lab.made.placement.get_provider(device.id) is not None
    agent.devices.pop("ref-0")
    lab.look(agent)
    lab.client.delete_device(lab.ctxt, device.id)
    agent.devices["ref-0"] = reported
    lab.settle(agent)
    assert [each.id for each in lab.devices(agent)] == [device.id]
    assert lab.bound(agent).state == ClaimState.BOUND


def test_whether_a_device_is_in_placement_shows(lab, monkeypatch):
    agent = lab.agent(devices=2)
    assert [device.in_placement for device in lab.devices(agent)] == [True, True]
    with monkeypatch.context() as away:
        away.setattr(lab.made.inventory, "follow", lambda *_: None)
        late = lab.agent(devices=1)
        assert [device.in_placement for device in lab.devices(late)] == [False]
    lab.reconcile()
    assert [device.in_placement for device in lab.devices(late)] == [True]


def test_a_provider_that_was_removed_by_hand_shows_until_it_is_there_again(lab, monkeypatch):
    agent = lab.agent(devices=1)
    (device,) = lab.devices(agent)
    lab.made.placement.delete_provider(device.id)
    with monkeypatch.context() as refusing:
        refusing.setattr(lab.made.inventory, "verify", lambda *_: [])
        lab.made.inventory._verified.clear()
        lab.reconcile()
        assert [each.in_placement for each in lab.devices(agent)] == [False]
    lab.reconcile()
    assert [each.in_placement for each in lab.devices(agent)] == [True]


def test_what_is_written_of_placement_does_not_make_the_provider_be_written_again(lab, placement):
    agent = lab.agent()
    lab.settle(agent)
    placement.requests.clear()
    lab.settle(agent)
    assert [each for each in placement.requests if each.split()[0] != "GET"] == []


def test_noting_what_is_in_placement_is_one_statement_for_all_devices_of_a_host(lab):
    """And none in the reports after that: registering thousands of devices must stay cheap."""
    agent = SimulatedAgent(lab.transport, "host-many", devices=16)
    with lab.database.reader() as session:
        engine = session.get_bind()
    said = []

    def note(_connection, _cursor, statement, *_):
        if statement.startswith("UPDATE devices SET in_placement"):
            said.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        for _ in range(3):
            lab.look(agent)
            lab.reconcile()
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert len(said) == 1
    assert all(device.in_placement for device in lab.devices(agent))
