"""Frozen vGPUs and devices: work waits, programs see no error, whatever their workers do."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gpupool.agent import record
from gpupool.agent.session import SessionRecord
from gpupool.dataplane import control
from gpupool.dataplane.control import Kind, Message
from gpupool.dataplane.handshake import Kind as Hello
from gpupool.model import errors

from .stand_in import TIMEOUT, attachment, eventually, vgpu

PROGRAM = Path(__file__).with_name("program.py")
ONE, TWO = vgpu(1, device="ref-1"), vgpu(2, memory_mib=100, device="ref-1")
OF_ONE, OF_TWO = attachment(1, ONE), attachment(2, TWO)
WHY = "its host is serviced"


@pytest.fixture
def manager(host):
    host.conductor.want(1, [ONE, TWO], [OF_ONE, OF_TWO])
    manager = host.start()
    host.wait_converged(1)
    return manager


@pytest.fixture
def start(host):
    """Return a function that starts a program which has its device work all the time."""
    pytest.importorskip("cuda.bindings", reason="the demo extra is not installed")
    started = []

    def start(wanted):
        (report,) = (one for one in host.conductor.reported().attachments if one.id == wanted.id)
        program = subprocess.Popen(
            [sys.executable, PROGRAM, "work"],
            env={"PATH": os.environ["PATH"], "GPUPOOL_TICKET": wanted.ticket, **report.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        assert program.stdout.readline() == "working\n"
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


def sessions(manager, count):
    eventually(lambda: len(manager.host_report().sessions) == count, "sessions")
    return {one.vgpu_id: one for one in manager.host_report().sessions}


def done(program):
    """Return how much work was done; the program is answered about its memory meanwhile."""
    program.stdin.write("\n")
    program.stdin.flush()
    error, free, count = json.loads(program.stdout.readline())
    assert error == 0
    assert free > 0
    return count


def rests(program):
    """Return whether nothing is done any more."""
    before = done(program)  # what was done by the time of the freeze may be counted late
    eventually(lambda: done(program) == done(program))
    after = done(program)
    return after - before <= 1 and all(done(program) == after for _ in range(50))


def works(program):
    before = done(program)
    eventually(lambda: done(program) > before + 1, "work")
    return True


def log_of(program):
    output, log = program.communicate(timeout=TIMEOUT)
    assert json.loads(output.splitlines()[-1]) == {"error": 0}
    return log


def test_the_work_of_a_vgpu_waits_until_it_is_thawed(manager, start):
    program, other = start(OF_ONE), start(OF_TWO)
    sessions(manager, 2)
    assert manager.freezing.freeze_vgpu(ONE.id, WHY) == set()
    assert rests(program)
    assert works(other)
    manager.freezing.thaw_vgpu(ONE.id)
    assert works(program)
    assert log_of(program) == (
        f"gpupool: device 0 is frozen, its work waits: {WHY}\ngpupool: device 0 works again\n"
    )
    assert log_of(other) == ""


def test_the_work_of_a_device_waits_until_it_is_thawed(manager, start):
    programs = [start(OF_ONE), start(OF_TWO)]
    sessions(manager, 2)
    assert manager.freezing.freeze_vgpu(TWO.id, WHY) == set()
    assert manager.freezing.freeze_device("ref-1", WHY) == set()
    assert all(rests(program) for program in programs)
    manager.freezing.thaw_vgpu(TWO.id)
    assert rests(programs[1])
    manager.freezing.thaw_device("ref-1")
    assert all(works(program) for program in programs)


def test_a_session_that_is_opened_meanwhile_waits_too(manager, start):
    manager.freezing.freeze_device("ref-1", WHY)
    program = start(OF_ONE)
    assert rests(program)
    assert done(program) == 0
    manager.freezing.thaw_device("ref-1")
    assert works(program)


def test_what_is_frozen_stays_so_over_a_restart(host, manager, start):
    program = start(OF_ONE)
    sessions(manager, 1)
    assert manager.freezing.freeze_vgpu(ONE.id, WHY) == set()
    host.stop()
    again = host.start()
    host.wait_converged(1)
    assert rests(program)
    again.freezing.thaw_vgpu(ONE.id)
    assert works(program)
    assert again.freezing.freeze_vgpu(ONE.id, WHY) == set()
    again.freezing.thaw_vgpu(ONE.id)


def test_a_frozen_session_can_be_revoked(host, manager, start):
    program = start(OF_ONE)
    sessions(manager, 1)
    manager.freezing.freeze_vgpu(ONE.id, WHY)
    host.conductor.want(2, [TWO], [OF_TWO])
    manager.look()
    assert "device 0 is lost: vGPU" in program.communicate(timeout=TIMEOUT)[1]


def test_a_worker_that_does_not_answer_is_named_and_waited_for_no_longer(manager, start):
    program, other = start(OF_ONE), start(OF_TWO)
    found = sessions(manager, 2)
    os.kill(found[ONE.id].worker_pid, signal.SIGSTOP)
    try:
        assert manager.freezing.freeze_device("ref-1", WHY, 2.0) == {found[ONE.id].id}
        assert rests(other)
    finally:
        os.kill(found[ONE.id].worker_pid, signal.SIGCONT)
    manager.freezing.thaw_device("ref-1")
    assert works(program)
    assert works(other)


def test_a_worker_of_before_the_channel_is_named(host, manager, start):
    program = start(OF_ONE)
    (session,) = sessions(manager, 1).values()
    host.stop()
    path = host.folders.sessions / session.id
    content = json.loads(path.read_text())
    for name in ("runtime_control", "worker_control"):
        del content[name]
    path.write_text(json.dumps(content))
    again = host.start()
    host.wait_converged(1)
    assert record.read(path, SessionRecord).worker_control == 0
    assert again.freezing.freeze_vgpu(ONE.id, WHY) == {session.id}
    again.freezing.thaw_vgpu(ONE.id)
    assert works(program)


def test_what_is_not_there_can_not_be_frozen(manager):
    for change in (manager.freezing.thaw_vgpu, lambda name: manager.freezing.freeze_vgpu(name, WHY)):
        with pytest.raises(errors.NotFound, match="vGPU nothing is not on this host"):
            change("nothing")


def answer(message, **changed):
    return Message(kind=Kind.ANSWER, sequence=message.sequence, **changed).pack()


@pytest.mark.parametrize(
    "reply",
    [
        lambda message: [answer(message, status=control.Status.NOT_SUPPORTED)],
        lambda message: [b"x" * 500],
        lambda message: [Message(kind=Kind.ANSWER, sequence=99).pack()] * 200,
        lambda message: [],
    ],
)
def test_a_worker_that_was_taken_over_delays_nobody(host, manager, reply):
    """It listens where the worker would, and answers as it likes."""
    program = host.program(OF_ONE)
    assert program.hello(Hello.OPEN, 0).error == 0
    assert program.wait_ready() == 0
    (session,) = sessions(manager, 1).values()
    host.stop()
    with control.listen(host.folders.control / f"{session.id}.worker") as listener:
        again = host.start()
        host.wait_converged(1)
        listener.settimeout(TIMEOUT)
        connection, _ = listener.accept()
        with connection:
            identity = Message.unpack(connection.recv(1000))
            connection.setblocking(False)
            with suppress(OSError):
                for packet in reply(Message(kind=Kind.FROZEN, sequence=identity.sequence + 1)):
                    connection.send(packet)
            assert again.freezing.freeze_vgpu(ONE.id, WHY, 0.2) == {session.id}
            again.freezing.thaw_vgpu(ONE.id)
