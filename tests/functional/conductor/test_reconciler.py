"""Each kind of difference is made by hand, seen, and repaired."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from oslo_utils import timeutils

from gpupool.conductor.repairs import claims as claim_repairs
from gpupool.conductor.repairs.reconciler import Reconciler, Repair
from gpupool.db import attachments, claims, devices, hosts, vgpus
from gpupool.model import errors
from gpupool.model.attachment import AttachmentKind, AttachmentRequest
from gpupool.model.claim import ClaimHealth
from gpupool.model.device import device_id
from gpupool.model.share import Share
from gpupool.model.states import AttachmentState, ClaimState, DeviceHealth, HostState, VgpuState
from gpupool.placement import names
from gpupool.placement.allocation import Grant
from gpupool.placement.provider_tree import Wanted
from tests.functional.conductor.lab import Lab, new_conf
from tests.functional.conductor.test_reports import statements


def orphan(lab, device, compute=25):
    """Allocate for a vGPU that has no row."""
    vgpu_id = str(uuid.uuid4())
    grant = Grant(vgpu_id=vgpu_id, share=Share(device_id=device.id, compute=compute, memory_mib=64))
    lab.made.allocations.allocate([grant], "project-1", "user-1")
    return vgpu_id


def test_without_differences_nothing_is_written(lab):
    agent = lab.agent()
    lab.bound(agent, count=2)
    lab.create(compute=100, count=2)
    lab.settle(agent)
    before = (lab.host(agent), lab.vgpus(), lab.allocated(), generations(lab))
    lab.reconcile()
    assert (lab.host(agent), lab.vgpus(), lab.allocated(), generations(lab)) == before


def test_what_is_as_it_should_be_costs_the_same_however_much_it_is(lab, placement):
    agent = lab.agent()
    said, asked = [], []
    for count in (1, 8):
        for _ in range(count):
            lab.bound(agent, compute=1, memory_mib=1)
        lab.reconcile()
        placement.requests.clear()
        with statements(lab) as each:
            lab.reconcile()
        said.append(each)
        asked.append(list(placement.requests))
    assert said[0] == said[1]
    assert set(said[0]) == {"SELECT"}
    assert len(said[0]) <= 22
    assert asked[0] == asked[1]
    assert asked[0].count("GET /traits") <= 2


def generations(lab):
    with lab.database.reader() as session:
        return {claim.id: claim.generation for claim in claims.list_(session)}


def test_of_many_devices_some_are_compared_at_a_time_and_all_in_the_end(database, placement):
    lab = Lab(new_conf(reconcile_devices=1), database, placement.client())
    agent = lab.agent(devices=3)
    orphans = [orphan(lab, device) for device in lab.devices(agent)]
    client = lab.made.placement
    left = []
    for _ in range(3):
        lab.reconcile()
        left.append(sum(lab.made.allocations.get_allocation(each) is not None for each in orphans))
    assert left == [2, 1, 0]
    # What is missing altogether is not waited for.
    for device in lab.devices(agent):
        client.delete_provider(device.id)
    lab.reconcile()
    assert all(client.get_provider(device.id) is not None for device in lab.devices(agent))
    lab.close()


def test_an_allocation_without_vgpu_is_given_back(lab):
    agent = lab.agent()
    lab.bound(agent)
    vgpu_id = orphan(lab, lab.devices(agent)[1])
    lab.reconcile()
    assert lab.made.allocations.get_allocation(vgpu_id) is None
    lab.check_books([agent])


def test_a_vgpu_without_allocation_gets_it_again(lab):
    agent = lab.agent()
    claim = lab.bound(agent, count=2)
    lab.made.allocations.deallocate(lab.vgpus()[0].id)
    lab.reconcile()
    lab.check_books([agent])
    assert lab.claim(claim) == claim


def test_a_vgpu_whose_room_was_taken_meanwhile_goes_elsewhere(lab):
    agent = lab.agent()
    claim = lab.bound(agent, compute=60)
    (vgpu,) = lab.vgpus()
    lab.made.allocations.deallocate(vgpu.id)
    device = next(each for each in lab.devices(agent) if each.id == vgpu.device_id)
    lab.instance_on(device.id, 60)
    lab.reconcile()
    queued = lab.claim(claim)
    assert (queued.state, queued.release_to) == (ClaimState.RELEASING, ClaimState.QUEUED)
    assert "was given to somebody else" in queued.state_reason
    assert "was lost in Placement" in queued.state_detail
    lab.look(agent)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    assert lab.vgpus()[0].device_id != device.id


@pytest.mark.parametrize("sizes", [(10, 512), (30, 512), (25, 1), (25, 1024)])
def test_an_allocation_of_other_sizes_is_corrected(lab, sizes):
    agent = lab.agent()
    lab.bound(agent)
    (vgpu,) = lab.vgpus()
    lab.made.allocations.deallocate(vgpu.id)
    share = Share(device_id=vgpu.device_id, compute=sizes[0], memory_mib=sizes[1])
    wrong = Grant(vgpu_id=vgpu.id, share=share)
    lab.made.allocations.allocate([wrong], vgpu.project_id, "user-1")
    lab.reconcile()
    lab.check_books([agent])


def test_an_allocation_on_another_device_is_corrected(lab):
    agent = lab.agent()
    lab.bound(agent)
    (vgpu,) = lab.vgpus()
    other = next(each for each in lab.devices(agent) if each.id != vgpu.device_id)
    lab.made.allocations.deallocate(vgpu.id)
    wrong = Grant(vgpu_id=vgpu.id, share=Share(device_id=other.id, compute=25, memory_mib=512))
    lab.made.allocations.allocate([wrong], vgpu.project_id, "user-1")
    lab.reconcile()
    lab.check_books([agent])


def test_a_provider_that_was_deleted_is_made_again(lab):
    """As Nova's service delete does to children without allocations."""
    agent = lab.agent()
    claim = lab.bound(agent)
    (vgpu,) = lab.vgpus()
    client = lab.made.placement
    free = next(each for each in lab.devices(agent) if each.id != vgpu.device_id)
    client.delete_provider(free.id)
    lab.reconcile()
    assert client.get_provider(free.id).name == f"gpupool:{agent.host}:{free.key}"
    assert client.inventories(free.id)[0][names.COMPUTE].total == 100
    lab.made.allocations.deallocate(vgpu.id)
    client.delete_provider(vgpu.device_id)
    lab.reconcile()
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_inventory_traits_and_aggregates_changed_by_hand_are_written_again(lab):
    agent = lab.agent(devices=1)
    (device,) = lab.devices(agent)
    client = lab.made.placement

    def found():
        traits = client.provider_traits(device.id)[0]
        return client.inventories(device.id)[0], traits, client.aggregates(device.id)[0]

    before = found()
    inventories, generation = client.inventories(device.id)
    client.set_inventories(device.id, {names.COMPUTE: inventories[names.COMPUTE]}, generation)
    client.set_provider_traits(device.id, [], client.provider_traits(device.id)[1])
    client.set_aggregates(device.id, [], client.aggregates(device.id)[1])
    assert found() != before
    lab.reconcile()
    assert found() == before


def test_a_provider_of_no_device_is_removed(lab):
    agent = lab.agent(devices=1)
    device = lab.devices(agent)[0]
    with lab.database.writer() as session:
        devices.delete(session, device.id)
    lab.reconcile()
    assert lab.made.placement.get_provider(device.id) is None


def test_providers_that_are_none_of_ours_stay(lab):
    provider_id = str(uuid.uuid4())
    lab.made.placement.create_provider(provider_id, f"node-{provider_id}", None)
    lab.reconcile()
    assert lab.made.placement.get_provider(provider_id) is not None


def age(lab, claim):
    with lab.database.writer() as session:
        claims.update(session, claim.id, updated_at=timeutils.utcnow() - timedelta(hours=1))


def test_a_claim_left_allocating_without_rows_is_undone(lab):
    agent = lab.agent()
    claim = lab.create()
    with lab.database.writer() as session:
        claims.transition(session, claims.get(session, claim.id), ClaimState.ALLOCATING)
    age(lab, claim)
    lab.reconcile()
    assert lab.claim(claim).state == ClaimState.QUEUED
    lab.settle(agent)
    assert lab.claim(claim).state == ClaimState.BOUND


def test_a_claim_left_binding_with_all_its_vgpus_active_is_bound(lab):
    lab.agent()
    claim = lab.create()
    lab.serve()
    with lab.database.writer() as session:
        for vgpu in vgpus.list_(session, {"claim_id": claim.id}):
            vgpus.transition(session, vgpu, VgpuState.ACTIVE)
    lab.reconcile()
    assert lab.claim(claim).state == ClaimState.BOUND


def test_a_claim_that_lost_a_vgpu_is_bound_anew(lab):
    agent = lab.agent()
    claim = lab.bound(agent, count=2)
    first = lab.vgpus()[0]
    with lab.database.writer() as session:
        vgpus.delete(session, first.id)
    lab.reconcile()
    again = lab.claim(claim)
    said = "it has 1 of 2 vGPUs left; it starts anew"
    assert (again.release_to, again.state_reason) == (ClaimState.QUEUED, said)
    lab.look(agent)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_a_claim_left_releasing_without_vgpus_is_finished(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    lab.release(claim)
    first = lab.vgpus()[0]
    with lab.database.writer() as session:
        vgpus.delete(session, first.id)
    lab.reconcile()
    assert lab.claim(claim).state == ClaimState.RELEASED
    lab.look(agent)
    lab.check_books([agent])


def test_a_vgpu_of_a_releasing_claim_that_nobody_removes_is_removed(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    with lab.database.writer() as session:
        claims.transition(
            session,
            claims.get(session, claim.id),
            ClaimState.RELEASING,
            release_to=ClaimState.RELEASED,
        )
    lab.reconcile()
    assert lab.vgpus()[0].state == VgpuState.REMOVING
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED
    lab.check_books([agent])


def attach(lab, claim):
    request = AttachmentRequest(claim_id=claim.id, kind=AttachmentKind.PROCESS)
    return lab.client.create_attachment(lab.ctxt, str(uuid.uuid4()), request)


def end(lab, claim):
    """End ``claim`` and leave everything it has."""
    with lab.database.writer() as session:
        claims.update(session, claim.id, state=ClaimState.RELEASED)


def test_vgpus_and_attachments_of_an_ended_claim_are_removed(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    attach(lab, claim)
    agent.look()
    end(lab, claim)
    lab.reconcile()
    with lab.database.reader() as session:
        (attachment,) = attachments.list_(session)
    assert attachment.state == AttachmentState.REMOVING
    lab.look(agent)
    assert not agent.attachments
    with lab.database.reader() as session:
        assert not attachments.list_(session)
    lab.check_books([agent])
    assert not lab.vgpus()
    assert lab.claim(claim).state == ClaimState.RELEASED


def test_what_leaves_a_host_that_is_down_is_dropped(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    attach(lab, claim)
    lab.release(claim)
    host = lab.host(agent)
    with lab.database.writer() as session:
        hosts.update(session, host.id, state=HostState.DOWN)
    lab.reconcile()
    with lab.database.reader() as session:
        assert not attachments.list_(session)
    assert not lab.vgpus()
    assert not lab.allocated()
    assert lab.claim(claim).state == ClaimState.RELEASED


def test_one_repair_that_fails_does_not_keep_the_others(lab):
    agent = lab.agent()

    def broken():
        raise ZeroDivisionError

    def refusing():
        raise errors.Unavailable("no")

    vgpu_id = orphan(lab, lab.devices(agent)[0])
    repairs = Repair("broken", broken), Repair("refusing", refusing), *lab.made.repairs
    Reconciler(lab.made.dependencies, repairs).reconcile()
    assert lab.made.allocations.get_allocation(vgpu_id) is None


def test_a_host_that_came_back_keeps_what_it_has_until_it_says_otherwise(lab, monkeypatch):
    agent = lab.agent()
    claim = lab.bound(agent)
    host = lab.host(agent)
    with lab.database.writer() as session:
        hosts.update(session, host.id, state=HostState.DOWN)
    lab.release(claim)
    with lab.database.reader() as session:
        listed = hosts.list_(session, {"state": HostState.DOWN})

    def back(*args):
        monkeypatch.undo()
        agent.send()
        return listed

    monkeypatch.setattr(claim_repairs.hosts, "list_", back)
    lab.made.claim_repairs.drop_from_down_hosts()
    assert lab.claim(claim).state == ClaimState.RELEASING
    lab.check_books([agent])
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED


def test_one_claim_that_can_not_be_repaired_does_not_keep_the_others(lab, monkeypatch):
    agent = lab.agent()
    first, second = lab.bound(agent), lab.bound(agent)
    for claim in (first, second):
        with lab.database.writer() as session:
            for vgpu in vgpus.list_(session, {"claim_id": claim.id}):
                vgpus.delete(session, vgpu.id)
    end = claim_repairs._end_binding

    def poisoned(transaction, claim_id):
        if claim_id == first.id:
            raise errors.Conflict("poison")
        end(transaction, claim_id)

    monkeypatch.setattr(claim_repairs, "_end_binding", poisoned)
    lab.made.claim_repairs.end_binding()
    assert lab.claim(first).state == ClaimState.BOUND
    assert lab.claim(second).state == ClaimState.QUEUED


def test_providers_of_nobody_go_with_what_is_allocated_on_them(lab, caplog):
    agent = lab.agent()
    ghosts = [ghost(lab, agent, f"ref-{number}") for number in range(3)]
    held = [orphan(lab, device) for device in ghosts]
    lab.reconcile()
    assert not any(lab.made.allocations.get_allocation(vgpu_id) for vgpu_id in held)
    assert "removed" not in caplog.text
    lab.reconcile()
    assert not {device.id for device in ghosts} & lab.made.inventory.provided()
    assert caplog.text.count("belonged to no device: removed") == 3


def test_a_provider_of_nobody_with_an_instance_does_not_keep_the_others(lab):
    agent = lab.agent()
    ghosts = [ghost(lab, agent, f"ref-{number}") for number in range(3)]
    used = ghosts[0].id
    lab.instance_on(used, 5)
    lab.reconcile()
    assert {device.id for device in ghosts} & lab.made.inventory.provided() == {used}


def ghost(lab, agent, key):
    """Return a device that has a provider and no row."""
    device = replace(lab.devices(agent)[0], id=device_id("ghost", key), key=key)
    wanted = Wanted(host="ghost", pool_id=lab.host(agent).pool_id, device=device)
    lab.made.inventory._tree.ensure_device(wanted, None)
    return device


def test_the_health_of_claims_is_written_again(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    owned = lab.devices(agent)
    with lab.database.writer() as session:
        claims.update(session, claim.id, health=ClaimHealth.HOST_DOWN)
        for device in owned:
            devices.update(session, device.id, health=DeviceHealth.MISSING)
    lab.reconcile()
    assert lab.claim(claim).health == ClaimHealth.DEVICE_FAILED


def test_a_conductor_that_starts_reads_some_providers_at_a_time(database, placement):
    lab = Lab(new_conf(reconcile_devices=2), database, placement.client())
    for _ in range(3):
        lab.agent()
    other = Lab(new_conf(reconcile_devices=2), database, placement.client())
    read = []
    for _ in range(4):
        placement.requests.clear()
        other.reconcile()
        read.append(sum(each.endswith("/inventories") for each in placement.requests))
    assert read == [2, 2, 2, 0]
    for each in (lab, other):
        each.close()


def test_missing_providers_are_written_some_at_a_time(database, placement):
    """By a conductor that has written none of them: another may be about to."""
    lab = Lab(new_conf(), database, placement.client())
    agent = lab.agent(devices=5)
    # Afterwards: the two serve one topic, and either would take the report.
    other = Lab(new_conf(reconcile_devices=2), database, placement.client())
    ids = {device.id for device in lab.devices(agent)}
    for each in ids:
        lab.made.placement.delete_provider(each)
    left = []
    for _ in range(3):
        other.reconcile()
        left.append(len(ids - other.made.inventory.provided()))
    assert left == [3, 1, 0]
    for each in (lab, other):
        each.close()
