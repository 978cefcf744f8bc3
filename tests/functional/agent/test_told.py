"""Sessions are told what becomes of them, whatever their programs do with that."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.dataplane import control
from gpupool.dataplane.control import Kind, Message
from gpupool.dataplane.handshake import Kind as Hello

from .stand_in import TIMEOUT, attachment, eventually, vgpu

PROGRAM = Path(__file__).with_name("program.py")
DEVICE_UNAVAILABLE = 46
ONE, TWO = vgpu(1), vgpu(2, memory_mib=100, index=1)
BOTH = attachment(1, ONE, TWO)
SMALL = attachment(2, TWO)


@pytest.fixture
def manager(host):
    host.conductor.want(1, [ONE, TWO], [BOTH, SMALL])
    manager = host.start()
    host.wait_converged(1)
    return manager


@pytest.fixture
def start(host):
    """Return a function that starts a program in an attachment and waits until it works."""
    pytest.importorskip("cuda.bindings", reason="the demo extra is not installed")
    started = []

    def start(wanted, name):
        (report,) = (one for one in host.conductor.reported().attachments if one.id == wanted.id)
        program = subprocess.Popen(
            [sys.executable, PROGRAM, name],
            env={"PATH": os.environ["PATH"], "GPUPOOL_TICKET": wanted.ticket, **report.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        assert program.stdout.readline() in {"looping\n", "following\n"}
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


def want(host, manager, generation, *wanted):
    host.conductor.want(generation, *wanted)
    manager.look()
    host.wait_converged(generation)


def memory(program):
    """Return what a program sees of its memory: error, free, total by the driver and by the device."""
    program.stdin.write("\n")
    program.stdin.flush()
    return json.loads(program.stdout.readline())


def session(manager):
    eventually(lambda: manager.host_report().sessions, "a session")
    (one,) = manager.host_report().sessions
    return one


def test_a_program_is_told_why_its_session_ends(host, manager, start):
    program = start(SMALL, "loop")
    one = session(manager)
    want(host, manager, 2, [ONE], [])
    output, log = program.communicate(timeout=TIMEOUT)
    assert json.loads(output) == {"error": DEVICE_UNAVAILABLE}
    assert log == (
        f"gpupool: device 0 is lost: vGPU {TWO.id} was taken from claim {TWO.claim_id}, which ended, "
        f"shrank or moved (session {one.id} of claim {TWO.claim_id})\n"
    )


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (([ONE, TWO], [BOTH]), f"its attachment {SMALL.id} was deleted"),
        (([ONE, vgpu(2, device="ref-1")], [BOTH, SMALL]), f"vGPU {TWO.id} is made anew, on another"),
    ],
)
def test_each_reason_is_told(host, manager, start, wanted, reason):
    program = start(SMALL, "loop")
    session(manager)
    want(host, manager, 2, *wanted)
    output, log = program.communicate(timeout=TIMEOUT)
    assert json.loads(output) == {"error": DEVICE_UNAVAILABLE}
    assert f"device 0 is lost: {reason}" in log


def test_a_session_that_its_project_ends_says_so(host, manager, start):
    program = start(SMALL, "loop")
    want(host, manager, 2, [ONE, TWO], [BOTH, SMALL], [session(manager).id])
    assert "is lost: its project ended the session" in program.communicate(timeout=TIMEOUT)[1]


def test_a_worker_that_dies_is_no_revocation(host, manager, start):
    program = start(SMALL, "loop")
    os.kill(session(manager).worker_pid, 9)
    assert "device 0 is lost: its worker ended" in program.communicate(timeout=TIMEOUT)[1]


@pytest.mark.parametrize("memory_mib", [200, 50])
def test_a_program_sees_what_its_vgpu_has_become(host, manager, start, memory_mib):
    program = start(SMALL, "follow")
    assert memory(program) == [0, 100, 100, 100]
    session(manager)
    want(host, manager, 2, [ONE, vgpu(2, compute=50, memory_mib=memory_mib)], [BOTH, SMALL])
    eventually(lambda: memory(program) == [0, memory_mib, memory_mib, memory_mib])
    output, log = program.communicate(timeout=TIMEOUT)
    assert (json.loads(output), log) == ({"error": 0}, "")


def test_a_restarted_agent_tells_the_sessions_that_it_found(host, start):
    """The changes made meanwhile, and later the reason of the end."""
    host.conductor.want(1, [ONE, TWO], [BOTH, SMALL])
    killed = host.start_process()
    host.wait_converged(1)
    program = start(SMALL, "follow")
    eventually(lambda: host.conductor.reported().sessions)
    killed.kill()
    host.conductor.want(2, [ONE, vgpu(2, memory_mib=300)], [BOTH, SMALL])
    manager = host.start()
    host.wait_converged(2)
    eventually(lambda: memory(program) == [0, 300, 300, 300])
    want(host, manager, 3, [ONE], [])
    assert f"vGPU {TWO.id} was taken from claim" in program.communicate(timeout=TIMEOUT)[1]


def opened(host, **more):
    program = host.program(BOTH)
    assert program.hello(Hello.OPEN, 1, **more).error == 0
    assert program.wait_ready() == 0
    return program


def receive(connection):
    return Message.unpack(connection.recv(1000))


def test_a_runtime_is_told_who_it_is_in_the_version_that_both_know(host, manager):
    """A peer newer than its agent speaks the agent's version."""
    program = opened(host, control=control.VERSION + 7)
    told = receive(program.accept())
    assert told == Message(
        kind=Kind.IDENTITY,
        sequence=1,
        session_id=session(manager).id,
        claim_id=TWO.claim_id,
        vgpu_id=TWO.id,
        index=1,
        compute=25,
        memory_mib=100,
    )


def test_a_runtime_of_before_the_channel_is_given_none(host, manager):
    program = opened(host)
    assert program.listeners == []
    want(host, manager, 2, [ONE, vgpu(2, memory_mib=200)], [BOTH])
    want(host, manager, 3, [ONE])
    program.wait_hung_up()


def test_an_agent_that_starts_again_connects_again(host, manager):
    program = opened(host, control=1)
    first = program.accept()
    assert receive(first).kind is Kind.IDENTITY
    host.stop()
    assert first.recv(1000) == b""
    host.start()
    host.wait_converged(1)
    assert receive(program.accept()).vgpu_id == TWO.id


def deaf(program):
    """Never accept."""


def shut(program):
    """Let nobody connect any more."""
    for listener in program.listeners:
        listener.shutdown(2)


def silent(program):
    """Accept and read nothing."""
    return program.accept()


def flooding(program):
    """Send what was never asked, as much as there is room for."""
    connection = program.accept()
    connection.setblocking(False)
    packet = Message(kind=Kind.ANSWER, sequence=9).pack()
    try:
        while True:
            connection.send(packet)
    except OSError:
        return connection


def senseless(program):
    """Send what is no message."""
    connection = program.accept()
    connection.send(b"x" * 5000)
    return connection


@pytest.mark.parametrize("behave", [deaf, shut, silent, flooding, senseless])
def test_whatever_a_program_does_its_agent_serves_the_others(host, manager, behave):
    """It is told, or not; its session is resized and ends all the same."""
    program = opened(host, control=1)
    kept = behave(program)
    for generation in range(2, 30):
        host.conductor.want(generation, [ONE, vgpu(2, memory_mib=100 + generation)], [BOTH])
        manager.converge()
    other = opened(host, control=1)
    assert receive(other.accept()).memory_mib == 129
    want(host, manager, 30, [ONE])
    program.wait_hung_up()
    other.wait_hung_up()
    eventually(lambda: not host.session_records())
    assert not list(host.folders.control.iterdir())
    assert kept is None or kept.fileno() >= 0
