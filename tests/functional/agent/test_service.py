"""The agent behind real oslo.messaging (in-process transport): it reports, and looks when told."""

import dataclasses
import json
import logging
import uuid

import oslo_messaging
import pytest
from oslo_context.context import RequestContext

import gpupool.conf
from gpupool.agent import limited_log
from gpupool.agent.service import Agent
from gpupool.model import errors, wire
from gpupool.model.envelope import Instructions, Introduction, Purpose, Welcome
from gpupool.model.host_key import KeyState
from gpupool.model.report import DesiredState, HostReport
from gpupool.rpc import agent as rpc_agent
from gpupool.rpc import keys
from gpupool.rpc import reports as rpc_reports
from gpupool.rpc import transport as rpc_transport

from .stand_in import HOST, eventually, vgpu


class ConductorEndpoint:
    """A conductor that admits everybody, and answers what the test wants."""

    target = oslo_messaging.Target(version=rpc_reports.VERSION)

    def __init__(self):
        self.desired = DesiredState(host=HOST, generation=0)
        self.reports = []
        private, public = keys.new_signing_key()
        self.signer = keys.conductor_signer(private, public)
        self.sealing = None

    def introduce(self, ctxt, message):
        shown = wire.load(Introduction, json.loads(message["body"]))
        self.sealing = shown.sealing_key, message["key"]
        return self.answer(message, Purpose.WELCOME, self.said(Welcome, state=KeyState.ADMITTED))

    def report(self, ctxt, message):
        self.reports.append(wire.load(HostReport, json.loads(message["body"])))
        return self.answer(message, Purpose.DESIRED, self.sealed())

    def told(self):
        return self.signer.sign(Purpose.LOOK, HOST, self.desired.generation, self.sealed())

    def sealed(self):
        return keys.seal(self.said(Instructions, desired=self.desired), HOST, *self.sealing)

    def said(self, kind, **fields):
        return json.dumps(wire.dump(kind(**fields, conductor_keys=(self.signer.name,))))

    def answer(self, message, purpose, body):
        return wire.dump(self.signer.sign(purpose, HOST, message["sequence"], body))


@pytest.fixture
def messaging(host):
    host.conf.set_override("report_interval", 3600, "agent")
    oslo_messaging.set_transport_defaults(f"test-{uuid.uuid4()}")  # an exchange no other test shares
    file = host.state / "messages.conf"
    file.write_text("[DEFAULT]\ntransport_url = fake://\n")
    made = rpc_transport.get_transport(gpupool.conf.new(files=[str(file)]))
    yield made
    made.cleanup()


@pytest.fixture
def conductor(messaging):
    endpoint = ConductorEndpoint()
    target = rpc_transport.agents_target(messaging, rpc_reports.TOPIC, server="conductor-1")
    server = rpc_transport.get_server(messaging, target, [endpoint])
    server.start()
    yield endpoint
    server.stop()
    server.wait()


@pytest.fixture
def agent(host, messaging, conductor):
    made = Agent(host.conf, messaging)
    made.start()
    yield made
    made.stop(end_sessions=True)


def test_look_makes_the_agent_converge_and_report(messaging, conductor, agent):
    eventually(lambda: conductor.reports)
    assert len(conductor.reports[0].devices) == 2
    conductor.desired = DesiredState(host=HOST, generation=4, vgpus=(vgpu(1),))
    rpc_agent.AgentClient(messaging).look(RequestContext(), HOST, conductor.told())
    eventually(lambda: conductor.reports[-1].generation == 4)
    assert [one.id for one in conductor.reports[-1].vgpus] == [vgpu(1).id]


def test_what_no_conductor_signed_is_not_followed(messaging, conductor, agent):
    eventually(lambda: conductor.reports)
    conductor.desired = DesiredState(host=HOST, generation=4, vgpus=(vgpu(1),))
    target = rpc_transport.agents_target(messaging, rpc_agent.TOPIC, version="1.1", server=HOST)
    client = rpc_transport.get_client(messaging, target, timeout=5)
    forged = dataclasses.replace(conductor.told(), signature="A" * 86 + "==")
    before = len(conductor.reports)
    client.call(RequestContext(), "look", desired=wire.dump(conductor.desired))
    client.call(RequestContext(), "look", message=wire.dump(forged))
    assert len(conductor.reports) == before
    rpc_agent.AgentClient(messaging).look(RequestContext(), HOST, conductor.told())
    eventually(lambda: conductor.reports[-1].generation == 4)


def test_messages_that_nobody_signed_do_not_fill_the_log(messaging, conductor, agent, caplog):
    """Whoever has an account of the message service can send as many as they like."""
    eventually(lambda: conductor.reports)
    target = rpc_transport.agents_target(messaging, rpc_agent.TOPIC, version="1.2", server=HOST)
    client = rpc_transport.get_client(messaging, target, timeout=5)
    told = conductor.told()
    forged = dataclasses.replace(told, signature="A" * 86 + "==")
    shapeless = {**wire.dump(told), "sequence": "many", "body": [["x"] * 100]}
    caplog.clear()
    for message in (wire.dump(forged), shapeless, ["x"]) * limited_log.BURST:
        client.call(RequestContext(), "look", message=message)
    said = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(said) == limited_log.BURST
    assert not any(one.exc_info for one in said)
    assert max(len(one.getMessage()) for one in said) < 1000


def test_an_agent_that_is_not_admitted_keeps_what_it_has(host, messaging, conductor, agent):
    eventually(lambda: conductor.reports)
    conductor.desired = DesiredState(host=HOST, generation=4, vgpus=(vgpu(1),))
    rpc_agent.AgentClient(messaging).look(RequestContext(), HOST, conductor.told())
    eventually(lambda: conductor.reports[-1].generation == 4)

    def refuse(ctxt, message):
        conductor.reports.append(None)
        raise errors.Forbidden("revoked")

    conductor.report = oslo_messaging.expected_exceptions(errors.Forbidden)(refuse)
    agent.manager.look()
    eventually(lambda: conductor.reports[-1] is None)
    assert [one.id for one in agent.manager.host_report().vgpus] == [vgpu(1).id]


def test_nothing_but_look_can_be_called(messaging, agent):
    target = rpc_transport.agents_target(messaging, rpc_agent.TOPIC, server=HOST)
    client = rpc_transport.get_client(messaging, target, timeout=5)
    for method in ("stop", "start", "converge", "host_report"):
        with pytest.raises(oslo_messaging.NoSuchMethod):
            client.call(RequestContext(), method)
