"""Two conductors on RabbitMQ, MariaDB and Placement; the leader is killed while claims are bound."""

import os
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from oslo_context.context import RequestContext

from bench.claims.stack import Missing, Options, Stack
from gpupool import conf as gpupool_conf
from gpupool.model import errors
from gpupool.model.claim import ClaimRequest
from gpupool.rpc import transport
from gpupool.rpc.conductor import ConductorClient

CLAIMS = 60
HASTE = {
    ("conductor", "queue_interval"): "1",
    ("conductor", "reconcile_interval"): "2",
    ("conductor", "allocating_timeout"): "3",
}


@pytest.fixture
def stack(tmp_path):
    hosts = {"host-0": 4, "host-1": 4}
    made = Stack(
        tmp_path,
        Options(hosts=hosts, interval=2, placement_processes=1, durable=False, settings=HASTE),
    )
    try:
        made.start()
    except Missing as exc:
        made.close()
        pytest.skip(str(exc))
    made.start_agents()
    traits = "placement.resource_provider_traits", "DISTINCT resource_provider_id"
    eventually(lambda: made.count(*traits) == 8, "the devices' providers")
    yield made
    made.close()


def eventually(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"{what}: not in time"
        time.sleep(0.1)


def states(stack):
    return dict(stack.query("SELECT state, COUNT(*) FROM gpupool.claims GROUP BY state"))


def create(client, claim_id):
    """Make a claim as a client does that was not answered: again, with the same id."""
    request = ClaimRequest(compute=10, memory_mib=512)
    while True:
        try:
            return client.create_claim(RequestContext(project_id="p", user_id="u"), claim_id, request)
        except errors.Unavailable:
            continue


def leader(stack):
    """Return the pid of the session of the conductor that binds."""

    def bound(path):
        return path.read_text().count(" is allocating")

    number = max(range(2), key=lambda each: bound(stack.logs()[each]))
    return stack.groups["conductors"][number]


def test_another_leads_and_every_claim_is_bound_once(stack):
    client = ConductorClient(
        transport.get_transport(gpupool_conf.new(files=[str(stack.folder / "gpupool.conf")])), timeout=5
    )
    ids = [str(uuid.uuid4()) for _ in range(CLAIMS)]
    killed = threading.Event()

    def kill():
        eventually(lambda: any(" is allocating" in log.read_text() for log in stack.logs()), "a leader")
        os.killpg(leader(stack), signal.SIGKILL)
        killed.set()

    with ThreadPoolExecutor(9) as threads:
        killing = threads.submit(kill)
        made = list(threads.map(lambda each: create(client, each), ids))
        killing.result()
    assert killed.is_set()
    assert [claim.id for claim in made] == ids
    eventually(lambda: states(stack) == {"bound": CLAIMS}, "binding what the dead one left")
    rows = stack.query("SELECT id FROM gpupool.vgpus")
    held = stack.query("SELECT DISTINCT consumer_id FROM placement.allocations")
    assert len(rows) == CLAIMS
    assert sorted(rows) == sorted(held)
