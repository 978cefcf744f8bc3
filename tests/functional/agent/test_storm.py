"""One tenant's programs ask without end: the others' are not kept waiting, nor is the log filled."""

import json
import logging
import threading

import pytest

from gpupool.agent import limited_log, server
from gpupool.dataplane import worker
from gpupool.dataplane.handshake import Error, Hello, Kind

from .stand_in import TICKET, TIMEOUT, attachment, eventually, vgpu

NOISY, CALM = vgpu(1), vgpu(2)
STORM, NEIGHBOUR = attachment(1, NOISY), attachment(2, CALM)
FLOOD = 500


@pytest.fixture
def manager(host):
    host.conf.set_override("report_interval", 3600, "agent")
    host.conductor.want(1, [NOISY, CALM], [STORM, NEIGHBOUR])
    manager = host.start()
    host.wait_converged(1)
    return manager


class Gate:
    """Holds the start of every worker of some attachments until it is opened."""

    def __init__(self, host, monkeypatch):
        self.storm = {STORM.id}
        self.held = []
        self.opened = threading.Event()
        self._host = host
        self._spawn = worker.spawn
        monkeypatch.setattr(worker, "spawn", self.spawn)

    def spawn(self, spec, executable):
        found = json.loads((self._host.folders.sessions / spec.session_id).read_text())
        if found["attachment_id"] in self.storm:
            self.held.append(spec.session_id)
            assert self.opened.wait(TIMEOUT)
        return self._spawn(spec, executable)


@pytest.fixture
def gate(host, monkeypatch):
    made = Gate(host, monkeypatch)
    yield made
    made.opened.set()


def ask(host, wanted):
    program = host.program(wanted)
    program.connection.send(Hello(Kind.OPEN, 0, 1, TICKET).pack())
    return program


def opened(host, wanted):
    program = host.program(wanted)
    assert program.hello(Kind.OPEN).error == 0
    assert program.wait_ready() == 0
    return program


def test_a_neighbour_waits_for_none_of_a_storm(host, manager, gate):
    """Each of the storm's openings hangs; the neighbour's go on although there are more than threads."""
    asked = [ask(host, STORM) for _ in range(16)]
    eventually(lambda: len(gate.held) == server.ANSWERS_OF_ONE, "the storm")
    for _ in range(4):
        opened(host, NEIGHBOUR)
    assert manager.host_report().attachments
    assert len(gate.held) == server.ANSWERS_OF_ONE
    gate.opened.set()
    for program in asked:
        assert program.connection.recv(65536)
        assert program.wait_ready() == 0
    assert len(gate.held) == 16


def test_many_claims_of_a_project_have_no_more_turns_than_one(host, manager, gate):
    one_project = [vgpu(number, compute=1, project="p") for number in range(11, 19)]
    storm = [attachment(number, one) for number, one in enumerate(one_project, 11)]
    gate.storm = {one.id for one in storm}
    host.conductor.want(2, [NOISY, CALM, *one_project], [STORM, NEIGHBOUR, *storm])
    manager.converge()
    asked = [ask(host, one) for one in storm]
    eventually(lambda: len(gate.held) == server.ANSWERS_OF_ONE, "the storm")
    opened(host, NEIGHBOUR)
    assert len(gate.held) == server.ANSWERS_OF_ONE
    gate.opened.set()
    for program in asked:
        assert program.connection.recv(65536)
        assert program.wait_ready() == 0


def test_what_is_being_opened_ends_before_its_vgpu(host, manager, gate, monkeypatch):
    monkeypatch.setattr("gpupool.agent.supervisor.START_SECONDS", 0.01)
    program = ask(host, STORM)
    eventually(lambda: gate.held)
    host.conductor.want(2, [CALM], [NEIGHBOUR])
    manager.converge()
    assert NOISY.id in [one.id for one in host.conductor.reported().vgpus]
    assert (host.folders.ledgers / NOISY.id).exists()
    gate.opened.set()
    eventually(lambda: manager.host_report().sessions, "the opening")
    manager.converge()
    program.wait_hung_up()
    assert [one.id for one in host.conductor.reported().vgpus] == [CALM.id]
    assert not host.session_records()


def test_a_flood_of_refusals_is_a_few_lines_that_say_how_many(host, manager, caplog):
    for _ in range(FLOOD):
        assert host.program(STORM).hello(Kind.LIST, ticket="x").error == Error.NO_DEVICE
    assert host.program(NEIGHBOUR).hello(Kind.LIST, ticket="x").error == Error.NO_DEVICE
    lines = [one.message for one in caplog.records if "wrong ticket" in one.message]
    assert limited_log.BURST < len(lines) < FLOOD // 5
    # A neighbour's own lines are not lost among them.
    assert NEIGHBOUR.id in lines[-1]


def test_a_flood_of_sessions_is_a_few_lines(host, manager, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(20):
        opened(host, STORM).close()
        eventually(lambda: not host.session_records())
    lines = [one for one in caplog.records if one.message.startswith("session ")]
    assert limited_log.BURST <= len(lines) < 40


def test_attachments_and_silent_programs_cost_no_thread(host, manager):
    before = threading.active_count()
    many = [attachment(number, NOISY) for number in range(3, 43)]
    host.conductor.want(2, [NOISY, CALM], [STORM, NEIGHBOUR, *many])
    manager.converge()
    silent = [host.program(one) for one in many for _ in range(server.HANDSHAKES + 2)]
    opened(host, NEIGHBOUR)
    assert threading.active_count() == before
    for program in silent:
        program.close()
    for one in many:
        assert host.program(one).hello(Kind.LIST).error == 0
