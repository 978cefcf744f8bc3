"""The agent behind real oslo.messaging (in-process transport): it reports, and looks when told."""

import uuid

import oslo_messaging
import pytest
from oslo_context.context import RequestContext

import gpupool.conf
from gpupool.agent.service import Agent
from gpupool.model import wire
from gpupool.model.report import DesiredState, HostReport
from gpupool.rpc import agent as rpc_agent
from gpupool.rpc import conductor as rpc_conductor
from gpupool.rpc import transport as rpc_transport

from .stand_in import HOST, eventually, vgpu


class ConductorEndpoint:
    """The one method of a conductor that agents call."""

    target = oslo_messaging.Target(version=rpc_conductor.VERSION)

    def __init__(self):
        self.desired = DesiredState(host=HOST, generation=0)
        self.reports = []

    def report_host(self, ctxt, report):
        self.reports.append(wire.load(HostReport, report))
        return wire.dump(self.desired)


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
    target = oslo_messaging.Target(topic=rpc_conductor.TOPIC, server="conductor-1")
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
    rpc_agent.AgentClient(messaging).look(RequestContext(), conductor.desired)
    eventually(lambda: conductor.reports[-1].generation == 4)
    assert [one.id for one in conductor.reports[-1].vgpus] == [vgpu(1).id]


def test_nothing_but_look_can_be_called(messaging, agent):
    target = oslo_messaging.Target(topic=rpc_agent.TOPIC, version=rpc_agent.VERSION, server=HOST)
    client = rpc_transport.get_client(messaging, target, timeout=5)
    for method in ("stop", "start", "converge", "host_report"):
        with pytest.raises(oslo_messaging.NoSuchMethod):
            client.call(RequestContext(), method)
