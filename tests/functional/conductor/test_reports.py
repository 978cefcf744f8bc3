"""A report without news costs next to nothing, and what is news is never missed."""

from contextlib import contextmanager
from dataclasses import replace

import sqlalchemy as sa

from gpupool.db import host_keys, sessions, vgpus
from gpupool.model.report import VgpuReport
from gpupool.model.states import ClaimState, DeviceHealth
from testbed.simulated_agent import session_report
from tests.functional.conductor.lab import Lab


@contextmanager
def statements(lab):
    """Yield the list of statements that reach the database meanwhile."""
    with lab.database.reader() as session:
        engine = session.get_bind()
    said = []

    def note(_connection, _cursor, statement, *_):
        if not statement.startswith(("BEGIN", "COMMIT")):
            said.append(statement.split()[0])

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def test_a_report_without_news_is_one_read(lab):
    agent = lab.agent()
    lab.bound(agent, count=2)
    lab.look(agent)
    with statements(lab) as said:
        answer = agent.send()
    assert said == ["SELECT"]
    assert {spec.id for spec in answer.vgpus} == {vgpu.id for vgpu in lab.vgpus()}


def test_an_unsigned_report_without_news_is_two_reads(lab):
    """A large deployment may have no other for the days in which its agents are upgraded."""
    lab.conf.set_override("require_signed_reports", False, group="conductor")
    agent = lab.agent()
    claim = lab.bound(agent)
    lab.look(agent)
    with lab.database.writer() as session:
        host_keys.delete_all(session, host_keys.list_(session))
    report = agent.report()
    told = lab.made.signed_reports.take_unsigned(report)
    with statements(lab) as said:
        again = lab.made.signed_reports.take_unsigned(report)
    assert said == ["SELECT"] * 2
    assert again == told
    assert [spec.claim_id for spec in again.vgpus] == [claim.id]
    seen = lab.host(agent).last_seen_at
    lab.clock.wait(lab.conf.conductor.host_timeout / 2)
    lab.made.signed_reports.take_unsigned(report)
    assert lab.host(agent).last_seen_at > seen
    lab.release(claim)
    assert lab.made.signed_reports.take_unsigned(report).vgpus == ()


def test_sessions_that_change_are_few_statements_whatever_their_number(lab):
    agent = lab.agent()
    attachment = lab.attach(lab.bound(agent))
    (vgpu,) = lab.vgpus()
    seen = [session_report(attachment, vgpu, number) for number in range(64)]
    agent.send(replace(agent.report(), sessions=tuple(seen)))
    busy = tuple(replace(each, busy_ns=7) for each in seen)
    with statements(lab) as said:
        agent.send(replace(agent.report(), sessions=busy))
    assert len(said) <= 16
    with lab.database.reader() as session:
        assert [each.busy_ns for each in sessions.list_(session)] == [7] * 64


def test_usage_that_changes_is_few_statements_whatever_the_number_of_vgpus(lab):
    agent = lab.agent()
    lab.bound(agent, compute=1, memory_mib=1, count=20)
    report = agent.report()
    busy = tuple(
        VgpuReport(id=each.id, generation=each.generation, busy_ns=7, memory_used_mib=1)
        for each in report.vgpus
    )
    with statements(lab) as said:
        agent.send(replace(report, vgpus=busy))
    assert {(vgpu.busy_ns, vgpu.memory_used_mib) for vgpu in lab.vgpus()} == {(7, 1)}
    assert said.count("UPDATE") == 2  # The sequence number, and all usage.
    assert len(said) < 12


def test_that_a_host_reports_is_written_now_and_then(lab):
    agent = lab.agent()
    seen = lab.host(agent).last_seen_at
    agent.send()
    assert lab.host(agent).last_seen_at == seen
    lab.clock.wait(lab.conf.conductor.host_timeout / 2)
    agent.send()
    assert lab.host(agent).last_seen_at > seen


def test_what_is_wanted_anew_is_told(lab):
    agent = lab.agent()
    lab.look(agent)
    claim = lab.create()
    lab.serve()
    assert [spec.claim_id for spec in agent.send().vgpus] == [claim.id]


def test_what_another_conductor_heard_is_not_forgotten(lab, placement):
    agent = lab.agent()
    other = Lab(lab.conf, lab.database, placement.client())
    other.close()
    healthy = agent.report()
    agent.send(healthy)
    agent.set_health("ref-0", DeviceHealth.FAILED)
    other.take(agent.report())
    assert lab.devices(agent)[0].health == DeviceHealth.FAILED
    lab.take(healthy)
    assert lab.devices(agent)[0].health == DeviceHealth.OK


def test_what_is_known_is_not_believed_for_ever(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    lab.look(agent)
    (vgpu,) = lab.vgpus()
    with lab.database.writer() as session:
        vgpus.update(session, vgpu.id, busy_ns=5)  # Nobody is told.
    agent.send()
    assert lab.vgpus()[0].busy_ns == 5
    lab.made.cache.forget(agent.host)
    agent.send()
    assert lab.vgpus()[0].busy_ns == 0
    assert lab.claim(claim).state == ClaimState.BOUND


def test_what_placement_did_not_take_is_tried_again(lab, placement):
    placement.go("500 Internal Server Error")
    agent = lab.agent()
    placement.come_back()
    agent.send()
    lab.serve()
    for device in lab.devices(agent):
        assert lab.made.placement.get_provider(device.id) is not None
