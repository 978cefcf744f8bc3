"""Hosts and devices: reports, silence, and what the operator wants."""

import uuid
from dataclasses import replace

import pytest
from oslo_utils import timeutils

from gpupool.db import devices, hosts, sessions
from gpupool.model import errors
from gpupool.model.claim import ClaimHealth, Layout
from gpupool.model.pool import Pool
from gpupool.model.reason import DETAIL_MAX
from gpupool.model.report import SessionReport
from gpupool.model.states import ClaimState, DeviceHealth, HostState, VgpuState
from testbed.simulated_agent import SimulatedAgent
from tests.functional.conductor.lab import Lab


def inventory(lab, device):
    return lab.made.placement.inventories(device.id)[0]["CUSTOM_GPUPOOL_COMPUTE"]


def test_a_report_makes_host_devices_and_providers(lab):
    agent = lab.agent(devices=1)
    host = lab.host(agent)
    assert (host.state, host.simulated, host.agent_version) == (HostState.UP, True, "simulated")
    (device,) = lab.devices(agent)
    assert (device.key, device.memory_mib, device.health) == ("ref-0", 4096, DeviceHealth.OK)
    assert inventory(lab, device).total == 100
    assert host.pool_id in lab.made.placement.aggregates(device.id)[0]


def test_a_report_without_news_costs_placement_nothing(lab, placement):
    agent = lab.agent()
    placement.requests.clear()
    agent.look()
    lab.serve()
    assert placement.requests == []


def test_what_one_conductor_wrote_to_placement_another_does_not_read(lab, placement):
    agent = lab.agent()
    other = Lab(lab.conf, lab.database, placement.client())
    other.close()
    placement.requests.clear()
    other.take(agent.report())
    other.serve()
    assert placement.requests == []
    other.reconcile()
    placement.requests.clear()
    other.reconcile()
    reads = [each for each in placement.requests if each.split()[0] != "GET"]
    assert reads == []
    assert len(placement.requests) < 10  # Generations say that there is no more to read.


def test_the_compute_node_is_the_parent(lab):
    root = str(uuid.uuid4())
    lab.made.placement.create_provider(root, f"node-{root}", None)
    agent = SimulatedAgent(lab.transport, f"host-{root}", devices=1)
    agent.hypervisor = f"node-{root}"
    lab.look(agent)
    (device,) = lab.devices(agent)
    assert lab.made.placement.get_provider(device.id).parent_id == root
    lab.reconcile()
    assert lab.made.placement.get_provider(device.id).parent_id == root


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pool": "no-such"}, "pool no-such does not exist; there are: default"),
        ({"host": " "}, "host is ' '; allowed: 1 to 255 of A to Z"),
        ({"host": "a/b"}, "host is 'a/b'; allowed: 1 to 255 of A to Z"),
    ],
)
def test_a_bad_introduction_changes_nothing(lab, change, said):
    agent = SimulatedAgent(lab.transport, "host-bad")
    for name, value in change.items():
        setattr(agent.uplink, f"_{name}", value)  # No configuration names such a host.
    with pytest.raises(errors.Invalid, match=said):
        agent.send()
    with lab.database.reader() as session:
        assert not hosts.list_(session)


@pytest.mark.parametrize("generation", [-1, 2**63, 2**80])
def test_a_generation_that_can_not_be_is_refused(lab, generation):
    agent = SimulatedAgent(lab.transport, "host-bad")
    agent.generation = generation
    with pytest.raises(errors.Invalid, match=f"generation is {generation}; allowed: 0 to "):
        agent.send()
    with lab.database.reader() as session:
        assert not devices.list_(session)


@pytest.mark.parametrize(
    "text", ["\ud800", "\0", "line\nbreak", "\x9b31m", "a\u202eb", "\u200b", "x" * 256]
)
@pytest.mark.parametrize("field", ["hypervisor_hostname", "agent_version"])
def test_names_that_nobody_can_store_are_refused(lab, field, text):
    agent = SimulatedAgent(lab.transport, "host-bad")
    with pytest.raises(errors.Invalid, match=f"{field} is .*; allowed: up to 255 characters") as caught:
        agent.send(replace(agent.report(), **{field: text}))
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("field", "bad", "said"),
    [
        ("key", "\x01/../x", "key is .*; allowed: up to 255 characters"),
        ("vendor", "\u2066", "vendor is .*; allowed: up to 255 characters"),
        ("product", "\ud800", "product is .*; allowed: up to 255 characters"),
        ("traits", ("CUSTOM_\ud800",), "trait .*; allowed: A to Z, 0 to 9 and _"),
        ("traits", ("custom",), "trait .*; allowed: A to Z, 0 to 9 and _"),
        ("memory_mib", 2**31, f"memory_mib is {2**31}; allowed: 0 to {2**24}"),
    ],
)
def test_what_no_device_can_be_is_refused(lab, field, bad, said):
    agent = SimulatedAgent(lab.transport, "host-bad", devices=1)
    device = replace(agent.devices["ref-0"], **{field: bad})
    with pytest.raises(errors.Invalid, match=said):
        agent.send(replace(agent.report(), devices=(device,)))


def test_an_error_text_of_any_kind_is_an_error(lab):
    """The report has to be taken: it may come from a path that is no text, and be long."""
    agent = lab.agent()
    claim = lab.create()
    lab.serve()
    agent.apply(agent.send())
    agent.error = "no such file: \ud800\0" + "x" * 10**5
    agent.send()
    reason, detail = lab.claim(claim).state_reason, lab.claim(claim).state_detail
    assert "no such file: \\ud800\\x00xxx" in reason
    assert len(reason) < 2000
    assert detail.startswith(f"host {agent.host}: no such file: \\ud800\\x00xxx")
    assert len(detail) == DETAIL_MAX


def test_a_device_that_fails_shows_on_its_claims(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    other = lab.bound(agent, count=2)
    (vgpu,) = lab.vgpus(claim_id=claim.id)
    key = next(device.key for device in lab.devices(agent) if device.id == vgpu.device_id)
    agent.set_health(key, DeviceHealth.FAILED)
    agent.send()
    shown = lab.claim(claim)
    assert (shown.state, shown.health) == (ClaimState.BOUND, ClaimHealth.DEVICE_FAILED)
    assert lab.claim(other).health == ClaimHealth.DEVICE_FAILED
    agent.set_health(key, DeviceHealth.OK)
    agent.send()
    assert lab.claim(claim).health == ClaimHealth.OK
    gone = agent.devices.pop(key)
    agent.send()
    assert lab.claim(claim).health == ClaimHealth.DEVICE_FAILED
    lab.silence(agent)
    lab.serve()
    assert lab.claim(claim).health == ClaimHealth.HOST_DOWN
    agent.send()
    assert lab.claim(claim).health == ClaimHealth.DEVICE_FAILED
    agent.devices[key] = gone
    agent.send()
    assert lab.claim(claim).health == ClaimHealth.OK


def test_one_host_that_can_not_be_served_does_not_keep_the_others(lab, monkeypatch):
    bad = SimulatedAgent(lab.transport, "host-bad")
    bad.send()
    bad_id = lab.host(bad).id
    follow = lab.made.inventory.follow

    def poisoned(host, pool, devices):
        if host.id == bad_id:
            raise UnicodeEncodeError("utf-8", "", 0, 1, "poison")
        follow(host, pool, devices)

    monkeypatch.setattr(lab.made.inventory, "follow", poisoned)
    good = SimulatedAgent(lab.transport, "host-good", devices=1)
    good.send()
    claim = lab.create(host=good.host)
    lab.serve()
    lab.look(good)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.settle(good)
    lab.check_books([good])


def test_a_device_twice_or_less_than_nothing_is_refused(lab):
    agent = SimulatedAgent(lab.transport, "host-bad")
    report = agent.report()
    with pytest.raises(errors.Invalid, match="reports twice: device ref-0, ref-1"):
        agent.send(replace(report, devices=report.devices * 2))
    shrunk = replace(report.devices[0], memory_mib=-1)
    with pytest.raises(errors.Invalid, match="device ref-0: memory_mib is -1; allowed: 0 to"):
        agent.send(replace(report, devices=(shrunk,)))
    with lab.database.reader() as session:
        assert not devices.list_(session)


def test_the_same_report_twice_changes_nothing(lab):
    agent = lab.agent()
    lab.bound(agent, count=2)
    before = (lab.host(agent).generation, lab.vgpus(), lab.allocated())
    first, second = agent.send(), agent.send()
    assert first == second
    lab.serve()
    assert (lab.host(agent).generation, lab.vgpus(), lab.allocated()) == before


def test_a_late_report_of_before_does_not_end_a_vgpu(lab):
    """Out of order: what a host had before it made a vGPU says nothing of the vGPU."""
    agent = lab.agent()
    old = agent.report()
    claim = lab.bound(agent)
    lab.release(claim)
    agent.send(old)
    lab.serve()
    assert lab.claim(claim).state == ClaimState.RELEASING
    assert len(lab.allocated()) == 1
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED


def test_a_late_report_of_a_vgpu_does_not_bring_it_back(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    old = agent.report()
    lab.release(claim)
    lab.look(agent)
    agent.send(old)
    lab.serve()
    assert not lab.vgpus()
    assert not lab.allocated()
    agent.look()
    assert not agent.vgpus


def test_an_error_of_an_older_generation_is_old(lab):
    agent = lab.agent()
    claim = lab.create()
    lab.serve()
    desired = agent.send()
    agent.apply(desired)
    agent.error = "failed"
    (report,) = agent.report().vgpus
    stale = replace(report, generation=report.generation - 1)
    agent.send(replace(agent.report(), vgpus=(stale,)))
    assert lab.claim(claim).state == ClaimState.BINDING
    (vgpu,) = lab.vgpus()
    assert vgpu.state == VgpuState.PLANNED


def test_a_host_that_was_forgotten_begins_a_new_incarnation(lab):
    agent = lab.agent()
    agent.generation, agent.incarnation = 41, "of before"
    lab.look(agent)
    lab.bound(agent)
    assert agent.generation == lab.host(agent).generation < 41
    assert agent.incarnation == lab.host(agent).incarnation


@pytest.mark.parametrize("generation", [5, 2**48 + 1, 2**53, 2**62])
def test_a_generation_that_was_never_given_counts_for_nothing(lab, generation):
    """A host that lies, or a database that was restored: neither stops the host for ever."""
    agent = lab.agent()
    claim = lab.bound(agent)
    before = lab.host(agent)
    agent.generation = before.generation + generation - 1
    agent.send()
    after = lab.host(agent)
    assert after.generation == before.generation
    assert after.applied_generation == 0
    assert after.incarnation != before.incarnation
    lab.settle(agent)
    assert lab.host(agent).applied_generation == agent.generation == before.generation
    other = lab.bound(agent)
    assert {lab.claim(each).state for each in (claim, other)} == {ClaimState.BOUND}
    lab.check_books([agent])


def test_no_host_puts_its_devices_below_another_s_compute_node(lab):
    victim, liar = lab.agent(), lab.agent()
    liar.hypervisor = victim.host
    with pytest.raises(errors.Invalid, match=f"is '{victim.host}', which is another host"):
        liar.send()
    new = SimulatedAgent(lab.transport, f"new-{liar.host}")
    new.hypervisor = victim.host
    with pytest.raises(errors.Invalid, match=f"is '{victim.host}', which is another host"):
        new.send()


def test_the_compute_node_is_fixed_when_a_host_is_admitted(lab):
    agent = SimulatedAgent(lab.transport, f"host-{uuid.uuid4().hex[:8]}")
    agent.hypervisor = "node-1"
    lab.look(agent)
    assert lab.host(agent).compute_node == "node-1"
    agent.hypervisor = "node-2"
    with pytest.raises(errors.Invalid, match="is 'node-2'; allowed: node-1, which host"):
        agent.send()
    host = lab.host(agent)
    assert host.report_error.startswith("hypervisor_hostname is 'node-2'; allowed: node-1")
    agent.hypervisor = "node-1"
    agent.send()
    assert lab.host(agent).report_error == ""
    agent.hypervisor = "node-2"
    lab.client.admit_host(lab.ctxt, host.id, agent.identity.own.fingerprint)
    lab.look(agent)
    assert (lab.host(agent).compute_node, lab.host(agent).report_error) == ("node-2", "")


def test_a_refusal_is_written_once(lab):
    agent = lab.agent()
    agent.hypervisor = "node-2"
    with pytest.raises(errors.Invalid):
        agent.send()
    before = lab.host(agent)
    with pytest.raises(errors.Invalid):
        agent.send()
    assert lab.host(agent) == before


def test_a_device_of_more_memory_than_there_is_draws_no_claims(lab):
    agent = SimulatedAgent(lab.transport, "host-bad", devices=1, memory_mib=2**23)
    with pytest.raises(errors.Invalid, match=f"memory_mib is {2**23}; allowed: 0 to {2**22}"):
        agent.send()
    with lab.database.reader() as session:
        assert not devices.list_(session)


def test_usage_and_sessions_are_shown(lab):
    agent = lab.agent()
    attachment = lab.attach(lab.bound(agent))
    (vgpu,) = lab.vgpus()
    seen = SessionReport(
        id=str(uuid.uuid4()),
        attachment_id=attachment.id,
        vgpu_id=vgpu.id,
        program_pid=100,
        worker_pid=101,
        started_at=timeutils.utcnow(),
    )
    report = agent.report()
    used = replace(report.vgpus[0], memory_used_mib=77, busy_ns=10**9)
    for _ in range(2):
        agent.send(replace(report, vgpus=(used,), sessions=(seen,)))
        (vgpu,) = lab.vgpus()
        assert (vgpu.memory_used_mib, vgpu.busy_ns) == (77, 10**9)
        host = lab.host(agent)
        with lab.database.reader() as session:
            (stored,) = sessions.list_(session, {"host_id": host.id})
        assert (stored.id, stored.program_pid) == (seen.id, 100)
    agent.send()
    with lab.database.reader() as session:
        assert not sessions.list_(session)


def test_a_silent_host_is_down_and_its_claims_show_it(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    lab.silence(agent)
    lab.serve()
    assert lab.host(agent).state == HostState.DOWN
    shown = lab.claim(claim)
    assert (shown.state, shown.health) == (ClaimState.BOUND, ClaimHealth.HOST_DOWN)
    waiting = lab.create()
    lab.serve()
    assert lab.claim(waiting).state == ClaimState.QUEUED
    lab.look(agent)
    assert lab.host(agent).state == HostState.UP
    assert lab.claim(claim).health == ClaimHealth.OK
    lab.look(agent)
    assert lab.claim(waiting).state == ClaimState.BOUND


def test_a_conductor_that_just_started_calls_nobody_silent(lab):
    agent = lab.agent()
    lab.clock.wait(3600)
    lab.serve()
    assert lab.host(agent).state == HostState.UP


def test_a_claim_binding_on_a_host_that_goes_down_is_queued_again(lab):
    agent = lab.agent()
    claim = lab.create()
    lab.serve()
    lab.silence(agent)
    lab.serve()
    lab.reconcile()
    lab.reconcile()
    waiting = lab.claim(claim)
    assert waiting.state == ClaimState.QUEUED
    went_down = "its host went down before it was bound; it starts anew"
    assert waiting.state_reason == f"it waits again because {went_down}"
    assert waiting.state_detail.endswith(f"host {agent.host} went down")
    assert not lab.allocated()


def test_a_claim_released_on_a_host_that_is_down_ends(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    lab.silence(agent)
    lab.serve()
    lab.release(claim)
    lab.reconcile()
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert not lab.allocated()
    lab.look(agent)
    assert not agent.vgpus


def test_a_device_that_fails_or_is_missing_takes_nothing_new(lab):
    agent = lab.agent()
    first, second = lab.devices(agent)
    agent.set_health("ref-0", DeviceHealth.FAILED)
    gone = agent.devices.pop("ref-1")
    lab.look(agent)
    assert [device.health for device in lab.devices(agent)] == ["failed", "missing"]
    for device in (first, second):
        assert inventory(lab, device).reserved == 100
    claim = lab.create()
    lab.serve()
    assert lab.claim(claim).state_reason == (
        "none of the 2 devices that it could have is in service: 2 disabled or failed"
    )
    agent.devices["ref-1"] = gone
    lab.look(agent)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    assert lab.vgpus()[0].device_id == second.id


def test_a_disabled_host_takes_nothing_new_and_keeps_what_it_has(lab):
    agent, other = lab.agent(devices=1), lab.agent(devices=1)
    host, (device,) = lab.host(agent), lab.devices(agent)
    claim = lab.bound(agent, host=agent.host)
    planned = lab.create()
    disabled = lab.client.set_host_enabled(lab.ctxt, host.id, False, "fan")
    assert (disabled.enabled, disabled.disabled_reason) == (False, "fan")
    # A claim that was planned before the host was disabled, and is bound now, is refused.
    assert isinstance(lab.bind([planned], device.id)[planned.id], errors.Conflict)
    lab.settle(agent, other)
    assert lab.claim(claim).state == ClaimState.BOUND
    assert agent.vgpus.keys() == {vgpu.id for vgpu in lab.vgpus(claim_id=claim.id)}
    assert {vgpu.host_id for vgpu in lab.vgpus(claim_id=planned.id)} == {lab.host(other).id}
    waiting = lab.create(host=agent.host)
    lab.serve()
    assert lab.claim(waiting).state == ClaimState.QUEUED
    said = f"host {agent.host} takes no new vGPUs: disabled by an operator: fan"
    assert said in lab.claim(waiting).state_detail
    # Nova places nothing there either.
    assert inventory(lab, device).reserved == 100
    # Whatever its host says, and if it comes back from the dead: it stays disabled.
    agent.cpu_milli = 8000
    lab.look(agent)
    lab.silence(agent)
    lab.serve()
    lab.look(agent)
    assert (lab.host(agent).state, lab.host(agent).enabled) == (HostState.UP, False)
    assert lab.claim(waiting).state == ClaimState.QUEUED
    enabled = lab.client.set_host_enabled(lab.ctxt, host.id, True, "")
    assert (enabled.enabled, enabled.disabled_reason) == (True, "")
    lab.settle(agent, other)
    assert lab.claim(waiting).state == ClaimState.BOUND
    assert inventory(lab, device).reserved == 0
    with pytest.raises(errors.NotFound):
        lab.client.set_host_enabled(lab.ctxt, "no-such", True, "")


def test_a_device_of_an_enabled_host_stays_disabled(lab):
    agent = lab.agent(devices=1)
    host, (device,) = lab.host(agent), lab.devices(agent)
    lab.client.set_device_enabled(lab.ctxt, device.id, False, "")
    for enabled in (False, True):
        lab.client.set_host_enabled(lab.ctxt, host.id, enabled, "")
        lab.settle(agent)
        assert inventory(lab, device).reserved == 100
    assert lab.devices(agent)[0].enabled is False


def test_a_disabled_device_takes_nothing_new_and_keeps_what_it_has(lab):
    agent = lab.agent(devices=1)
    claim = lab.bound(agent)
    (device,) = lab.devices(agent)
    disabled = lab.client.set_device_enabled(lab.ctxt, device.id, False, "fan")
    assert (disabled.enabled, disabled.disabled_reason) == (False, "fan")
    waiting = lab.create()
    lab.look(agent)
    assert inventory(lab, device).reserved == 100
    assert lab.claim(claim).state == ClaimState.BOUND
    assert lab.claim(waiting).state == ClaimState.QUEUED
    enabled = lab.client.set_device_enabled(lab.ctxt, device.id, True, "")
    assert (enabled.enabled, enabled.disabled_reason) == (True, "")
    lab.serve()
    lab.look(agent)
    assert lab.claim(waiting).state == ClaimState.BOUND
    with pytest.raises(errors.NotFound, match="device no-such not found"):
        lab.client.set_device_enabled(lab.ctxt, "no-such", True, "")


def test_a_host_moves_to_another_pool_when_it_is_empty(lab):
    agent = lab.agent(devices=1)
    claim = lab.bound(agent)
    pool = lab.client.create_pool(lab.ctxt, Pool(id=str(uuid.uuid4()), name="other"))
    host = lab.host(agent)
    with pytest.raises(errors.Conflict, match=f"host {agent.host} still has 1 vGPUs"):
        lab.client.set_host_pool(lab.ctxt, host.id, pool.id)
    assert lab.host(agent).pool_id == host.pool_id
    # Where it is already: nothing moves, so nothing is in the way.
    before = lab.host(agent)
    assert lab.client.set_host_pool(lab.ctxt, host.id, host.pool_id).revision == before.revision
    lab.release(claim)
    lab.look(agent)
    assert lab.client.set_host_pool(lab.ctxt, host.id, pool.id).pool_id == pool.id
    lab.serve()
    (device,) = lab.devices(agent)
    assert lab.made.placement.aggregates(device.id)[0] == {pool.id}
    with pytest.raises(errors.NotFound, match="pool no-such not found"):
        lab.client.set_host_pool(lab.ctxt, host.id, "no-such")
    lab.look(agent)
    assert lab.host(agent).pool_id == pool.id


def test_a_host_is_deleted_when_it_is_down_and_empty(lab):
    agent = lab.agent(devices=1)
    claim = lab.bound(agent)
    host, (device,) = lab.host(agent), lab.devices(agent)
    with pytest.raises(errors.Conflict, match="is up; stop its agent"):
        lab.client.delete_host(lab.ctxt, host.id)
    lab.silence(agent)
    lab.serve()
    with pytest.raises(errors.Conflict, match="still has 1 vGPUs"):
        lab.client.delete_host(lab.ctxt, host.id)
    assert lab.made.placement.get_provider(device.id) is not None
    lab.release(claim)
    lab.reconcile()
    lab.client.delete_host(lab.ctxt, host.id)
    assert lab.made.placement.get_provider(device.id) is None
    with pytest.raises(errors.NotFound):
        lab.client.delete_host(lab.ctxt, host.id)
    lab.look(agent)  # It reports again: it is new.
    assert lab.host(agent).state == HostState.UP
    assert lab.made.placement.get_provider(device.id) is not None


def test_nothing_is_kept_in_memory_of_a_host_that_was_deleted(lab):
    agent, other = lab.agent(), lab.agent()
    for each in (agent, other):
        lab.look(each)
    host = lab.host(agent)
    inventory, reported = lab.made.inventory, lab.made.cache
    for device in lab.devices(agent):
        inventory.saw_foreign(device.id, {"instance": {"CUSTOM_GPUPOOL_COMPUTE": 5}})
    lab.silence(agent)
    lab.serve()
    lab.client.delete_host(lab.ctxt, host.id)
    devices_left = {device.id for device in lab.devices(other)}
    for kept in (inventory._written, inventory._verified, inventory._traits):
        assert kept.keys() == devices_left
    assert inventory._foreign == {}
    # What it reported goes when it is believed no more, on every conductor that heard it.
    assert agent.host in reported._known
    reported._timeout = 0
    reported._known = {name: replace(each, until=0.0) for name, each in reported._known.items()}
    lab.look(other)
    assert reported._known.keys() == {other.host}


def provider_reads(placement):
    return [each for each in placement.requests if each.startswith("GET /resource_providers/")]


def test_providers_whose_allocations_this_conductor_wrote_are_not_read_again(lab, placement):
    agent = lab.agent()
    lab.reconcile()
    first, second = lab.create(), lab.create(count=2, layout=Layout.SPREAD)
    lab.serve()
    lab.look(agent)
    placement.requests.clear()
    lab.reconcile()
    # What they hold is compared, each by one request.
    assert {each.rpartition("/")[2] for each in provider_reads(placement)} == {"allocations"}
    for claim in (first, second):
        lab.release(claim)
    lab.look(agent)
    placement.requests.clear()
    lab.reconcile()
    assert {each.rpartition("/")[2] for each in provider_reads(placement)} == {"allocations"}


def test_a_change_beside_an_allocation_of_ours_is_found(lab, placement):
    agent = lab.agent(devices=1)
    lab.reconcile()
    (device,) = lab.devices(agent)
    inventories, _ = lab.made.placement.inventories(device.id)
    claim = lab.bound(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.reserve(device.id)
    lab.reconcile()
    assert lab.made.placement.inventories(device.id)[0] == inventories


def test_a_provider_that_could_not_be_written_is_written_later_whatever_was_allocated(lab, placement):
    """An agent reports a failed device with a trait that no provider of ours may have."""
    agent = lab.agent(devices=1)
    lab.reconcile()
    lab.bound(agent)
    before = agent.devices["ref-0"]
    agent.devices["ref-0"] = replace(before, traits=("OWNER_NOVA",), health=DeviceHealth.FAILED)
    lab.look(agent)
    lab.reconcile()
    (device,) = lab.devices(agent)
    # As a request of this conductor does that allocates something on it.
    with lab.made.inventory.granting([device.id]):
        pass
    assert device.id not in lab.made.inventory._verified
    placement.requests.clear()
    lab.reconcile()
    agent.devices["ref-0"] = replace(before, health=DeviceHealth.FAILED)
    lab.look(agent)
    lab.reconcile()
    inventories, _ = lab.made.placement.inventories(device.id)
    assert all(each.reserved == each.total for each in inventories.values())
