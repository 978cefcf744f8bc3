"""Which of two conductors leads when one can't do the work: on RabbitMQ, through a proxy."""

import threading
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.cloud import Cloud, Process
from tests.integration.proxy import ADDRESS, Proxy

pytestmark = pytest.mark.timeout(400)


class TwoConductors(Cloud):
    """A cloud whose second conductor reaches RabbitMQ through a proxy."""

    # More than an agent waits for an answer: half of its reports go to one that hangs.
    host_timeout = 30

    def __init__(self, folder: Any, transport_url: str) -> None:
        super().__init__(folder, transport_url, backend_url=f"file://{folder}/coordination")
        broker = urlsplit(transport_url)
        assert broker.port
        self.proxy = Proxy(broker.port)
        self.proxied = transport_url.replace(f":{broker.port}/", f":{self.proxy.port}/")
        assert f"{ADDRESS}:{self.proxy.port}" in self.proxied

    def second(self) -> Process:
        return self.another_conductor(transport_url=self.proxied)

    def check_binds(self) -> None:
        claim = self.create()
        self.wait_for("bound", claim)
        self.release(claim)
        self.wait_for("released", claim)


@pytest.fixture
def cloud(rabbit, native, tmp_path):
    (tmp_path / "coordination").mkdir()
    cloud = TwoConductors(tmp_path, rabbit)
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.close()
        cloud.proxy.close()


def leads(process: Process) -> bool:
    """Return whether a conductor leads, by what it logged last about that."""
    said = [line for line in process.output.splitlines() if "this conductor leads" in line]
    return bool(said) and "no more" not in said[-1]


def test_one_that_never_reached_the_broker_does_not_lead_and_ends(cloud):
    cloud.conductor.kill()
    cloud.proxy.cut()
    second = cloud.second()
    cloud.wait(lambda: "messages are served as soon as" in second.output, "it runs without messages")
    cloud.conductor.start()
    cloud.check_binds()
    assert not leads(second)
    # While the broker is away, still.
    assert second.stop() == 0
    assert "this conductor leads" not in second.output


@pytest.mark.parametrize("fault", ["cut", "hold"])
def test_a_leader_that_loses_the_broker_gives_the_lead_back(cloud, fault):
    second = cloud.second()
    cloud.conductor.kill()
    cloud.wait(lambda: leads(second), "the second leads")
    cloud.conductor.start()
    cloud.check_binds()
    getattr(cloud.proxy, fault)()
    cloud.wait(lambda: not leads(second), "it leads no more")
    cloud.wait(lambda: leads(cloud.conductor), "the other leads")
    cloud.check_binds()
    # That one could not hear hosts does not make them silent.
    assert "is down: no report" not in second.output
    assert second.stop() == 0


def test_kill_9_of_the_leader_between_placements_answer_and_the_hand_over(cloud):
    """By heartbeats, not by allocating_timeout, which is as long as for good here."""
    second = cloud.second()
    cloud.wait(lambda: leads(cloud.conductor), "the first leads")
    server = cloud.placement._server
    real, killed = server.wsgi_app, []

    def kill_after_allocating(environ, start_response):
        body = list(real(environ, start_response))
        asked = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if asked == ("POST", "/allocations") and not killed:
            killed.append(asked)
            cloud.conductor.kill()
        return body

    server.wsgi_app = kill_after_allocating
    claim = cloud.create()
    cloud.wait_for("bound", claim)
    assert killed
    line = f"claim {claim.id} was left allocating: goes on"
    cloud.wait(lambda: line in second.output, "the other conductor says that it went on")
    cloud.check_books(1)
    assert second.stop() == 0


def test_sigterm_ends_a_conductor_whose_placement_hangs(cloud):
    claim = cloud.create()
    cloud.wait_for("bound", claim)
    server = cloud.placement._server
    real, over = server.wsgi_app, threading.Event()

    def hang(environ, start_response):
        over.wait()
        return real(environ, start_response)

    server.wsgi_app = hang
    waiting = cloud.create()
    cloud.wait_for("allocating", waiting)
    assert cloud.conductor.stop() == 0
    assert "not everything ended" in cloud.conductor.output
    over.set()
    server.wsgi_app = real
    # Whoever comes next ends what it left.
    cloud.conductor.start()
    cloud.wait_for("bound", waiting)
    cloud.check_books(2)


def test_sigterm_ends_an_agent_that_never_reached_the_broker(cloud):
    cloud.proxy.cut()
    agent = cloud.another_agent("host-c", transport_url=cloud.proxied)
    cloud.wait(lambda: "messages are served as soon as" in agent.output, "it runs without messages")
    assert agent.stop() == 0
