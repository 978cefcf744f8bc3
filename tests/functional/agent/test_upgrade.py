"""An agent is upgraded under programs that run: theirs are a runtime and a worker of before."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.dataplane import paths
from testbed.local_agent import LocalAgent
from tests.functional.dataplane.raw_client import MESSAGES, RawClient

from .earlier import COMMIT, EarlierAgent, unpack
from .exchange import recorded
from .stand_in import TIMEOUT, attachment, eventually, vgpu

PROGRAM = Path(__file__).with_name("program.py")
DEVICE_UNAVAILABLE = 46
ONE, TWO = vgpu(1), vgpu(2, memory_mib=100)
WANTED = attachment(1, ONE, TWO)
SMALL = attachment(2, TWO)


def test_an_earlier_runtime_is_answered_as_it_expects(host):
    """From a record of what it sends: the layouts are those of its version, and it gets no channel."""
    host.conductor.want(1, [ONE, TWO], [WANTED])
    host.start()
    host.wait_converged(1)
    (list_vgpus, open_session) = (bytes.fromhex(one) for one in recorded(COMMIT)["hellos"])
    program = host.program(WANTED)
    program.connection.send(list_vgpus)
    assert len(program.connection.recv(65536)) == 280 + 2 * 32
    program = host.program(WANTED)
    program.connection.send(open_session)
    packet, descriptors, _, _ = socket.recv_fds(program.connection, 65536, 4)
    for one in descriptors:
        os.close(one)
    assert (len(packet), len(descriptors)) == (280 + 16, 1)
    assert program.wait_ready() == 0


def test_what_an_earlier_runtime_asks_is_served(native):
    """From a record of its ring: numbers, sizes and layouts of messages stay what they were."""
    exchange = recorded(COMMIT)
    with (
        LocalAgent(native) as agent,
        RawClient(agent, bytes.fromhex(exchange["hellos"][1])) as client,
    ):
        for call, waits, content in exchange["records"]:
            if waits:
                assert client.ask(MESSAGES[call].name, bytes.fromhex(content))[0] == 0
            else:
                client.send(call, bytes.fromhex(content))
        assert client.hang_up() == 0
    assert len(exchange["records"]) > 15


@pytest.fixture(scope="module")
def folder(request):
    pytest.importorskip("cuda.bindings", reason="the demo extra is not installed")
    return unpack(Path(request.config.cache.mkdir("earlier")))


@pytest.fixture
def earlier(host, folder):
    """Return an agent of before on the host; the test may kill it."""
    host.conductor.want(1, [ONE, TWO], [WANTED, SMALL])
    agent = EarlierAgent(folder, host.state)
    host.wait_converged(1)
    yield agent
    agent.kill()


@pytest.fixture
def start(host):
    started = []

    def start(name, runtime):
        program = subprocess.Popen(
            [sys.executable, PROGRAM, name],
            env={
                "PATH": os.environ["PATH"],
                "GPUPOOL_TICKET": SMALL.ticket,
                "GPUPOOL_SOCKET": str(host.folders.socket(SMALL.id)),
                "LD_LIBRARY_PATH": str(runtime),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


def ask(program):
    """Return what a program that follows or works answers."""
    program.stdin.write("\n")
    program.stdin.flush()
    return json.loads(program.stdout.readline())


def outcome(program):
    output, log = program.communicate(timeout=TIMEOUT)
    assert program.returncode == 0, log
    return json.loads(output.splitlines()[-1]), log


def sessions(manager):
    eventually(lambda: manager.host_report().sessions, "a session")
    return manager.host_report().sessions


def want(host, manager, generation, *wanted):
    host.conductor.want(generation, *wanted)
    manager.look()
    host.wait_converged(generation)


def test_a_program_outlives_the_upgrade_of_its_agent(host, earlier, start):
    """It goes on with its own runtime and worker, is resized and ended, and told nothing."""
    program = start("follow", earlier.runtime)
    assert program.stdout.readline() == "following\n"
    assert ask(program)[:3] == [0, 100, 100]
    eventually(lambda: host.conductor.reported().sessions)
    (before,) = host.conductor.reported().sessions
    earlier.kill()
    manager = host.start()
    host.wait_converged(1)
    (session,) = sessions(manager)
    assert (session.id, session.worker_pid) == (before.id, before.worker_pid)
    assert ask(program)[:3] == [0, 100, 100]
    assert manager.freezing.freeze_vgpu(TWO.id, "test", 0.1) == {session.id}
    manager.freezing.thaw_vgpu(TWO.id)
    want(host, manager, 2, [ONE, vgpu(2, memory_mib=200)], [WANTED, SMALL])
    assert ask(program)[:3] == [0, 200, 200]
    want(host, manager, 3, [ONE], [])
    result, log = outcome(program)
    assert result == {"error": DEVICE_UNAVAILABLE}
    assert "device 0 is lost" in log
    eventually(lambda: not host.session_records())


def test_work_goes_on_through_the_upgrade(host, earlier, start):
    program = start("work", earlier.runtime)
    assert program.stdout.readline() == "working\n"
    eventually(lambda: ask(program)[2] > 0)
    eventually(lambda: host.conductor.reported().sessions)
    earlier.kill()
    manager = host.start()
    host.wait_converged(1)
    (session,) = sessions(manager)
    done = ask(program)[2]
    eventually(lambda: ask(program)[2] > done + 10)
    want(host, manager, 2, [ONE, TWO], [WANTED, SMALL], [session.id])
    assert outcome(program)[0] == {"error": DEVICE_UNAVAILABLE}


@pytest.mark.parametrize("name", ["report", "loop", "work"])
def test_a_container_of_before_is_served(host, folder, start, name):
    """Its processes that start after the upgrade have its runtime, and a worker of today."""
    host.conductor.want(1, [ONE, TWO], [WANTED, SMALL])
    manager = host.start()
    host.wait_converged(1)
    program = start(name, folder / "gpupool" / "dataplane" / "lib" / "runtime")
    if name == "report":
        result, log = outcome(program)
        assert (result["total_mib"], result["copied"], log) == (100, True, "")
        return
    program.stdout.readline()
    if name == "work":
        eventually(lambda: ask(program)[2] > 10)
        (session,) = sessions(manager)
        assert manager.freezing.freeze_vgpu(TWO.id, "test") == set()
        manager.freezing.thaw_vgpu(TWO.id)
        done = ask(program)[2]
        eventually(lambda: ask(program)[2] > done + 10)
        assert session.id
    want(host, manager, 2, [ONE], [])
    result, log = outcome(program)
    assert result == {"error": DEVICE_UNAVAILABLE}
    assert "device 0 is lost: its worker ended" in log


@pytest.mark.parametrize("name", ["report", "work"])
def test_a_program_that_is_newer_than_its_agent_is_served(host, earlier, start, name):
    """The package is installed, and its agent not started again yet."""
    program = start(name, paths.RUNTIME.parent)
    if name == "report":
        result, log = outcome(program)
        assert (result["total_mib"], result["copied"], log) == (100, True, "")
        return
    assert program.stdout.readline() == "working\n"
    eventually(lambda: ask(program)[2] > 10)
    earlier.kill()
    manager = host.start()
    host.wait_converged(1)
    assert sessions(manager)
    done = ask(program)[2]
    eventually(lambda: ask(program)[2] > done + 10)
    want(host, manager, 2, [ONE], [])
    result, log = outcome(program)
    assert result == {"error": DEVICE_UNAVAILABLE}
    assert "device 0 is lost: its worker ended" in log
