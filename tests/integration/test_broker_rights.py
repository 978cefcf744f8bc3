"""What an agent's account of RabbitMQ may, made by the very commands of the installation guide."""

import subprocess
import sys
import tempfile
import threading
import uuid
from pathlib import Path

import amqp
import oslo_messaging
import pytest
from oslo_concurrency import lockutils
from oslo_context.context import RequestContext

from gpupool import conf as gpupool_conf
from gpupool.model import errors, wire
from gpupool.model.envelope import Envelope, Purpose
from gpupool.rpc import agent as rpc_agent
from gpupool.rpc import conductor as rpc_conductor
from gpupool.rpc import reports as rpc_reports
from gpupool.rpc import transport

pytestmark = pytest.mark.timeout(300)
GUIDE = Path(__file__).parents[2] / "doc/source/install/index.rst"
HOST, OTHER, SECRET = "host.a", "host.b", "secret"
CTXT = RequestContext()
MESSAGE = Envelope(purpose=Purpose.REPORT, host=HOST, key="k", sequence=1, body="b", signature="s")


def guide(kind: str, after: str) -> str:
    """Return the first block of code of a kind after some words of the guide, less its indent."""
    text = GUIDE.read_text().partition(after)[2].partition(f".. code-block:: {kind}\n\n")[2]
    lines = []
    for line in text.splitlines():
        if line and not line.startswith("   "):
            break
        lines.append(line[3:])
    return "\n".join(lines)


def commands(host: str, exchange: str) -> str:
    """Return the guide's commands for an account, with the values of a test."""
    given, *rest = guide("sh", "\nAccounts of the message service\n=====").splitlines()
    assert given.startswith("HOST=compute-1 VHOST=gpupool EXCHANGE=openstack SECRET=")
    # The rights alone: what follows asks a conductor.
    rights = rest[: next(at for at, line in enumerate(rest) if line.startswith("CONDUCTOR_KEYS="))]
    return "\n".join([f"HOST={host} VHOST=/ EXCHANGE={exchange} SECRET={SECRET}", *rights])


class Broker:
    """A node with an exchange, a conductor's servers on it, and the accounts of two hosts."""

    def __init__(self, node, folder):
        self.node = node
        self.folder = folder
        self.exchange = f"test-{uuid.uuid4()}"
        for host in (HOST, OTHER):
            node.control(commands(host, self.exchange))

    def configuration(self, host=None):
        """Return the guide's configuration of an agent, or that of a service which may do all."""
        file = self.folder / f"{host}.conf"
        url = self.node.url_of(f"gpupool-agent-{host}", SECRET) if host else self.node.url
        ours = ""
        if host:
            lines = guide("sh", "\nHosts\n=====").replace("$HOST", host).splitlines()
            names = ("use_queue_manager", "hostname", "processname")
            queues = [line for line in lines if line.partition(" = ")[0] in names]
            ours = "\n".join(["[oslo_messaging_rabbit]", *queues])
        file.write_text(
            f"[DEFAULT]\ntransport_url = {url}\ncontrol_exchange = {self.exchange}\n{ours}\n"
        )
        return gpupool_conf.new(files=[str(file)])

    def transport(self, host=None):
        return transport.get_transport(self.configuration(host))


class Endpoint:
    """Takes whatever comes, and keeps it."""

    target = oslo_messaging.Target(version="1.99")

    def __init__(self):
        self.heard = []
        self.came = threading.Event()

    def report(self, ctxt, message):
        return message

    def introduce(self, ctxt, message):
        self.heard.append(message["host"])
        self.came.set()
        return message

    def look(self, ctxt, message):
        self.heard.append(message)
        self.came.set()

    def release_claim(self, ctxt, claim_id):
        self.heard.append(claim_id)


@pytest.fixture(scope="module")
def broker(rabbit_node, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broker")
    lockutils.set_defaults(str(folder))
    return Broker(rabbit_node, folder)


@pytest.fixture(scope="module")
def conductor(broker):
    """A conductor's two topics, served."""
    messages, endpoint = broker.transport(), Endpoint()
    of_agents = transport.agents_target(messages, rpc_reports.TOPIC, server="here")
    of_api = oslo_messaging.Target(topic=rpc_conductor.TOPIC, server="here")
    servers = [transport.get_server(messages, target, [endpoint]) for target in (of_agents, of_api)]
    for server in servers:
        server.start()
    yield endpoint
    for server in servers:
        server.stop()
        server.wait()
    messages.cleanup()


@pytest.fixture(scope="module")
def agents(broker, conductor):
    """Two agents that listen, each by its own account; return their ends, by host."""
    found, servers = {}, []
    for host in (HOST, OTHER):
        messages, endpoint = broker.transport(host), Endpoint()
        target = transport.agents_target(messages, rpc_agent.TOPIC, server=host)
        servers.append(transport.get_server(messages, target, [endpoint]))
        servers[-1].start()
        found[host] = messages, endpoint
    yield found
    for server in servers:
        server.stop()
        server.wait()


def test_an_agent_reports_and_is_told(broker, conductor, agents):
    for host, (messages, endpoint) in agents.items():
        assert rpc_reports.ReportsClient(messages, 60).report(CTXT, MESSAGE) == MESSAGE
        rpc_agent.AgentClient(broker.transport()).look(CTXT, host, MESSAGE)
        assert endpoint.came.wait(60)
        assert endpoint.heard == [wire.dump(MESSAGE)]


def test_the_service_runs_with_what_the_guide_says(broker, conductor, native):
    """gpupool-agent, by its own account, which nothing but the guide gave its rights."""
    with tempfile.TemporaryDirectory(prefix="gp-") as folder:
        file = Path(folder, "gpupool.conf")
        broker.configuration(OTHER)
        paths = "".join(f"{name}_path = {folder}/{name}\n" for name in ("state", "run", "cdi"))
        ours = f"[agent]\nhost = {OTHER}\ndrivers = reference\n{paths}"
        file.write_text((broker.folder / f"{OTHER}.conf").read_text() + ours)
        command = [sys.executable, "-m", "gpupool.cmd.agent", "--config-file", str(file)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as agent:
            try:
                assert conductor.came.wait(90)
            finally:
                agent.terminate()
                said = agent.communicate(timeout=60)[1]
    assert conductor.heard == [OTHER], said
    conductor.heard.clear()


def test_an_agent_can_not_call_conductors(conductor, agents):
    messages, _ = agents[HOST]
    with pytest.raises((errors.Unavailable, oslo_messaging.MessagingException)):
        rpc_conductor.ConductorClient(messages, 3).release_claim(CTXT, "claim")
    assert conductor.heard == []


def refusals(broker):
    """Return by name what the account of HOST must not be able to do, on a channel of its own."""
    agents = f"{broker.exchange}.agents"
    services, body = broker.exchange, amqp.Message("{}")
    other, replies = f"gpupool-agent.{OTHER}", f"reply_{OTHER}:gpupool-agent:1"
    return {
        "read another agent's messages": lambda c: c.basic_get(other),
        "read another agent's answers": lambda c: c.basic_get(replies),
        "read reports": lambda c: c.basic_get("gpupool-reports"),
        "read conductors' messages": lambda c: c.basic_get("gpupool-conductor"),
        "make queues": lambda c: c.queue_declare("any"),
        "take another's queue": lambda c: c.queue_declare(other),
        "delete another's queue": lambda c: c.queue_delete(other),
        "empty another's queue": lambda c: c.queue_purge("gpupool-reports"),
        "delete the services' exchange": lambda c: c.exchange_delete(services),
        "hear reports": lambda c: c.queue_bind(f"gpupool-agent.{HOST}", agents, "gpupool-reports"),
        "hear another agent": lambda c: c.queue_bind(f"gpupool-agent.{HOST}", agents, other),
        "hear everything": lambda c: c.queue_bind(f"gpupool-agent.{HOST}", agents, "#"),
        "hear the services": lambda c: c.queue_bind(f"gpupool-agent.{HOST}", services, "#"),
        "speak to another agent": lambda c: c.basic_publish(body, agents, other),
        "speak to all agents": lambda c: c.basic_publish(body, agents, "gpupool-agent"),
        "call conductors": lambda c: c.basic_publish(body, services, "gpupool-conductor"),
        "call one of them": lambda c: c.basic_publish(body, services, "gpupool-conductor.here"),
        "wake conductors": lambda c: c.basic_publish(body, "gpupool-conductor_fanout", ""),
        "answer another's question": lambda c: c.basic_publish(body, "", replies),
        "put it into a queue": lambda c: c.basic_publish(body, "", "gpupool-conductor"),
    }


def _do(channel, act):
    """Do something and wait until the node has said what it thinks of it."""
    act(channel)
    # What is published is refused later.
    channel.basic_qos(0, 1, False)


@pytest.mark.parametrize("what", refusals(type("Names", (), {"exchange": "any"})))
def test_an_agent_s_account_can_not(broker, agents, what):
    # So that there are answers: a queue that is not there could not be read either.
    rpc_reports.ReportsClient(agents[OTHER][0], 60).report(CTXT, MESSAGE)
    with broker.node.connect(f"gpupool-agent-{HOST}", SECRET) as connection:
        channel = connection.channel()
        channel.confirm_select()
        with pytest.raises(amqp.exceptions.AccessRefused):
            _do(channel, refusals(broker)[what])


def test_the_names_of_answers_are_as_the_rights_say(broker, agents):
    rpc_reports.ReportsClient(agents[OTHER][0], 60).report(CTXT, MESSAGE)
    names = broker.node.control("rabbitmqctl -q list_queues name").split()
    assert f"reply_{OTHER}:gpupool-agent:1" in {name.rpartition(":")[0] + ":1" for name in names}
