"""The life of a claim, as its project sees it."""

import uuid
from datetime import timedelta

import pytest
from oslo_context.context import RequestContext
from oslo_utils import timeutils

from gpupool.conductor.claims import expiry
from gpupool.db import claims
from gpupool.model import errors
from gpupool.model.claim import ClaimChange, ClaimHealth, ClaimRequest, Tier
from gpupool.model.pool import Pool
from gpupool.model.profile import Profile
from gpupool.model.states import ClaimState, DeviceHealth, VgpuState


def test_a_claim_binds_and_is_released(lab):
    agent = lab.agent()
    claim = lab.create(count=2)
    assert claim.state == ClaimState.QUEUED
    lab.serve()
    assert lab.claim(claim).state == ClaimState.BINDING
    lab.check_books()
    lab.look(agent)
    claim = lab.claim(claim)
    assert claim.state == ClaimState.BOUND
    assert claim.bound_at is not None
    assert len(agent.vgpus) == 2
    lab.check_books([agent])
    assert lab.release(claim).state == ClaimState.RELEASING
    lab.serve()
    assert len(lab.allocated()) == 2  # Until the host has let go.
    lab.look(agent)
    claim = lab.claim(claim)
    assert claim.state == ClaimState.RELEASED
    assert claim.ended_at is not None
    assert claim.release_to is None
    assert not lab.allocated()
    assert not lab.vgpus()


def test_a_queued_claim_is_released_at_once(lab):
    claim = lab.create()
    released = lab.release(claim)
    assert (released.state, lab.claim(claim).state) == (ClaimState.RELEASED, ClaimState.RELEASED)


def test_the_same_message_twice_makes_one_claim(lab):
    claim_id = str(uuid.uuid4())
    request = ClaimRequest(compute=10, memory_mib=10)
    first = lab.client.create_claim(lab.ctxt, claim_id, request)
    assert lab.client.create_claim(lab.ctxt, claim_id, request) == first
    other = RequestContext(project_id="project-2", user_id="user-2")
    with pytest.raises(errors.Conflict, match="is taken"):
        lab.client.create_claim(other, claim_id, request)


def test_a_profile_gives_what_the_request_leaves_open(lab):
    profile = Profile(
        id=str(uuid.uuid4()), name="small", compute=10, memory_mib=64, tier=Tier.LOCAL, priority=70
    )
    lab.client.create_profile(lab.ctxt, profile)
    claim = lab.create(profile="small", compute=None, memory_mib=128)
    found = (claim.profile_id, claim.compute, claim.memory_mib, claim.tier, claim.priority, claim.count)
    assert found == (profile.id, 10, 128, Tier.LOCAL, 70, 1)


def test_sessions_are_the_claims_the_profiles_or_the_default(lab):
    lab.conf.set_override("sessions_per_vgpu", 7, "conductor")
    lab.conf.set_override("max_sessions_per_vgpu", 512, "conductor")
    agent = lab.agent()
    for name, sessions in (("open", None), ("wide", 512)):
        profile = Profile(
            id=str(uuid.uuid4()),
            name=name,
            compute=1,
            memory_mib=1,
            tier=Tier.POOL,
            priority=50,
            sessions=sessions,
        )
        lab.client.create_profile(lab.ctxt, profile)
    made = [
        lab.create(),
        lab.create(sessions=2),
        lab.create(profile="open"),
        lab.create(profile="wide"),
        lab.create(profile="wide", sessions=100),
    ]
    assert [claim.sessions for claim in made] == [7, 2, 7, 512, 100]
    lab.serve()
    lab.look(agent)
    wanted = {spec.claim_id: spec.sessions for spec in agent.vgpus.values()}
    assert wanted == {claim.id: claim.sessions for claim in made}
    # What a project owes a device outlives its claims.
    projects = {spec.claim_id: spec.project_id for spec in agent.vgpus.values()}
    assert projects == {claim.id: claim.project_id for claim in made}


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"compute": 0}, "compute is 0; allowed: 1 to 100"),
        ({"compute": 101}, "compute is 101; allowed: 1 to 100"),
        ({"compute": None}, "compute missing"),
        ({"memory_mib": 0}, "memory_mib is 0; allowed: 1 to"),
        ({"memory_mib": -5}, "memory_mib is -5; allowed: 1 to"),
        ({"memory_mib": 4097}, "memory_mib is 4097; the largest device of pool default has 4096"),
        ({"sessions": 0}, "sessions is 0; allowed: 1 to 64, the operator's"),
        ({"sessions": 65}, "sessions is 65; allowed: 1 to 64, the operator's"),
        ({"count": 0}, "count is 0; allowed: 1 to 1024"),
        ({"count": 1025}, "count is 1025; allowed: 1 to 1024"),
        ({"count": 3, "compute": 100}, "could never hold"),
        ({"priority": -1}, "priority is -1; allowed: 0 to 100"),
        ({"priority": 101}, "priority is 101; allowed: 0 to 100"),
        ({"required_traits": ("CUSTOM_NO_SUCH",)}, "no such traits: CUSTOM_NO_SUCH"),
        ({"forbidden_traits": ("CUSTOM_NO_SUCH",)}, "no such traits: CUSTOM_NO_SUCH"),
        (
            {"required_traits": ("HW_CPU_X86_AVX",), "forbidden_traits": ("HW_CPU_X86_AVX",)},
            "both required and forbidden: HW_CPU_X86_AVX",
        ),
        ({"required_traits": ("HW_CPU_X86_AVX",)}, "could never hold"),
        ({"profile": "no-such"}, "profile no-such does not exist"),
        ({"pool": "no-such"}, "pool no-such does not exist; there are: default"),
        ({"host": "no-such"}, "host no-such does not exist"),
        ({"devices": ("no-such",)}, "device no-such does not exist"),
        ({"tier": Tier.DEDICATED}, "tier dedicated needs devices or required_traits"),
        ({"lease_end": timeutils.utcnow() - timedelta(seconds=1)}, "is past"),
    ],
)
def test_what_can_never_bind_is_refused(lab, wishes, said):
    lab.agent()
    with pytest.raises(errors.Invalid, match=said):
        lab.create(**wishes)
    with lab.database.reader() as session:
        assert not claims.list_(session)


def test_an_unknown_tier_is_refused(lab):
    payload = {"compute": 10, "memory_mib": 10, "tier": "golden"}
    with pytest.raises(errors.Invalid, match="golden"):
        lab.client._call(lab.ctxt, "create_claim", claim_id=str(uuid.uuid4()), request=payload)


def test_host_and_devices_have_to_be_in_the_pool(lab):
    agent = lab.agent()
    lab.client.create_pool(lab.ctxt, Pool(id=str(uuid.uuid4()), name="elsewhere"))
    with pytest.raises(errors.Invalid, match=f"host {agent.host} does not exist in pool elsewhere"):
        lab.create(pool="elsewhere", host=agent.host)
    device_id = lab.devices(agent)[0].id
    with pytest.raises(errors.Invalid, match=f"device {device_id} does not exist in pool elsewhere"):
        lab.create(pool="elsewhere", devices=(device_id,))


def test_a_pool_without_devices_takes_claims_that_wait(lab):
    claim = lab.create(memory_mib=10**6)
    lab.serve()
    claim = lab.claim(claim)
    assert claim.state == ClaimState.QUEUED
    assert claim.state_reason == "the pool has no devices"


def test_a_claim_needs_a_project(lab):
    with pytest.raises(errors.Invalid, match="needs a project"):
        lab.client.create_claim(
            RequestContext(), str(uuid.uuid4()), ClaimRequest(compute=1, memory_mib=1)
        )


def test_traits_are_not_believed_while_placement_is_away(lab, placement):
    placement.go("500 Internal Server Error")
    with pytest.raises(errors.Unavailable):
        lab.create(required_traits=("HW_CPU_X86_AVX",))


def test_named_devices_and_hosts_are_used(lab):
    first, second = lab.agent(), lab.agent()
    device_id = lab.devices(second)[1].id
    claim = lab.create(tier=Tier.DEDICATED, devices=(device_id,))
    local = lab.create(tier=Tier.LOCAL, host=first.host)
    lab.serve()
    assert [vgpu.device_id for vgpu in lab.vgpus(claim_id=claim.id)] == [device_id]
    assert [vgpu.host_id for vgpu in lab.vgpus(claim_id=local.id)] == [lab.host(first).id]


def test_an_operators_own_trait_on_a_provider_can_be_asked_for(lab):
    agent = lab.agent()
    device_id = lab.devices(agent)[1].id
    lab.made.placement.create_trait("CUSTOM_RACK_7")
    had, generation = lab.made.placement.provider_traits(device_id)
    lab.made.placement.set_provider_traits(device_id, had | {"CUSTOM_RACK_7"}, generation)
    lab.reconcile()
    claim = lab.bound(agent, required_traits=("CUSTOM_RACK_7",))
    assert claim.state == ClaimState.BOUND
    assert [vgpu.device_id for vgpu in lab.vgpus()] == [device_id]


def test_a_change_of_a_claim(lab):
    claim = lab.create()
    end = timeutils.utcnow() + timedelta(hours=1)
    change = ClaimChange(name="mine", priority=99, lease_end=end)
    changed = lab.client.update_claim(lab.ctxt, claim.id, change)
    assert (changed.name, changed.priority, changed.lease_end) == ("mine", 99, end)
    assert lab.client.update_claim(lab.ctxt, claim.id, ClaimChange()) == changed
    with pytest.raises(errors.Invalid, match="priority is 101"):
        lab.client.update_claim(lab.ctxt, claim.id, ClaimChange(priority=101))
    past = ClaimChange(lease_end=timeutils.utcnow() - timedelta(hours=1))
    with pytest.raises(errors.Invalid, match="is past"):
        lab.client.update_claim(lab.ctxt, claim.id, past)
    lab.release(claim)
    with pytest.raises(errors.Conflict, match="is released; it can't be changed"):
        lab.client.update_claim(lab.ctxt, claim.id, change)


def test_release_twice_is_refused_and_changes_nothing(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    lab.release(claim)
    before = lab.claim(claim)
    with pytest.raises(errors.Conflict, match="is releasing already"):
        lab.release(claim)
    assert lab.claim(claim) == before
    lab.look(agent)
    before = lab.claim(claim)
    with pytest.raises(errors.Conflict, match="is released already"):
        lab.release(claim)
    assert lab.claim(claim) == before


def test_a_claim_that_nobody_made_is_not_found(lab):
    claim_id = str(uuid.uuid4())
    with pytest.raises(errors.NotFound, match=claim_id):
        lab.client.release_claim(lab.ctxt, claim_id)
    with pytest.raises(errors.NotFound, match=claim_id):
        lab.client.update_claim(lab.ctxt, claim_id, ClaimChange(name="x"))


def test_a_claim_released_while_it_binds(lab):
    agent = lab.agent()
    claim = lab.create()
    lab.serve()
    lab.release(claim)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert not agent.vgpus
    lab.check_books([agent])


def test_a_claim_that_three_hosts_refuse_fails(lab):
    agents = [lab.agent(), lab.agent(), lab.agent()]
    for agent in agents:
        agent.error = "no such partition"
    claim = lab.create()
    for attempt in (1, 2, 3):
        lab.serve()
        lab.look(*agents)
        assert lab.claim(claim).attempts == attempt
        lab.check_books()
    failed = lab.claim(claim)
    assert failed.state == ClaimState.FAILED
    assert failed.refused_by == tuple(sorted(agent.host for agent in agents))
    said = "3 hosts refused what it asks for; the last said: no such partition"
    assert failed.state_reason == said
    assert failed.state_detail.endswith(": no such partition")
    assert failed.ended_at is not None
    assert not lab.vgpus()


def test_a_claim_that_one_host_refuses_goes_to_another(lab):
    agents = [lab.agent(), lab.agent()]
    claim = lab.create()
    lab.serve()
    (vgpu,) = lab.vgpus()
    bad, good = sorted(agents, key=lambda agent: lab.host(agent).id != vgpu.host_id)
    bad.error = "no space for its ledger"
    lab.look(bad)
    assert lab.claim(claim).refused_by == (bad.host,)
    lab.look(bad, good)
    lab.look(bad, good)
    bound = lab.claim(claim)
    assert (bound.state, bound.attempts, bound.refused_by) == (ClaimState.BOUND, 0, ())
    assert lab.vgpus()[0].host_id == lab.host(good).id
    lab.check_books([bad, good])


def test_a_claim_whose_host_never_makes_it_is_taken_back(lab):
    """The agent says that it has converged, and does not list the vGPU."""
    agent = lab.agent()
    claim = lab.create()
    lab.serve()
    agent.generation = lab.host(agent).generation
    agent.send()
    refused = lab.claim(claim)
    (vgpu,) = lab.vgpus()
    assert (refused.state, refused.release_to) == (ClaimState.RELEASING, ClaimState.QUEUED)
    assert refused.state_reason.startswith("its host could not provide a vGPU of it")
    assert refused.state_detail == f"host {agent.host}: it did not make vGPU {vgpu.id}"
    assert refused.refused_by == (agent.host,)


def test_a_claim_that_its_host_loses_is_bound_again(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    agent.error = "device ref-0 failed"
    for key in agent.devices:
        agent.set_health(key, DeviceHealth.FAILED)
    agent.send()
    releasing = lab.claim(claim)
    assert (releasing.state, releasing.release_to) == (ClaimState.RELEASING, ClaimState.QUEUED)
    agent.error = ""
    for key in agent.devices:
        agent.set_health(key, DeviceHealth.OK)
    lab.look(agent)
    lab.look(agent)
    claim = lab.claim(claim)
    assert (claim.state, claim.attempts) == (ClaimState.BOUND, 0)
    lab.check_books([agent])


def test_a_claim_that_was_to_be_queued_again_can_be_released(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    agent.error = "device ref-0 failed"
    agent.send()
    assert lab.release(claim).release_to == ClaimState.RELEASED
    agent.error = ""
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED


def expired(lab, claim):
    """Let the lease of ``claim`` end."""
    with lab.database.writer() as session:
        claims.update(session, claim.id, lease_end=timeutils.utcnow() - timedelta(seconds=1))


def test_a_lease_that_another_conductor_ended_is_not_ended_again(lab):
    agent = lab.agent()
    bound = lab.bound(agent, lease_end=timeutils.utcnow() + timedelta(hours=1))
    lab.made.transactions.commit(expiry._end_lease, bound)
    ending = lab.claim(bound)
    assert ending.release_to == ClaimState.EXPIRED
    lab.made.transactions.commit(expiry._end_lease, bound)
    assert lab.claim(bound) == ending


def test_leases_end(lab):
    agent = lab.agent()
    end = timeutils.utcnow() + timedelta(hours=1)
    bound = lab.bound(agent, lease_end=end)
    queued = lab.create(host=agent.host, compute=100, count=2, lease_end=end)
    lab.serve()
    expired(lab, bound)
    expired(lab, queued)
    lab.serve()
    assert lab.claim(queued).state == ClaimState.EXPIRED
    bound = lab.claim(bound)
    assert (bound.state, bound.release_to) == (ClaimState.RELEASING, ClaimState.EXPIRED)
    lab.look(agent)
    bound = lab.claim(bound)
    assert bound.state == ClaimState.EXPIRED
    assert "its lease ended at" in bound.state_reason
    lab.check_books([agent])


def test_a_claim_bound_shows_its_vgpus_active(lab):
    agent = lab.agent()
    claim = lab.bound(agent, count=2)
    vgpus = lab.vgpus(claim_id=claim.id)
    assert [vgpu.index for vgpu in vgpus] == [0, 1]
    assert {vgpu.state for vgpu in vgpus} == {VgpuState.ACTIVE}
    assert claim.health == ClaimHealth.OK


def add_trait(lab, device, trait):
    """Do what an operator does in Placement, whenever it suits him."""
    placement = lab.made.placement
    placement.create_trait(trait)
    traits, generation = placement.provider_traits(device.id)
    placement.set_provider_traits(device.id, traits | {trait}, generation)


def test_a_trait_that_an_operator_has_just_added_is_known(lab):
    agent = lab.agent()
    device, other = lab.devices(agent)
    add_trait(lab, device, "CUSTOM_RACK_1")
    lab.create(required_traits=("CUSTOM_RACK_1",))
    lab.serve()
    assert lab.vgpus()[0].device_id == device.id
    with pytest.raises(errors.Invalid, match="could never hold it"):
        lab.create(required_traits=("CUSTOM_RACK_1",), devices=(other.id,))


def test_a_trait_that_an_operator_has_just_taken_away_is_not_in_the_way(lab):
    agent = lab.agent(devices=1)
    (device,) = lab.devices(agent)
    placement = lab.made.placement
    traits, _ = placement.provider_traits(device.id)
    add_trait(lab, device, "CUSTOM_NOISY")
    lab.reconcile()
    lab.serve()
    with pytest.raises(errors.Invalid, match="could never hold it"):
        lab.create(forbidden_traits=("CUSTOM_NOISY",))
    placement.set_provider_traits(device.id, traits, placement.provider_traits(device.id)[1])
    assert lab.create(forbidden_traits=("CUSTOM_NOISY",)).state == ClaimState.QUEUED


@pytest.mark.parametrize(("named", "most"), [(4, 3), (60, 11)])
def test_an_impossible_claim_costs_few_requests_however_many_traits_it_names(
    lab, placement, named, most
):
    agent = lab.agent(devices=1)
    (device,) = lab.devices(agent)
    wanted = [f"CUSTOM_{'LONG' * 60}_{number}" for number in range(named)]
    for trait in wanted:
        add_trait(lab, device, trait)
    for trait in ("CUSTOM_NOWHERE", "CUSTOM_GPUPOOL_X"):
        lab.made.placement.create_trait(trait)
    before = len(placement.requests)
    with pytest.raises(errors.Invalid, match="could never hold it"):
        lab.create(required_traits=(*wanted, "CUSTOM_NOWHERE"), forbidden_traits=("CUSTOM_GPUPOOL_X",))
    assert len(placement.requests) - before <= most
    claim = lab.create(required_traits=tuple(wanted), forbidden_traits=("CUSTOM_NOWHERE",))
    lab.serve()
    assert [vgpu.device_id for vgpu in lab.vgpus(claim_id=claim.id)] == [device.id]


def test_no_device_lacks_the_mark_of_devices(lab):
    lab.agent()
    with pytest.raises(errors.Invalid, match="could never hold it"):
        lab.create(forbidden_traits=("CUSTOM_GPUPOOL_DEVICE",))


def test_a_lease_can_be_taken_off(lab):
    agent = lab.agent()
    claim = lab.bound(agent, lease_end=timeutils.utcnow() + timedelta(hours=1))
    assert claim.lease_end is not None
    free = lab.client.update_claim(lab.ctxt, claim.id, ClaimChange(remove_lease=True))
    assert (free.lease_end, free.state) == (None, ClaimState.BOUND)
    both = ClaimChange(remove_lease=True, lease_end=timeutils.utcnow() + timedelta(hours=1))
    with pytest.raises(errors.Invalid, match=r"lease_end is .* and remove_lease is set; allowed: one"):
        lab.client.update_claim(lab.ctxt, claim.id, both)
