"""Sessions: opened by programs, ended with them, with their vGPU, their attachment; never by others."""

import dataclasses
import errno
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpupool.agent import process, server
from gpupool.agent.limited_log import LimitedLog
from gpupool.agent.session import SessionRecord
from gpupool.agent.supervisor import Supervisor
from gpupool.conductor.hosts import report_validation
from gpupool.dataplane.handshake import Error, Kind
from gpupool.dataplane.ledger import BUSY_MAX, HEADER, SLOT, Ledger

from .stand_in import TICKET, Program, attachment, eventually, vgpu

ONE, TWO = vgpu(1), vgpu(2, compute=50, memory_mib=100, device="ref-1")
BOTH = attachment(1, TWO, ONE)
OTHER = attachment(2, ONE)


@pytest.fixture
def manager(host):
    host.conductor.want(1, [ONE, TWO], [BOTH, OTHER])
    manager = host.start()
    host.wait_converged(1)
    return manager


def opened(host, wanted=BOTH, ordinal=0):
    program = host.program(wanted)
    assert program.hello(Kind.OPEN, ordinal).error == 0
    assert program.wait_ready() == 0
    return program


def test_a_program_learns_its_devices_in_order(host, manager):
    for kind, ids in ((Kind.VGPUS, [TWO.id, ONE.id]), (Kind.LIST, ["", ""])):
        devices = host.program(BOTH).hello(kind).devices
        assert [(one.compute, one.memory_mib) for one in devices] == [(50, 100), (25, 512)]
        assert [one.id for one in devices] == ids
    assert not host.session_records()


def test_a_program_opens_a_session_and_ends_it_by_leaving(host, manager):
    program = opened(host)
    (session,) = manager.host_report().sessions
    assert (session.attachment_id, session.vgpu_id) == (BOTH.id, TWO.id)
    assert session.program_pid == os.getpid()
    assert process.start_of(session.worker_pid)
    program.close()
    eventually(lambda: not host.session_records())
    assert not process.start_of(session.worker_pid)
    assert not manager.host_report().sessions


def test_a_report_can_be_taken_whatever_a_worker_wrote_into_its_ledger(host, manager):
    opened(host)
    ledger = Ledger(host.folders.ledgers / TWO.id)
    slots = ledger.slots()
    with ledger.path.open("r+b") as file:
        file.seek(HEADER.size)
        file.write(b"\xff" * SLOT.size * slots)
    report = manager.host_report()
    report_validation.check(report, most_memory_mib=2**24)
    (told,) = (one for one in report.vgpus if one.id == TWO.id)
    assert told.memory_used_mib == TWO.memory_mib
    assert told.busy_ns == BUSY_MAX


def test_a_vgpu_that_moves_while_a_session_is_opened_is_used_where_it_is_then(
    host, manager, monkeypatch
):
    look = manager._vgpus.sessions

    def move_and_look(vgpu_id):
        monkeypatch.setattr(manager._vgpus, "sessions", look)
        host.conductor.want(2, [dataclasses.replace(TWO, device_key="ref-0"), ONE], [BOTH])
        manager.converge()
        return look(vgpu_id)

    monkeypatch.setattr(manager._vgpus, "sessions", move_and_look)
    opened(host)
    eventually(lambda: manager.host_report().sessions)
    (session,) = manager.host_report().sessions
    command = Path(f"/proc/{session.worker_pid}/cmdline").read_bytes().split(b"\0")
    assert command[command.index(b"--ordinal") + 1] == b"0"


def test_a_wrong_ticket_opens_nothing(host, manager):
    for ticket in ("", TICKET[:-1], TICKET + "x", "ä" * 40):
        for kind in Kind:
            refused = host.program(BOTH).hello(kind, ticket=ticket)
            assert (refused.error, refused.devices) == (Error.NO_DEVICE, ())
            assert refused.message == "the ticket is not this attachment's"
    assert not host.session_records()


@pytest.mark.parametrize("ordinal", [2, 1024, 2**32 - 1])
def test_an_ordinal_beyond_the_claim_is_refused(host, manager, ordinal):
    refused = host.program(BOTH).hello(Kind.OPEN, ordinal)
    assert (refused.error, refused.message) == (
        Error.INVALID_DEVICE,
        f"device {ordinal}; allowed: 0 to 1",
    )


@pytest.mark.parametrize("packet", [b"x", b"\0" * 280, b"y" * 5000])
def test_what_is_no_hello_is_hung_up(host, manager, packet):
    program = host.program(BOTH)
    program.connection.send(packet)
    program.wait_hung_up()
    opened(host)


def test_silent_clients_hold_up_nobody_else(host, manager, monkeypatch):
    monkeypatch.setattr(server, "HELLO_SECONDS", 60.0)
    for _ in range(server.HANDSHAKES + 1):
        host.program(OTHER)
    opened(host, BOTH)
    host.conductor.want(2, [ONE, TWO], [BOTH])
    manager.look()
    host.wait_converged(2)
    assert not host.folders.socket(OTHER.id).exists()


def test_silent_clients_hold_up_no_honest_program_of_their_own(host, manager, monkeypatch):
    monkeypatch.setattr(server, "HELLO_SECONDS", 60.0)
    silent = [host.program(OTHER) for _ in range(server.HANDSHAKES)]
    opened(host, OTHER)
    silent[0].wait_hung_up()
    for program in silent[1:]:
        assert program.hello(Kind.LIST).error == 0


def test_a_silent_client_is_hung_up(host, manager, monkeypatch):
    monkeypatch.setattr(server, "HELLO_SECONDS", 0.05)
    for _ in range(server.HANDSHAKES + 1):
        host.program(OTHER).wait_hung_up()
    monkeypatch.undo()
    opened(host, OTHER)


def test_one_more_waits_in_line_when_as_many_are_answered_as_may_be(tmp_path):
    """Its arrival was reported with the last words of those before it."""
    acceptor = server.Acceptor(LimitedLog())  # not started: the test is its thread
    path = tmp_path / "s"
    served = server.SessionServer(path, lambda *_: None, "attachment", "claim")
    acceptor.add(served)
    programs = [Program(path) for _ in range(server.HANDSHAKES)]
    for program in programs:
        program.connection.send(b"hello")
        acceptor._look_at(served.listener.fileno())
    for descriptor in list(acceptor._silent):
        acceptor._look_at(descriptor)
    assert served.answering == server.HANDSHAKES
    late = Program(path)
    acceptor._look_at(served.listener.fileno())
    late.connection.setblocking(False)
    with pytest.raises(BlockingIOError):
        late.connection.recv(1)
    assert not acceptor._paused
    acceptor.remove(served)
    acceptor.stop()
    for program in (*programs, late):
        program.close()


@pytest.mark.parametrize("part", ["start_of", "register"])
def test_a_worker_that_can_not_be_watched_leaves_no_descriptor(host, manager, monkeypatch, caplog, part):
    def fail(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    opened(host).close()
    eventually(lambda: not host.session_records())
    before = sorted(os.listdir("/proc/self/fd"))
    if part == "start_of":
        monkeypatch.setattr(process, "start_of", fail)
    else:
        monkeypatch.setattr(manager._sessions._workers, "_epoll", SimpleNamespace(register=fail))
    for _ in range(3):
        program = host.program(BOTH)
        assert program.hello(Kind.OPEN).error == 0
        program.wait_hung_up()  # perhaps after the worker was ready
        program.close()
    monkeypatch.undo()
    assert caplog.text.count("the worker can't be watched") == 3
    eventually(lambda: not host.session_records())
    eventually(lambda: sorted(os.listdir("/proc/self/fd")) == before)


def test_a_session_too_many_is_refused(host, manager):
    # The ledger's slots are the limit; the first is left free, the rest are taken by records.
    for number in range(TWO.sessions - 1):
        manager._sessions._workers._unborn[str(number)] = fake_record(number + 1)
    program = opened(host)
    refused = host.program(BOTH).hello(Kind.OPEN)
    assert refused.error == Error.DEVICE_UNAVAILABLE
    assert refused.message == (
        f"vGPU {TWO.id} has 16 sessions, one for each process that uses it; "
        "allowed: 16, which the claim's field sessions says"
    )
    program.close()
    eventually(lambda: not host.session_records())
    opened(host)
    manager._sessions._workers._unborn.clear()


def test_rings_of_later_sessions_are_smaller(host, manager):
    """TWO has 100 MiB, so its sessions share 200 MiB of the host's, of which rings take half."""
    host.stop()
    host.conf.set_override("ring_mib", 256, "agent")
    host.start()
    for _ in range(5):
        opened(host)
    assert sorted(record["ring_mib"] for record in host.session_records()) == [11, 14, 20, 33, 58]
    ledger = Ledger(host.folders.ledgers / TWO.id)
    charged = sorted(usage.host_mib for usage in ledger.usages() if usage.host_mib)
    assert charged == [15, 18, 24, 37, 62]
    assert Ledger(host.folders.ledgers / ONE.id).slots() == ONE.sessions


def test_a_context_beyond_the_reserve_is_charged_to_its_vgpu(host):
    """The device's reserve holds two contexts; one vGPU's many sessions take one of them."""
    host.conf.set_override("reserved_mib", 80, "reference")
    host.conf.set_override("context_mib", 40, "reference")
    small, large, third = (vgpu(number, memory_mib=100) for number in (4, 5, 6))
    of = {one.id: attachment(int(one.id[:8]), one) for one in (small, large, third)}
    host.conductor.want(1, [small, large, third], list(of.values()))
    manager = host.start()
    host.wait_converged(1)

    def used(one):
        return [usage.memory_mib for usage in Ledger(host.folders.ledgers / one.id).usages()][:3]

    first, *_ = [opened(host, of[small.id]) for _ in range(3)]
    assert used(small) == [0, 40, 40]
    refused = host.program(of[small.id])
    assert refused.hello(Kind.OPEN).error == 0
    error, message = refused.ready()
    assert error == Error.OUT_OF_MEMORY
    assert message == (
        "device memory: a session's context takes 40 MiB of the vGPU; 20 of its 100 MiB are free"
    )
    opened(host, of[large.id])
    opened(host, of[third.id])
    assert used(large) == [0, 0, 0]
    assert used(third) == [40, 0, 0]
    everyone = [small.id] * 3 + [large.id, third.id]
    eventually(lambda: sorted(one.vgpu_id for one in manager.host_report().sessions) == everyone)
    first.close()
    eventually(lambda: sorted(one.vgpu_id for one in manager.host_report().sessions) == everyone[1:])
    opened(host, of[small.id])
    assert used(small) == [0, 40, 40]


def fake_record(slot):
    return SessionRecord(
        id="x",
        attachment_id="x",
        vgpu_id=TWO.id,
        slot=slot,
        busy_before_ns=0,
        program_pid=0,
        started_at=None,
    )


def test_many_programs_at_once_get_a_session_each(host, manager):
    threads = [threading.Thread(target=opened, args=(host,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sessions = manager.host_report().sessions
    assert len({one.worker_pid for one in sessions}) == len(sessions) == 8
    assert len({record["slot"] for record in host.session_records()}) == 8


def test_a_worker_that_dies_ends_only_its_session(host, manager):
    victim, bystander = opened(host), opened(host)
    first = min(manager.host_report().sessions, key=lambda one: one.started_at)
    os.kill(first.worker_pid, signal.SIGKILL)
    victim.wait_hung_up()
    eventually(lambda: len(host.session_records()) == 1)
    (left,) = manager.host_report().sessions
    assert process.start_of(left.worker_pid)
    assert left.worker_pid != first.worker_pid
    bystander.close()


def test_a_dead_workers_memory_is_free_again(host, manager):
    opened(host)
    (session,) = manager.host_report().sessions
    ledger = Ledger(host.folders.ledgers / TWO.id)
    with ledger.path.open("r+b") as file:  # as the worker would, after an allocation
        file.seek(64)
        file.write((10 << 20).to_bytes(8, "little"))
    assert manager.host_report().sessions[0].memory_used_mib == 10
    assert [one.memory_used_mib for one in manager.host_report().vgpus] == [0, 10]
    os.kill(session.worker_pid, signal.SIGKILL)
    eventually(lambda: not host.session_records())
    assert ledger.usage(0).memory_mib == 0


def test_a_session_that_is_to_end_ends_and_no_other(host, manager):
    gone = opened(host)
    (ended,) = manager.host_report().sessions
    stays = opened(host)
    for generation in (2, 3):  # Again: it has ended, and another was never here.
        host.conductor.want(generation, [ONE, TWO], [BOTH, OTHER], [ended.id, "never-here"])
        manager.look()
        gone.wait_hung_up()
        host.wait_converged(generation)
        assert not process.start_of(ended.worker_pid)
        (left,) = manager.host_report().sessions
        assert left.id != ended.id
        assert process.start_of(left.worker_pid)
    assert not manager._sessions._workers._unwanted
    # The attachment is as it was: a program may open another one.
    opened(host)
    stays.close()


def test_a_session_that_is_to_end_ends_after_the_agent_was_away(host, manager):
    gone = opened(host)
    (ended,) = manager.host_report().sessions
    host.stop()
    host.conductor.want(2, [ONE, TWO], [BOTH, OTHER], [ended.id])
    assert process.start_of(ended.worker_pid)
    host.start()
    host.wait_converged(2)
    gone.wait_hung_up()
    assert not host.session_records()


def test_a_session_that_is_to_end_ends_once_its_worker_is_found(host, manager, monkeypatch):
    """A restarted agent that could not look at its worker at first, and was told meanwhile."""
    gone = opened(host)
    (ended,) = manager.host_report().sessions
    host.stop()
    host.conductor.want(2, [ONE, TWO], [BOTH, OTHER], [ended.id])
    with monkeypatch.context() as blind:
        blind.setattr(Supervisor, "_find", lambda *_: None)
        restarted = host.start()
        host.wait_converged(2)
        assert process.start_of(ended.worker_pid)
    host.conductor.want(3, [ONE, TWO], [BOTH, OTHER])
    restarted.look()
    gone.wait_hung_up()
    eventually(lambda: not host.session_records())


def test_the_sessions_of_a_vgpu_end_with_it(host, manager):
    gone, stays = opened(host, BOTH, 0), opened(host, OTHER)
    host.conductor.want(2, [ONE], [OTHER])
    manager.look()
    gone.wait_hung_up()
    host.wait_converged(2)
    assert [one.vgpu_id for one in manager.host_report().sessions] == [ONE.id]
    assert not (host.folders.ledgers / TWO.id).exists()
    stays.close()


def test_an_attachment_gets_more_vgpus_and_loses_some_while_sessions_of_others_go_on(host, manager):
    """As those of an elastic claim: programs that start see what there is then."""
    old = opened(host, OTHER)
    more = dataclasses.replace(OTHER, vgpu_ids=(ONE.id, TWO.id), generation=OTHER.generation)
    host.conductor.want(2, [ONE, TWO], [BOTH, more])
    manager.look()
    host.wait_converged(2)
    listed = host.program(OTHER).hello(Kind.LIST).devices
    assert [(one.compute, one.memory_mib) for one in listed] == [(25, 512), (50, 100)]
    new = opened(host, OTHER, ordinal=1)
    sessions = {one.vgpu_id: one.worker_pid for one in manager.host_report().sessions}
    assert sessions.keys() == {ONE.id, TWO.id}
    host.conductor.want(3, [ONE], [OTHER])
    manager.look()
    host.wait_converged(3)
    new.wait_hung_up()
    (left,) = manager.host_report().sessions
    assert (left.vgpu_id, left.worker_pid) == (ONE.id, sessions[ONE.id])
    assert len(host.program(OTHER).hello(Kind.LIST).devices) == 1
    assert host.program(OTHER).hello(Kind.OPEN, 1).error == Error.DEVICE_UNAVAILABLE
    assert host.program(OTHER).hello(Kind.OPEN, 2).error == Error.INVALID_DEVICE
    old.close()


def test_a_program_opens_the_vgpu_it_learnt_of_though_others_were_taken_away_since(host, manager):
    both = dataclasses.replace(OTHER, vgpu_ids=(ONE.id, TWO.id))
    host.conductor.want(2, [ONE, TWO], [both])
    manager.look()
    host.wait_converged(2)
    learnt = {one.id: one.ordinal for one in host.program(OTHER).hello(Kind.VGPUS).devices}
    alone = dataclasses.replace(OTHER, vgpu_ids=(TWO.id,))
    host.conductor.want(3, [TWO], [alone])
    manager.look()
    host.wait_converged(3)
    opened(host, OTHER, ordinal=learnt[TWO.id]).close()
    assert host.program(OTHER).hello(Kind.OPEN, learnt[ONE.id]).error == Error.DEVICE_UNAVAILABLE
    # What comes in its place has another ordinal.
    host.conductor.want(4, [ONE, TWO], [both])
    manager.look()
    host.wait_converged(4)
    again = {one.id: one.ordinal for one in host.program(OTHER).hello(Kind.VGPUS).devices}
    assert again[TWO.id] == learnt[TWO.id]
    assert again[ONE.id] not in learnt.values()


def ordinals(host, wanted):
    return {one.id: one.ordinal for one in host.program(wanted).hello(Kind.VGPUS).devices}


def test_ordinals_outlive_the_agent(host):
    """After a program's listing the claim shrinks, the agent restarts, and the claim grows."""
    first, second, third, fourth = (vgpu(number, index=number - 1) for number in (1, 2, 3, 4))
    wanted = attachment(2, first, second, third)
    host.conductor.want(1, [first, second, third], [wanted])
    manager = host.start()
    host.wait_converged(1)
    learnt = ordinals(host, wanted)
    assert [*learnt.values()] == [0, 1, 2]
    fewer = dataclasses.replace(wanted, vgpu_ids=(second.id, third.id))
    host.conductor.want(2, [second, third], [fewer])
    manager.look()
    host.wait_converged(2)
    host.stop()
    manager = host.start()
    assert ordinals(host, wanted) == {each.id: learnt[each.id] for each in (second, third)}
    assert host.program(wanted).hello(Kind.OPEN, learnt[first.id]).error == Error.DEVICE_UNAVAILABLE
    more = dataclasses.replace(wanted, vgpu_ids=(second.id, third.id, fourth.id))
    host.conductor.want(3, [second, third, fourth], [more])
    manager.look()
    host.wait_converged(3)
    now = ordinals(host, wanted)
    assert now == {second.id: learnt[second.id], third.id: learnt[third.id], fourth.id: 3}
    program = opened(host, wanted, ordinal=now[fourth.id])
    assert [one.vgpu_id for one in manager.host_report().sessions] == [fourth.id]
    program.close()


def test_ordinals_that_an_older_conductor_did_not_tell_stay(host, manager):
    """It tells no indexes; when its successor does, what programs have learnt holds."""
    both = dataclasses.replace(OTHER, vgpu_ids=(TWO.id, ONE.id))
    host.conductor.want(2, [ONE, TWO], [both])
    manager.look()
    host.wait_converged(2)
    learnt = ordinals(host, OTHER)
    told = [dataclasses.replace(ONE, index=3), dataclasses.replace(TWO, index=5), vgpu(3, index=0)]
    host.conductor.want(3, told, [dataclasses.replace(both, vgpu_ids=(told[2].id, *both.vgpu_ids))])
    manager.look()
    host.wait_converged(3)
    now = ordinals(host, OTHER)
    assert {vgpu_id: now[vgpu_id] for vgpu_id in learnt} == learnt
    assert now[told[2].id] not in learnt.values()


def test_the_sessions_of_an_attachment_end_with_it_and_the_next_is_refused(host, manager):
    gone, stays = opened(host, OTHER), opened(host, BOTH, 1)
    waiting = host.program(OTHER)
    host.conductor.want(2, [ONE, TWO], [BOTH])
    manager.look()
    gone.wait_hung_up()
    host.wait_converged(2)
    assert [one.attachment_id for one in manager.host_report().sessions] == [BOTH.id]
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        host.program(OTHER)
    refused = waiting.hello(Kind.OPEN)
    assert refused.error == Error.DEVICE_UNAVAILABLE
    assert "being taken away" in refused.message
    stays.close()


def test_another_ticket_ends_the_sessions_of_the_old_one(host, manager):
    old = opened(host, OTHER)
    renewed = type(OTHER)(**{**vars(OTHER), "ticket": "another", "generation": 2})
    host.conductor.want(2, [ONE, TWO], [BOTH, renewed])
    manager.look()
    old.wait_hung_up()
    host.wait_converged(2)
    assert host.program(OTHER).hello(Kind.LIST).error == Error.NO_DEVICE
    assert host.program(OTHER).hello(Kind.LIST, ticket="another").error == 0


def test_a_damaged_ledger_ends_its_sessions_and_is_made_anew(host, manager):
    hostile, bystander = opened(host), opened(host, OTHER)
    os.truncate(host.folders.ledgers / TWO.id, 10)
    manager.host_report()
    manager.look()
    hostile.wait_hung_up()
    eventually(lambda: host.program(BOTH).hello(Kind.OPEN).error == 0)
    assert Ledger(host.folders.ledgers / TWO.id).sound()
    eventually(lambda: len(manager.host_report().sessions) == 2)
    bystander.close()


def test_a_vgpu_that_could_not_be_made_refuses_with_the_reason(host, manager):
    bad = vgpu(3, device="ref-9")
    host.conductor.want(2, [bad], [attachment(3, bad)])
    manager.look()
    host.wait_converged(2)
    refused = host.program(attachment(3, bad)).hello(Kind.OPEN)
    assert refused.error == Error.DEVICE_UNAVAILABLE
    assert "this host has no device ref-9" in refused.message


def test_stopping_an_agent_leaves_its_sessions_unless_told_otherwise(host, manager):
    program = opened(host)
    eventually(lambda: all(host.worker_pids()))
    host.stop()
    (pid,) = host.worker_pids()
    assert process.start_of(pid)
    host.start()
    host.stop(end_sessions=True)
    program.wait_hung_up()
    assert not process.start_of(pid)
    assert not host.session_records()
