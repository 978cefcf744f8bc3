"""A host that lies: what it says stays within bounds, and says nothing of other hosts and projects."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from oslo_context.context import RequestContext

from gpupool.conductor.hosts import report_cache
from gpupool.db import claims, sessions
from gpupool.model import errors, wire
from gpupool.model.envelope import Purpose
from gpupool.model.report import LISTS_MAX, HostReport, SessionReport, VgpuReport
from gpupool.model.states import ClaimState, DeviceHealth
from gpupool.rpc.reports import ReportsClient
from testbed.simulated_agent import SimulatedAgent
from tests.functional.conductor.lab import Lab, new_conf

NOW = datetime(2030, 1, 1)


def session(attachment, vgpu, **said):
    fields = {"program_pid": 1, "worker_pid": 2, "started_at": NOW, **said}
    return SessionReport(id=str(uuid.uuid4()), attachment_id=attachment, vgpu_id=vgpu, **fields)


def attached(lab, agent):
    """Return the ids of an attachment on the host of ``agent``, ready, and of its vGPU."""
    claim = lab.bound(agent, host=agent.host)
    made = lab.attach(claim)
    lab.look(agent)
    (vgpu,) = lab.vgpus(claim_id=claim.id)
    return made.id, vgpu.id


def stored(lab):
    with lab.database.reader() as opened:
        return {(each.attachment_id, each.vgpu_id) for each in sessions.list_(opened)}


def signed(agent, sequence):
    body = json.dumps(wire.dump(agent.report()), sort_keys=True)
    return agent.identity.own.signer.sign(Purpose.REPORT, agent.host, sequence, body)


def test_reports_of_one_host_take_no_threads_of_others(lab, monkeypatch):
    """A host may send a thousand at once, which all wait for its row."""
    hostile, other = lab.agent(), lab.agent()
    begun, let_go = threading.Semaphore(0), threading.Event()
    take = lab.made.reports.take

    def slow(report, said=None):
        if report.host == hostile.host:
            begun.release()
            assert let_go.wait(60)
        return take(report, said)

    monkeypatch.setattr(lab.made.reports, "take", slow)
    messages = [signed(hostile, number) for number in (10**6, 10**6 + 1, 10**6 + 2)]
    client = ReportsClient(lab.transport, 60)
    with ThreadPoolExecutor() as pool:
        sent = [
            pool.submit(client.report, RequestContext(), each)
            for each in messages[: report_cache.AT_ONCE]
        ]
        for _ in sent:
            assert begun.acquire(timeout=60)
        with pytest.raises(
            errors.Unavailable, match=f"2 reports of host {hostile.host} are being taken"
        ):
            client.report(RequestContext(), messages[2])
        other.send()
        let_go.set()
        for each in sent:
            each.result(60)
    client.report(RequestContext(), signed(hostile, 10**6 + 3))


@pytest.fixture
def paced(database, placement):
    """Return a lab that takes a report a second, ten at once, by a clock that the test moves alone."""
    paced = Lab(new_conf(max_reports_per_second=1), database, placement.client())
    now = paced.clock.monotonic()
    paced.clock.monotonic = lambda: now + paced.clock.waited
    yield paced
    paced.close()


def test_a_host_that_reports_too_often_is_told_to_try_later(paced):
    paced.clock.wait(60)
    hostile, other = paced.agent(), paced.agent()
    client = ReportsClient(paced.transport, 60)
    for number in range(int(paced.made.rates._buckets[hostile.host].tokens)):
        client.report(RequestContext(), signed(hostile, 10**6 + number))
    with pytest.raises(errors.Unavailable, match=f"host {hostile.host} reports too often; allowed: 1 a"):
        client.report(RequestContext(), signed(hostile, 10**6 + 40))
    # Of a host that cannot sign nothing counts.
    forged = replace(signed(hostile, 10**6 + 50), host=other.host)
    for _ in range(11):
        with pytest.raises(errors.NotFound):
            client.report(RequestContext(), forged)
    other.send()
    paced.clock.wait(1)
    client.report(RequestContext(), signed(hostile, 10**6 + 100))
    with pytest.raises(errors.Unavailable, match="reports too often"):
        client.report(RequestContext(), signed(hostile, 10**6 + 101))
    # The bucket of a host that reports seldom enough is forgotten.
    paced.clock.wait(60)
    other.send()
    assert paced.made.rates._buckets.keys() == {other.host}


def test_sessions_of_others_are_not_shown(lab):
    """Of another host's attachment; of one's own on another claim's vGPU; of what is not there."""
    mine, other = lab.agent(), lab.agent()
    attachment, vgpu = attached(lab, mine)
    second, second_vgpu = attached(lab, mine)
    foreign, foreign_vgpu = attached(lab, other)
    said = (
        session(attachment, vgpu),
        session(attachment, second_vgpu),
        session(attachment, foreign_vgpu),
        session(foreign, foreign_vgpu),
        session(foreign, vgpu),
        session(str(uuid.uuid4()), vgpu),
    )
    mine.send(replace(mine.report(), sessions=said))
    assert stored(lab) == {(attachment, vgpu)}
    assert second != attachment


def test_vgpus_and_attachments_of_others_stay_as_they_are(lab):
    mine, other = lab.agent(), lab.agent()
    attachment, vgpu = attached(lab, other)
    lies = replace(
        mine.report(),
        vgpus=(VgpuReport(id=vgpu, generation=2**40, error="it burns", memory_used_mib=7, busy_ns=7),),
        attachments=(replace(other.report().attachments[0], error="it burns", generation=2**40),),
    )
    mine.send(lies)
    (row,) = lab.vgpus(id=vgpu)
    assert (row.state, row.memory_used_mib, row.busy_ns) == ("active", 0, 0)
    lab.settle(mine, other)
    assert attachment in other.attachments
    with lab.database.reader() as opened:
        assert claims.get(opened, row.claim_id).state == ClaimState.BOUND


def test_a_vgpu_uses_no_more_than_it_has(lab):
    agent = lab.agent()
    lab.bound(agent)
    ((vgpu_id, spec),) = agent.vgpus.items()
    huge = VgpuReport(id=vgpu_id, generation=spec.generation, memory_used_mib=2**40, busy_ns=2**63 - 1)
    agent.send(replace(agent.report(), vgpus=(huge,)))
    (row,) = lab.vgpus()
    assert (row.memory_used_mib, row.busy_ns) == (512, 2**63 - 1)


def test_no_device_is_taken_for_another_hosts(lab):
    """Host a's device b:c and host a:b's device c would have one id."""
    agent = SimulatedAgent(lab.transport, "a:b", devices=1)
    key = agent.devices.pop("ref-0")
    agent.devices["c"] = replace(key, key="c")
    lab.look(agent)
    liar = SimulatedAgent(lab.transport, "a", devices=1)
    liar.devices = {"b:c": replace(key, key="b:c", memory_mib=1)}
    with pytest.raises(errors.Invalid, match=r"device 'b:c': key; allowed: .* none of them ':'"):
        liar.send()
    (device,) = lab.devices(agent)
    assert device.memory_mib == 4096


def test_host_and_key_fit_into_a_providers_name(lab):
    agent = SimulatedAgent(lab.transport, "h" * 180, devices=1)
    agent.devices = {"k": replace(agent.devices["ref-0"], key="k" * 12)}
    with pytest.raises(errors.Invalid, match="host and key are too long; allowed: 191 together"):
        agent.send()
    agent.devices = {"k": replace(agent.devices["k"], key="k" * 11)}
    lab.look(agent)
    assert [device.in_placement for device in lab.devices(agent)] == [True]


@pytest.mark.parametrize("name", ["gpu_node-1", "x" * 64, "NODE-A", "node.example.", "fe80::1", "9"])
def test_hosts_of_unusual_names_work(lab, name):
    agent = SimulatedAgent(lab.transport, name, devices=1)
    lab.look(agent)
    assert lab.bound(agent, host=name).state == ClaimState.BOUND


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", "a b", "a/b", "größe", "a\n", "\ud800", "x" * 256, "$HOME"]
)
def test_hosts_of_impossible_names_are_refused(lab, name):
    with pytest.raises(errors.Invalid, match=r"^host is '.*allowed: 1 to 255 of A to Z"):
        SimulatedAgent(lab.transport, name).send()


def bad(agent, **changes):
    (device,) = agent.devices.values()
    return replace(agent.report(), devices=(replace(device, **changes),))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda a: replace(a.report(), memory_mib=2**31 - 1),
            "memory_mib is .*; allowed: 0 to 134217728",
        ),
        (
            lambda a: replace(a.report(), cpu_milli=10**9),
            "cpu_milli is 1000000000; allowed: 0 to 100000000",
        ),
        (lambda a: bad(a, memory_mib=-1), "memory_mib is -1; allowed: 0 to 16777216"),
        (lambda a: bad(a, key=""), "key; allowed: at least one character"),
        (
            lambda a: bad(a, traits=tuple(f"CUSTOM_{n}" for n in range(65))),
            "traits are 65; allowed: at most 64",
        ),
        (
            lambda a: bad(a, traits=(f"CUSTOM_GPUPOOL_POOL_{'0' * 8}_0000_4000_8000_{'0' * 12}",)),
            "not allowed: it names a pool",
        ),
        (
            lambda a: replace(a.report(), vgpus=(VgpuReport(id="v", generation=1, busy_ns=-1),)),
            "busy_ns is -1",
        ),
        (
            lambda a: replace(a.report(), vgpus=(VgpuReport(id="v", generation=1, memory_used_mib=-1),)),
            "memory_used_mib is -1",
        ),
        (lambda a: replace(a.report(), vgpus=(VgpuReport(id="v", generation=1),) * 2), "twice: vgpus v"),
        (
            lambda a: replace(a.report(), sessions=(session("a", "v" * 37),)),
            "vgpu_id is 'v+'; allowed: up to 36",
        ),
        (
            lambda a: replace(a.report(), sessions=(session("a", "v", worker_pid=-1),)),
            "worker_pid is -1",
        ),
        (
            lambda a: replace(a.report(), sessions=(session("a", "v", busy_ns=2**63),)),
            "busy_ns is 9223372036854775808",
        ),
        (
            lambda a: replace(
                a.report(), sessions=(session("a", "v", started_at=NOW.replace(tzinfo=UTC)),)
            ),
            "started_at names a zone",
        ),
    ],
)
def test_what_no_host_can_say_is_refused(lab, change, said):
    agent = SimulatedAgent(lab.transport, "host-bad", devices=1)
    with pytest.raises(errors.Invalid, match=said):
        agent.send(change(agent))


def environment(agent, **said):
    report = agent.report()
    return replace(report, attachments=(replace(report.attachments[0], **said),))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"environment": {"LD_LIBRARY_PATH": "/\x9b31m"}},
            "LIBRARY_PATH is '/.x9b31m'; allowed",
        ),
        ({"environment": {"A\u202e": "x"}}, "environment has 'A.u202e'; allowed: GPUPOOL_SOCKET"),
        ({"cdi_device": "\x1b[2J"}, "cdi_device is '.x1b"),
        ({"generation": -1}, "generation is -1"),
    ],
)
def test_what_no_attachment_can_have_is_refused(lab, said, told):
    agent = lab.agent()
    attached(lab, agent)
    with pytest.raises(errors.Invalid, match=told):
        agent.send(environment(agent, **said))


@pytest.mark.parametrize("name", list(LISTS_MAX))
def test_a_report_that_lists_too_much_is_not_read(lab, monkeypatch, name):
    agent = lab.agent()
    most = LISTS_MAX[name]
    plain = {**wire.dump(agent.report()), name: [{}] * (most + 1)}
    load = wire.load

    def never(cls, payload):
        return pytest.fail("it was read") if cls is HostReport else load(cls, payload)

    monkeypatch.setattr(wire, "load", never)
    signed = agent.identity.own.signer.sign(Purpose.REPORT, agent.host, 10**6, json.dumps(plain))
    refused = f"{name} are {most + 1}; allowed: at most {most}"
    with pytest.raises(errors.Invalid, match=refused):
        ReportsClient(lab.transport, 60).report(RequestContext(), signed)
    with pytest.raises(errors.Invalid, match=refused):
        lab.client._call(RequestContext(), "report_host", report=plain)


def test_the_custom_traits_of_a_host_are_bounded_however_often_they_change(lab):
    """Placement keeps each for ever."""
    lab.conf.set_override("max_traits_per_host", 12, group="conductor")
    agent = lab.agent(devices=1)
    (first,) = agent.devices.values()
    taken = 0
    for turn in range(12):
        changed = {"traits": (f"CUSTOM_T{turn}",)} if turn % 2 else {"product": f"Device {turn}"}
        agent.devices = {first.key: replace(first, **changed)}
        try:
            agent.look()
            taken += 1
        except errors.Invalid as exc:
            refused = exc.message
    assert 0 < taken < 12
    assert "would have had 13 different custom traits; allowed: 12, [conductor]" in refused
    assert lab.host(agent).report_error == refused
    made = {trait for trait in lab.made.placement.traits() if trait.startswith("CUSTOM_T")}
    assert len(made) <= taken
    # What they had before they may have again.
    agent.devices = {first.key: first}
    lab.look(agent)
    assert lab.host(agent).report_error == ""
    lab.client.admit_host(lab.ctxt, lab.host(agent).id, agent.identity.own.fingerprint)
    agent.devices = {first.key: replace(first, traits=("CUSTOM_T_NEW",))}
    lab.look(agent)
    assert lab.devices(agent)[0].traits == ("CUSTOM_T_NEW",)


def test_the_devices_of_a_host_are_bounded_however_often_they_change(lab):
    """Each that it ever reported is a row, and a provider in Placement, until an operator deletes it."""
    agent = lab.agent(devices=1)
    most = LISTS_MAX["devices"]
    (first,) = agent.devices.values()

    def fresh(turn):
        found = tuple(replace(first, key=f"{turn}-{number}") for number in range(most))
        return replace(agent.report(), devices=found)

    agent.send(fresh(0))
    refused = r"would have 513 devices, 257 of them missing; allowed: at most 512; .* gpu device delete"
    for turn in range(1, 4):
        with pytest.raises(errors.Invalid, match=refused):
            agent.send(fresh(turn))
    assert len(lab.devices(agent)) == most + 1
    agent.send()
    assert lab.devices(agent)[-1].health == DeviceHealth.OK
