"""Claims of allocations that another service wrote to the real Placement, as Nova does."""

import uuid

import pytest

from gpupool.model import errors
from gpupool.model.claim import ClaimRequest, OnDeviceLost
from gpupool.model.device import SharingMode
from gpupool.model.states import ClaimState
from gpupool.placement import names

SIZE = {"compute": 50, "memory_mib": 1024}


def instance(lab, *device_ids, consumer="INSTANCE", project=None, generation=None, id_=None, **amounts):
    """Write what a service allocated of devices, and of nothing else here; return the consumer."""
    size = {names.COMPUTE: 50, names.MEMORY_MIB: 1024, **amounts}
    id_ = id_ or str(uuid.uuid4())
    entry = {
        "allocations": {each: {"resources": size} for each in device_ids},
        "project_id": project or lab.ctxt.project_id,
        "user_id": "nova",
        "consumer_type": consumer,
        "consumer_generation": generation,
    }
    lab.made.placement.set_allocations({id_: entry})
    return id_


def adopt(lab, consumer_id, claim_id=None, **wishes):
    request = ClaimRequest(**{"count": 1, **SIZE, **wishes})
    return lab.client.adopt_claim(lab.ctxt, claim_id or str(uuid.uuid4()), consumer_id, request)


def books(lab):
    """Return what the consumers of Placement hold of devices, in percent."""
    return {
        consumer: sum(each[names.COMPUTE] for each in amounts.values())
        for consumer, amounts in lab.allocated().items()
    }


def test_what_an_instance_holds_becomes_a_bound_claim(lab):
    agent = lab.agent()
    devices = [each.id for each in lab.devices(agent)]
    consumer = instance(lab, *devices)
    claim = adopt(lab, consumer, count=2)
    assert (claim.state, claim.program_host_id) == (ClaimState.BINDING, lab.host(agent).id)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    rows = lab.vgpus(claim_id=claim.id)
    assert sorted(row.device_id for row in rows) == sorted(devices)
    assert {row.consumer_id for row in rows} == {consumer}
    assert set(agent.vgpus) == {row.id for row in rows}
    # It is counted once, by its rows.
    lab.reconcile()
    assert books(lab) == {consumer: 100}
    other = lab.bound(agent, compute=50)
    assert other.state == ClaimState.BOUND
    waits = lab.create(compute=60)
    lab.serve()
    assert lab.claim(waits).state == ClaimState.QUEUED


def test_its_allocation_stays_when_the_claim_is_released(lab):
    agent = lab.agent(devices=1)
    consumer = instance(lab, lab.devices(agent)[0].id)
    claim = adopt(lab, consumer)
    lab.look(agent)
    lab.release(claim)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert (lab.vgpus(), books(lab)) == ([], {consumer: 50})
    # Another consumer's allocation is no room of ours.
    lab.reconcile()
    waits = lab.create(compute=60)
    lab.serve()
    assert lab.claim(waits).state == ClaimState.QUEUED
    assert books(lab) == {consumer: 50}


@pytest.mark.parametrize("how", ["gone", "smaller"])
def test_a_claim_whose_allocation_is_taken_back_is_released(lab, how):
    agent = lab.agent(devices=1)
    (device,) = lab.devices(agent)
    consumer = instance(lab, device.id)
    claim = adopt(lab, consumer)
    lab.look(agent)
    lab.reconcile()
    assert lab.claim(claim).state == ClaimState.BOUND
    if how == "gone":
        lab.made.placement.delete_allocation(consumer)
    else:
        instance(lab, device.id, id_=consumer, generation=1, **{names.COMPUTE: 40})
    lab.reconcile()
    lab.look(agent)
    after = lab.claim(claim)
    assert after.state == ClaimState.RELEASED
    assert after.state_reason == "its allocation was taken back by the service that made it"
    assert books(lab) == ({} if how == "gone" else {consumer: 40})


def test_one_that_its_host_refuses_fails(lab):
    agent = lab.agent(devices=1)
    consumer = instance(lab, lab.devices(agent)[0].id)
    agent.error = "no"
    claim = adopt(lab, consumer)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.FAILED
    assert books(lab) == {consumer: 50}


def test_it_does_not_move(lab):
    agent = lab.agent()
    one, two = (each.id for each in lab.devices(agent))
    claim = adopt(lab, instance(lab, one))
    lab.look(agent)
    (vgpu,) = lab.vgpus(claim_id=claim.id)
    with pytest.raises(errors.Conflict, match="its allocation is somebody else's"):
        lab.made.moving.move(vgpu.id, two)


def test_the_same_request_again_is_the_same_claim(lab):
    agent = lab.agent(devices=1)
    consumer = instance(lab, lab.devices(agent)[0].id)
    claim = adopt(lab, consumer)
    lab.look(agent)
    assert adopt(lab, consumer, claim_id=claim.id).state == ClaimState.BOUND
    with pytest.raises(errors.Conflict, match=f"consumer {consumer} is a claim's already"):
        adopt(lab, consumer)
    assert len(lab.vgpus()) == 1


def test_what_does_not_match_is_refused(lab):
    agent, other = lab.agent(), lab.agent(devices=1)
    one, two = (each.id for each in lab.devices(agent))
    (elsewhere,) = (each.id for each in lab.devices(other))
    with pytest.raises(errors.NotFound, match="holds nothing of this project"):
        adopt(lab, str(uuid.uuid4()))
    with pytest.raises(errors.NotFound, match="holds nothing of this project"):
        adopt(lab, instance(lab, one, project="another"))
    with pytest.raises(errors.Invalid, match="holds 50 % and 1024 MiB of device"):
        adopt(lab, instance(lab, two), compute=40)
    with pytest.raises(errors.Invalid, match="holds 1 devices"):
        adopt(lab, instance(lab, elsewhere), count=2)
    with pytest.raises(errors.Invalid, match="2 of them known, of 2 hosts; allowed: one or more"):
        adopt(lab, instance(lab, two, elsewhere), count=2)
    bound = lab.bound(agent, compute=1, memory_mib=1)
    with pytest.raises(errors.Conflict, match="is a vGPU or a move"):
        adopt(lab, lab.vgpus(claim_id=bound.id)[0].id, compute=1, memory_mib=1)
    assert not [row for row in lab.vgpus() if row.consumer_id]


@pytest.mark.parametrize(
    "wish",
    [
        {"preemptible": True},
        {"min_count": 1, "max_count": 2, "count": None},
        {"on_device_lost": OnDeviceLost.REQUEUE},
        {"sharing_mode": SharingMode.MIG, "partition": "1g.5gb"},
        {"host": "host"},
    ],
)
def test_what_has_nothing_to_choose_from_is_refused(lab, wish):
    agent = lab.agent(devices=1)
    consumer = instance(lab, lab.devices(agent)[0].id)
    with pytest.raises(errors.Invalid, match="not allowed for an allocation that is there"):
        adopt(lab, consumer, **wish)


def test_quotas_count_it(lab):
    agent = lab.agent(devices=1)
    consumer = instance(lab, lab.devices(agent)[0].id)
    lab.conf.set_override("vgpus", 0, group="quota")
    lab.made.limits.__init__(lab.conf)
    with pytest.raises(errors.OverQuota):
        adopt(lab, consumer)
    assert lab.vgpus() == []


def test_a_device_that_takes_no_new_vgpus_takes_none(lab):
    agent = lab.agent(devices=1)
    (device,) = lab.devices(agent)
    consumer = instance(lab, device.id)
    lab.client.set_device_enabled(lab.ctxt, device.id, False, "")
    with pytest.raises(errors.Conflict, match="can't take the claim now"):
        adopt(lab, consumer)
    assert lab.vgpus() == []
