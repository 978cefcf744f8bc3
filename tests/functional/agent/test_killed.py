"""An agent killed by SIGKILL: what lives goes on, what is half made is ended."""

import os
import signal
import subprocess
from datetime import datetime

import pytest

from gpupool.agent import process, record, supervisor
from gpupool.agent.session import SessionRecord
from gpupool.dataplane.handshake import Hello, Kind
from tests.markers import needs_root

from .stand_in import TICKET, attachment, eventually, vgpu

ONE = vgpu(1)
ATTACHMENT = attachment(1, ONE)
HELLO = Hello(Kind.OPEN, 0, os.getpid(), TICKET).pack()


@pytest.fixture
def wanted(host):
    host.conductor.want(1, [ONE], [ATTACHMENT])


def opened(host):
    program = host.program(ATTACHMENT)
    assert program.hello(Kind.OPEN).error == 0
    assert program.wait_ready() == 0
    return program


def wait_for_workers(host, count):
    """Wait until the agent has written down every worker: it does so after the program is welcome."""
    eventually(lambda: len(host.worker_pids()) == count and all(host.worker_pids()))


def test_sessions_survive_and_are_taken_over(host, wanted):
    killed = host.start_process()
    host.wait_converged(1)
    stays, leaves = opened(host), opened(host)
    wait_for_workers(host, 2)
    before = {record["id"]: record["worker_pid"] for record in host.session_records()}
    killed.kill()
    assert all(map(process.start_of, before.values()))
    leaves.close()  # while there is no agent
    eventually(lambda: sum(bool(process.start_of(pid)) for pid in before.values()) == 1)

    manager = host.start()
    (taken,) = manager.host_report().sessions
    assert before[taken.id] == taken.worker_pid
    assert process.start_of(taken.worker_pid)
    stays.close()
    eventually(lambda: not host.session_records())


def test_an_agent_that_stops_leaves_no_descriptor_of_the_sessions_that_go_on(host, wanted):
    host.start()
    host.wait_converged(1)
    host.stop()
    before = len(os.listdir("/proc/self/fd"))
    host.start()
    eventually(host.folders.socket(ATTACHMENT.id).exists)
    opened(host)
    wait_for_workers(host, 1)
    eventually(lambda: host.managers[0].host_report().sessions)
    host.stop()
    assert len(os.listdir("/proc/self/fd")) == before + 1  # the program's own


def test_a_session_taken_over_can_be_ended(host, wanted):
    killed = host.start_process()
    host.wait_converged(1)
    program = opened(host)
    killed.kill()
    host.conductor.want(2)
    host.start()
    program.wait_hung_up()
    host.wait_converged(2)
    assert not host.conductor.reported().sessions
    assert not host.session_records()


def test_a_stranger_with_a_dead_workers_pid_is_left_alone(host, wanted):
    killed = host.start_process()
    host.wait_converged(1)
    opened(host)
    wait_for_workers(host, 1)
    (pid,) = host.worker_pids()
    killed.kill()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not process.start_of(pid))
    (path,) = host.folders.sessions.glob("[!.]*")
    path.write_text(path.read_text().replace(f'"worker_pid": {pid}', f'"worker_pid": {os.getpid()}'))
    assert not host.start().host_report().sessions
    assert not host.session_records()


@pytest.mark.parametrize(
    ("moment", "lives"), [("written", False), ("welcomed", False), ("spawned", True), ("added", True)]
)
def test_killed_while_it_creates_a_session(host, wanted, monkeypatch, moment, lives):
    """The worker that was born goes on and is taken over; a record without one is crossed out."""
    monkeypatch.setattr(supervisor, "UNBORN", 0.0)
    killed = host.start_process(moment)
    host.wait_converged(1)
    program = host.program(ATTACHMENT)
    program.connection.send(HELLO)
    assert killed.wait() == -signal.SIGKILL
    (record,) = host.session_records()
    assert bool(record["worker_start"]) == (moment == "added")

    manager = host.start()
    report = manager.host_report()
    assert [one.id for one in report.sessions] == ([record["id"]] if lives else [])
    assert len(host.session_records()) == int(lives)
    opened(host)
    slots = [record["slot"] for record in host.session_records()]
    assert sorted(slots) == list(range(1 + lives))


def test_a_worker_that_ended_before_it_was_looked_at_keeps_no_slot(host, wanted, monkeypatch):
    """It was born, so nobody has to wait for that."""
    host.start()
    host.wait_converged(1)
    opened(host)
    eventually(lambda: all(host.worker_pids()))
    host.stop(end_sessions=True)
    made = SessionRecord(
        id="1",
        attachment_id=ATTACHMENT.id,
        vgpu_id=ONE.id,
        slot=0,
        busy_before_ns=0,
        program_pid=1,
        started_at=datetime(2026, 1, 1),
        worker_pid=2**22 - 1,
        worker_start="",
    )
    record.write(host.folders.sessions / made.id, made)
    host.start()
    assert not host.session_records()


@needs_root
def test_a_program_that_calls_itself_a_worker_is_none(host, wanted, monkeypatch):
    """Everybody on the host reads the command lines of workers, and can start something like them."""
    monkeypatch.setattr(supervisor, "UNBORN", 0.0)
    killed = host.start_process("written")
    host.wait_converged(1)
    host.program(ATTACHMENT).connection.send(HELLO)
    killed.wait()
    (record,) = host.session_records()
    command = ["sh", "-c", "echo; read line", "--session", record["id"], "--end"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, user=54321, group=54321, extra_groups=[], **pipes) as impostor:
        impostor.stdout.readline()
        assert process.find_by_argument("--session", record["id"]).pid == impostor.pid
        assert not host.start().host_report().sessions
        assert not host.session_records()
        assert impostor.poll() is None
        impostor.kill()


def test_a_worker_that_may_still_be_born_keeps_its_slot(host, wanted):
    killed = host.start_process("welcomed")
    host.wait_converged(1)
    host.program(ATTACHMENT).connection.send(HELLO)
    killed.wait()
    host.start()
    assert len(host.session_records()) == 1
    opened(host)
    assert sorted(record["slot"] for record in host.session_records()) == [0, 1]
    for path in host.folders.sessions.glob("[!.]*"):
        path.unlink()


def test_killed_again_and_again_nothing_is_left(host, wanted):
    for _ in range(3):
        killed = host.start_process()
        eventually(host.folders.socket(ATTACHMENT.id).exists)
        opened(host)
        killed.kill()
    manager = host.start()
    assert len(manager.host_report().sessions) == 3
    host.conductor.want(2)
    manager.look()
    host.wait_converged(2)
    assert not host.session_records()
    for folder in (host.folders.ledgers, host.folders.attachments, host.folders.cdi):
        assert not list(folder.iterdir())
