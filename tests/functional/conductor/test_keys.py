"""Whom a conductor believes: introductions, admission, replays, rotation, revocation, upgrades."""

import json
from dataclasses import replace

import oslo_messaging
import pytest
from oslo_context.context import RequestContext

from gpupool.conductor.hosts import admission
from gpupool.conductor.signing_keys import ConductorKeys
from gpupool.db import conductor_keys, devices, host_keys, hosts
from gpupool.model import errors, wire
from gpupool.model.claim import ClaimHealth
from gpupool.model.envelope import Introduction, Purpose
from gpupool.model.host_key import KeyState
from gpupool.model.states import ClaimState, DeviceHealth, HostState
from gpupool.rpc import conductor as rpc
from gpupool.rpc import keys
from gpupool.rpc import reports as rpc_reports
from gpupool.rpc import transport as rpc_transport
from gpupool.rpc.keys import HostKeys
from gpupool.rpc.reports import ReportsClient
from testbed.signing import MemoryIdentity, uplink
from testbed.simulated_agent import SimulatedAgent
from tests.functional.conductor.lab import Lab, new_conf

CTXT = RequestContext()


@pytest.fixture
def manual(database, placement):
    lab = Lab(new_conf(admit_hosts="manual"), database, placement.client())
    yield lab
    lab.close()


@pytest.fixture
def reports(lab):
    return ReportsClient(lab.transport, 60)


def host_of(lab, name):
    with lab.database.reader() as session:
        return hosts.get_by_name(session, name)


def states(lab, name):
    with lab.database.reader() as session:
        return {key.id: key.state for key in host_keys.list_(session, {"host": name})}


def introduce(lab, message):
    return admission.introduce(lab.made.transactions, lab.made.keys, message)


def signed(agent, sequence, report=None, own=None, host=None):
    """Return a report of ``agent`` as a message, signed by its keys or others."""
    body = json.dumps(wire.dump(report or agent.report()), sort_keys=True)
    signer = (own or agent.identity.own).signer
    return signer.sign(Purpose.REPORT, host or agent.host, sequence, body)


def introduction(own, host, **fields):
    signing, sealing = own.public
    said = Introduction(signing_key=signing, sealing_key=sealing, **{"pool": "default", **fields})
    return own.signer.sign(Purpose.INTRODUCTION, host, 1, json.dumps(wire.dump(said)))


def waits(agent, why):
    with pytest.raises(errors.Unavailable, match=why):
        agent.send()


def test_nothing_is_believed_of_a_host_before_it_is_admitted(manual):
    agent = SimulatedAgent(manual.transport, "host-new", devices=1)
    for _ in range(2):
        waits(agent, "host host-new waits to be admitted by key SHA256:.*: openstack gpu host admit")
    assert host_of(manual, "host-new").state == HostState.PENDING
    with manual.database.reader() as session:
        assert not devices.list_(session)
    claim = manual.create()
    manual.serve()
    assert manual.claim(claim).state == ClaimState.QUEUED
    host = host_of(manual, "host-new")
    with pytest.raises(errors.Conflict, match="is none that it introduced; waiting are: SHA256:"):
        manual.client.admit_host(CTXT, host.id, "SHA256:no")
    fingerprint = agent.identity.own.fingerprint
    for _ in range(2):  # Twice is as once.
        assert manual.client.admit_host(CTXT, host.id, fingerprint).state == HostState.DOWN
    manual.settle(agent)
    assert manual.claim(claim).state == ClaimState.BOUND
    assert host_of(manual, "host-new").state == HostState.UP


def test_a_pending_host_can_be_forgotten(manual):
    agent = SimulatedAgent(manual.transport, "host-new")
    waits(agent, "waits to be admitted")
    manual.client.delete_host(CTXT, host_of(manual, "host-new").id)
    assert states(manual, "host-new") == {}


def test_no_host_speaks_for_another(lab, reports):
    victim, liar = lab.agent(), lab.agent()
    lab.bound(victim, host=victim.host)
    before = lab.host(victim)
    answers = [
        # Signed by a key that is admitted, for another host.
        signed(liar, 10**6, host=victim.host),
        signed(liar, 10**6 + 1, victim.report()),
        # With the victim's name and key, and a signature of the liar's.
        replace(signed(liar, 10**6 + 2, victim.report()), key=victim.identity.own.fingerprint),
        signed(victim, 10**6, own=HostKeys.generate()),
    ]
    for message in answers:
        with pytest.raises((errors.Forbidden, errors.NotFound)):
            reports.report(CTXT, message)
    with pytest.raises(errors.Forbidden, match=r"is not signed by|fingerprint"):
        reports.introduce(CTXT, replace(introduction(liar.identity.own, victim.host), host="host-other"))
    assert lab.host(victim) == before


def test_the_answer_is_for_the_host_alone(lab, reports):
    agent = lab.agent()
    claim = lab.bound(agent)
    answer = reports.report(CTXT, signed(agent, 10**6))
    assert (answer.purpose, answer.host, answer.sequence) == (Purpose.DESIRED, agent.host, 10**6)
    keys.verify(answer, lab.made.keys.public()[0])
    assert claim.id not in answer.body
    opened = json.loads(agent.identity.own.open(answer.body, agent.host))
    assert opened["desired"]["vgpus"][0]["claim_id"] == claim.id
    with pytest.raises(errors.Forbidden):
        HostKeys.generate().open(answer.body, agent.host)


def test_a_report_is_taken_once(lab, reports):
    agent = lab.agent()
    other = lab.another()
    broken = agent.report()
    agent.set_health("ref-0", DeviceHealth.FAILED)
    failed = signed(agent, 10**6)
    reports.report(CTXT, failed)
    reports.report(CTXT, signed(agent, 10**6 + 1, broken))
    assert lab.devices(agent)[0].health == DeviceHealth.OK
    for conductor in (lab, other):
        answer = conductor.made.signed_reports.take(failed)
        assert (answer.purpose, answer.body) == (Purpose.STALE, str(10**6 + 1))
    assert lab.devices(agent)[0].health == DeviceHealth.OK


def test_a_report_answered_from_memory_is_answered_once(lab, reports):
    agent = lab.agent()
    lab.look(agent)
    first, second = (signed(agent, 10**6 + number) for number in range(2))
    assert lab.made.signed_reports.take(second).purpose is Purpose.DESIRED
    for message in (second, first):
        assert lab.made.signed_reports.take(message).purpose is Purpose.STALE


def test_what_another_conductor_answered_from_memory_changes_nothing_here(lab):
    """Within a third of host_timeout a copy may be taken by another conductor, and says nothing new."""
    agent = lab.agent()
    other = lab.another()
    quiet = signed(agent, 10**6 + 1)
    lab.made.signed_reports.take(signed(agent, 10**6))
    lab.made.signed_reports.take(quiet)
    before = lab.host(agent), lab.devices(agent)
    other.made.signed_reports.take(quiet)
    assert (lab.host(agent), lab.devices(agent)) == before
    # Once it was taken there, it is old everywhere.
    for conductor in (lab, other):
        assert conductor.made.signed_reports.take(quiet).purpose is Purpose.STALE


def test_a_late_report_is_overruled_by_the_next_one_on_any_conductor(lab):
    """One that was held back, and comes to a conductor that knows of no later one, is news there."""
    agent = lab.agent()
    other = lab.another()
    healthy = agent.report()
    lab.made.signed_reports.take(signed(agent, 10**6, healthy))
    agent.set_health("ref-0", DeviceHealth.FAILED)
    held_back = signed(agent, 10**6 + 1)
    lab.made.signed_reports.take(signed(agent, 10**6 + 2, healthy))
    other.made.signed_reports.take(held_back)
    # From memory the first conductor would answer that nothing is new.
    lab.made.signed_reports.take(signed(agent, 10**6 + 3, healthy))
    assert lab.devices(agent)[0].health == DeviceHealth.OK


def test_a_sign_of_life_makes_what_came_before_it_old(lab):
    agent = lab.agent()
    other = lab.another()
    lab.look(agent)
    copied = signed(agent, 10**6)
    lab.made.signed_reports.take(copied)
    seen = lab.host(agent).last_seen_at
    lab.clock.wait(lab.conf.conductor.host_timeout / 2)
    lab.made.signed_reports.take(signed(agent, 10**6 + 1))
    assert lab.host(agent).last_seen_at > seen
    assert other.made.signed_reports.take(copied).purpose is Purpose.STALE


def test_a_host_stays_up_however_many_conductors_take_turns_with_its_reports(lab):
    agent = lab.agent()
    conductors = [lab, *(lab.another() for _ in range(7))]
    for number in range(24):
        lab.clock.wait(5)
        message = signed(agent, 10**6 + number)
        conductors[number % len(conductors)].made.signed_reports.take(message)
        lab.conductor.watch()
        silent = (lab.clock.now() - lab.host(agent).last_seen_at).total_seconds()
        assert silent < lab.conf.conductor.host_timeout / 2
    assert lab.host(agent).state == HostState.UP


def test_a_host_that_lost_count_goes_on(lab):
    """Its state folder was restored: a conductor tells it, signed, from where."""
    agent = lab.agent()
    agent.identity.sequence = 10**6
    agent.send()
    agent.identity.sequence = 5
    agent.send()
    assert agent.identity.sequence > 10**6


@pytest.mark.parametrize("sequence", [-1, 2**63 - 1, 2**63, 2**80])
def test_a_number_that_nothing_could_follow_is_refused(lab, reports, sequence):
    agent = lab.agent()
    with pytest.raises(errors.Invalid, match=f"sequence is {sequence}; allowed: 0 to"):
        reports.report(CTXT, signed(agent, sequence))


def test_automatic_admits_the_first_key_of_a_name_and_no_other(lab):
    agent = lab.agent()
    before = states(lab, agent.host)
    liar = SimulatedAgent(lab.transport, agent.host)
    waits(liar, "waits to be admitted")
    assert states(lab, agent.host) == {**before, liar.identity.own.fingerprint: KeyState.PENDING}
    agent.send()  # As if nothing were.
    assert lab.host(agent).state == HostState.UP


def test_a_host_that_was_installed_anew_is_admitted_again(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    host = lab.host(agent)
    again = SimulatedAgent(lab.transport, agent.host)
    waits(again, "waits to be admitted")
    lab.client.admit_host(CTXT, host.id, again.identity.own.fingerprint)
    with pytest.raises(errors.Unavailable, match="is revoked"):
        agent.send()
    lab.settle(again)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([again])
    with pytest.raises(errors.Conflict, match="is revoked"):
        lab.client.admit_host(CTXT, host.id, agent.identity.own.fingerprint)


def test_a_key_that_is_revoked_is_never_believed_again(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    host = lab.host(agent)
    assert lab.client.revoke_host(CTXT, host.id).state == HostState.DOWN
    assert lab.host(agent).unable_reason == "its key is revoked"
    assert lab.claim(claim).health == ClaimHealth.HOST_DOWN
    for _ in range(2):
        waits(agent, "is revoked")
    lab.serve()
    assert lab.host(agent).state == HostState.DOWN
    waiting = lab.create()
    lab.serve()
    assert f"host {agent.host} is down: its key is revoked" in lab.claim(waiting).state_detail
    assert agent.host not in lab.claim(waiting).state_reason
    lab.release(waiting)
    lab.release(claim)
    released = lab.claim(claim)
    assert released.state == ClaimState.RELEASING
    assert released.state_reason == f"it waits for hosts that are down: {agent.host}"
    assert released.state_detail.endswith(f"{agent.host}: its key is revoked")
    lab.settle()
    assert (lab.claim(claim).state_reason, lab.claim(claim).state_detail) == ("", "")
    lab.client.delete_host(CTXT, host.id)
    waits(agent, "was not introduced|is revoked")
    assert states(lab, agent.host) == {agent.identity.own.fingerprint: KeyState.REVOKED}
    # Another key of that name waits, though hosts are admitted automatically.
    waits(SimulatedAgent(lab.transport, agent.host), "waits to be admitted")


def test_a_report_that_is_being_taken_while_its_key_is_revoked_is_not(lab, monkeypatch):
    agent = lab.agent()
    message = signed(agent, 10**6, replace(agent.report(), memory_mib=7))
    taken = lab.made.rates.take

    def revoked_meanwhile(name):
        taken(name)
        lab.client.revoke_host(CTXT, lab.host(agent).id)

    monkeypatch.setattr(lab.made.rates, "take", revoked_meanwhile)
    with pytest.raises(errors.Forbidden, match="is revoked"):
        lab.made.signed_reports.take(message)
    assert lab.host(agent).state == HostState.DOWN


def test_a_sign_of_life_with_a_key_that_is_being_revoked_is_none(lab, monkeypatch):
    agent = lab.agent()
    lab.look(agent)
    lab.made.signed_reports.take(signed(agent, 10**6))
    lab.clock.wait(lab.conf.conductor.host_timeout / 2)
    seen = lab.host(agent).last_seen_at
    taken = lab.made.rates.take

    def revoked_meanwhile(name):
        taken(name)
        lab.client.revoke_host(CTXT, lab.host(agent).id)

    monkeypatch.setattr(lab.made.rates, "take", revoked_meanwhile)
    with pytest.raises(errors.Forbidden, match="is revoked"):
        lab.made.signed_reports.take(signed(agent, 10**6 + 1))
    assert lab.host(agent).last_seen_at == seen


def test_a_host_without_keys_can_not_be_revoked_but_says_why(lab):
    lab.conf.set_override("require_signed_reports", False, group="conductor")
    agent = lab.agent()
    host = lab.host(agent)
    with lab.database.writer() as session:
        host_keys.delete_all(session, host_keys.list_(session, {"host": host.name}))
    with pytest.raises(errors.Conflict, match=r"has no key.*require_signed_reports"):
        lab.client.revoke_host(CTXT, host.id)
    assert lab.host(agent).state == HostState.UP


def test_new_keys_take_the_place_of_the_old_ones_without_an_operator(manual):
    agent = SimulatedAgent(manual.transport, "host-new")
    waits(agent, "waits to be admitted")
    before = agent.identity.own
    host = host_of(manual, "host-new")
    manual.client.admit_host(CTXT, host.id, before.fingerprint)
    agent.send()
    agent.identity.following = HostKeys.generate()
    agent.send()
    after = agent.identity.own
    assert states(manual, "host-new") == {after.fingerprint: KeyState.ADMITTED} != before
    agent.identity.own = before
    agent.uplink._keys = before
    waits(agent, "waits to be admitted")


def test_a_succession_is_believed_of_the_present_key_alone(lab, reports):
    agent, other = lab.agent(), lab.agent()
    new = HostKeys.generate()
    own = agent.identity.own.signer
    forged = [
        other.identity.own.signer.sign(Purpose.SUCCESSION, agent.host, 1, new.fingerprint),
        own.sign(Purpose.SUCCESSION, agent.host, 1, HostKeys.generate().fingerprint),
        own.sign(Purpose.SUCCESSION, other.host, 1, new.fingerprint),
        own.sign(Purpose.REPORT, agent.host, 1, new.fingerprint),
        replace(own.sign(Purpose.SUCCESSION, agent.host, 1, new.fingerprint), sequence=2),
    ]
    for succession in forged:
        try:
            reports.introduce(CTXT, introduction(new, agent.host, succession=succession))
        except errors.Forbidden:
            continue
    found = states(lab, agent.host)
    assert found[agent.identity.own.fingerprint] == KeyState.ADMITTED
    assert found.get(new.fingerprint) != KeyState.ADMITTED


def test_a_flood_of_introductions_is_bounded(manual):
    manual.conf.set_override("max_pending_keys", 10, group="conductor")
    for number in range(3 * admission.PENDING_PER_HOST):
        message = introduction(HostKeys.generate(), "host-one")
        last = introduce(manual, message)
        assert last.purpose is Purpose.WELCOME
        assert len(states(manual, "host-one")) <= admission.PENDING_PER_HOST, number
    for number in range(30):
        admission.introduce(
            manual.made.transactions,
            manual.made.keys,
            introduction(HostKeys.generate(), f"host-{number}"),
        )
    with manual.database.reader() as session:
        assert len(host_keys.list_(session)) == 10
        assert len(hosts.list_(session)) == 10
    # Who waits introduces itself again.
    agent = SimulatedAgent(manual.transport, "host-one")
    waits(agent, "waits to be admitted")
    host = host_of(manual, "host-one")
    manual.client.admit_host(CTXT, host.id, agent.identity.own.fingerprint)
    for number in range(30):
        admission.introduce(
            manual.made.transactions,
            manual.made.keys,
            introduction(HostKeys.generate(), f"host-{number}"),
        )
    agent.send()


def test_keys_of_hosts_of_before_do_not_count_as_a_flood(lab):
    """Of more hosts than max_pending_keys all may be upgraded before the first is admitted."""
    lab.conf.set_override("require_signed_reports", False, group="conductor")
    agents = [lab.agent() for _ in range(4)]
    with lab.database.writer() as session:
        host_keys.delete_all(session, host_keys.list_(session))
    lab.conf.set_override("admit_hosts", "manual", group="conductor")
    lab.conf.set_override("max_pending_keys", 2, group="conductor")
    for agent in agents:
        agent.send()
    for number in range(5):
        admission.introduce(
            lab.made.transactions, lab.made.keys, introduction(HostKeys.generate(), f"host-{number}")
        )
    own = {agent.identity.own.fingerprint for agent in agents}
    with lab.database.reader() as session:
        left = {key.id for key in host_keys.list_(session)}
    assert own <= left
    assert len(left - own) == 2


def test_unsigned_reports_are_not_taken(lab):
    agent = lab.agent()
    client = old_client(lab)
    for report in (agent.report(), replace(agent.report(), host="host-new")):
        with pytest.raises(errors.Forbidden, match="is not signed: upgrade its agent"):
            client.call(CTXT, "report_host", report=wire.dump(report))


def old_client(lab):
    """Return what an agent of a version without keys asks by."""
    target = oslo_messaging.Target(topic=rpc.TOPIC, version="1.0")
    return rpc_transport.get_client(lab.transport, target, 60)


def test_while_agents_are_upgraded_hosts_go_on(lab):
    """A host of before goes on unsigned until a key of it is admitted; no new one joins so."""
    lab.conf.set_override("require_signed_reports", False, group="conductor")
    agent = lab.agent()
    claim = lab.bound(agent)
    host = lab.host(agent)
    with lab.database.writer() as session:
        # As if there had never been keys.
        host_keys.delete_all(session, host_keys.list_(session))
        hosts.update(session, host.id, incarnation="")
    client = old_client(lab)
    report = replace(agent.report(), incarnation="")

    def unsigned(what):
        return client.call(CTXT, "report_host", report=wire.dump(what))

    assert unsigned(report)["vgpus"][0]["claim_id"] == claim.id
    for new in ("host-new", "host-x"):
        with pytest.raises(errors.Forbidden, match="is not signed"):
            unsigned(replace(report, host=new))
    # Its agent is upgraded: it goes on by a key that waits.
    lab.conf.set_override("admit_hosts", "manual", group="conductor")
    agent.incarnation = ""
    lab.look(agent)
    fingerprint = agent.identity.own.fingerprint
    assert states(lab, agent.host) == {fingerprint: KeyState.PENDING}
    unsigned(report)
    lab.client.admit_host(CTXT, host.id, fingerprint)
    with pytest.raises(errors.Forbidden, match="is not signed"):
        unsigned(report)
    agent.send()
    lab.client.revoke_host(CTXT, host.id)
    with pytest.raises(errors.Forbidden, match="is not signed"):
        unsigned(report)


def test_what_is_told_is_believed_of_conductors_alone(lab):
    agent = lab.agent()
    desired = agent.send()
    with lab.database.reader() as session:
        (key,) = host_keys.list_(session, {"host": agent.host})
    told = lab.made.keys.look(desired, key)
    assert agent.uplink.open(told) == desired
    private, public = keys.new_signing_key()
    other = keys.conductor_signer(private, public)
    forged = [
        replace(told, sequence=told.sequence + 1),
        replace(told, host="host-b"),
        replace(told, key=public),
        replace(told, purpose=Purpose.DESIRED),
        other.sign(Purpose.LOOK, agent.host, told.sequence, told.body),
        agent.identity.own.signer.sign(Purpose.LOOK, agent.host, told.sequence, told.body),
        # Signed by a conductor, for another generation than it says.
        lab.made.keys.sign(Purpose.LOOK, agent.host, told.sequence + 1, told.body),
        lab.made.keys.sign(Purpose.LOOK, agent.host, told.sequence, "AAAA"),
    ]
    assert [agent.uplink.open(each) for each in forged] == [None] * len(forged)


def test_an_agent_follows_conductors_to_their_next_key(lab):
    agent = lab.agent()

    def change(what):
        with lab.database.writer() as session:
            what(session)
        lab.made.keys._loaded = None
        lab.made.cache.forget(agent.host)

    change(lambda session: conductor_keys.add(session, *keys.new_signing_key()))
    first, second = lab.made.keys.public()
    agent.send()
    assert agent.identity.conductor_keys == (first, second)
    change(lambda session: conductor_keys.remove(session, first))
    agent.send()
    assert agent.identity.conductor_keys == (second,)
    # A conductor of a key that was never named is none.
    change(lambda session: conductor_keys.add(session, *keys.new_signing_key()))
    change(lambda session: conductor_keys.remove(session, second))
    waits(agent, "no conductor's key that this host trusts")
    pinned = SimulatedAgent(lab.transport, agent.host)
    pinned.uplink._pinned, pinned.uplink._trusted = True, (second,)
    waits(pinned, "no conductor's key that this host trusts")


def test_the_only_conductor_key_stays(lab):
    (only,) = lab.made.keys.public()
    with lab.database.writer() as session:
        with pytest.raises(errors.Conflict, match="it is the only conductor key"):
            conductor_keys.remove(session, only)
        with pytest.raises(errors.NotFound):
            conductor_keys.remove(session, "none")
    assert ConductorKeys(lab.database).public() == (only,)


def test_an_answer_to_another_question_is_none(lab, reports, monkeypatch):
    agent = lab.agent()
    kept = reports.report(CTXT, signed(agent, 10**6))
    monkeypatch.setattr(agent.uplink._conductor, "report", lambda *_: kept)
    waits(agent, "an answer to message 1000000")


@pytest.mark.parametrize("body", ["", "[]", "[" * 10**5, "{}", "nothing", '{"host": 1}'])
def test_what_is_no_report_is_refused(lab, reports, body):
    agent = lab.agent()
    message = agent.identity.own.signer.sign(Purpose.REPORT, agent.host, 10**6, body)
    with pytest.raises(errors.Invalid):
        reports.report(CTXT, message)
    agent.send()


@pytest.mark.parametrize("name", ["\0", "\ud800", "x" * 10**5], ids=["NUL", "half a pair", "long"])
def test_names_that_no_database_takes_are_refused(lab, name):
    """Anybody may send them; a database's own error would be a traceback in the log."""
    agent = lab.agent()
    with pytest.raises(errors.Invalid, match=r"key is '.*'; allowed: a fingerprint"):
        lab.made.signed_reports.take(replace(signed(agent, 10**6), key=name))
    own = HostKeys.generate()
    with pytest.raises(errors.Invalid, match=r"pool is '.*'; allowed|body has .* characters; allowed"):
        admission.introduce(
            lab.made.transactions, lab.made.keys, introduction(own, "host-new", pool=name)
        )


@pytest.mark.parametrize("message", [None, [], "report", 7])
def test_a_message_that_is_no_object_is_refused(lab, message):
    target = rpc_transport.agents_target(lab.transport, rpc_reports.TOPIC, version="1.0")
    client = rpc_transport.get_client(lab.transport, target, 60)
    with pytest.raises(errors.Invalid, match=r"Envelope is .*; allowed: an object"):
        client.call(CTXT, "report", message=message)


def test_agents_reach_reports_and_nothing_else(lab):
    target = rpc_transport.agents_target(lab.transport, rpc_reports.TOPIC)
    client = rpc_transport.get_client(lab.transport, target, 60)
    for method in ("release_claim", "create_claim", "admit_host", "report_host", "delete_host"):
        with pytest.raises(oslo_messaging.NoSuchMethod):
            client.call(CTXT, method, claim_id="x")


def test_one_identity_reports_by_many_uplinks(lab):
    """An agent that starts again goes on with what its folder says."""
    identity = MemoryIdentity()
    agent = SimulatedAgent(lab.transport, "host-again")
    for _ in range(3):
        uplink(lab.transport, "host-again", identity=identity).report_host(CTXT, agent.report())
    assert identity.conductor_keys == lab.made.keys.public()
