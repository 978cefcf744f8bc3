"""A conductor as it runs: RPC server and threads, with agents (simulated) that look when told."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from oslo_context.context import RequestContext
from oslo_utils import timeutils

from gpupool.conductor.service import Conductor
from gpupool.db import claims, conductor_keys
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.claim import ClaimRequest
from gpupool.model.states import ENDED, ClaimState
from gpupool.rpc import transport as rpc_transport
from gpupool.rpc.conductor import ConductorClient
from testbed.simulated_agent import ServedAgent, SimulatedAgent
from tests.functional.conductor.lab import Lab, new_conf

CLAIMS = 100
CLIENTS = 8
WAIT = 100


@pytest.fixture
def conf():
    return new_conf(queue_interval=1, reconcile_interval=2)


@pytest.fixture
def running(conf, database, placement):
    """Return the transport that two hosts and a running conductor are at."""
    transport = rpc_transport.get_transport(conf)
    conductor = Conductor(conf, database, placement.client(), transport)
    conductor.start()
    with ExitStack() as stack:
        for _ in range(2):
            agent = SimulatedAgent(transport, f"host-{uuid.uuid4().hex[:8]}")
            stack.enter_context(ServedAgent(transport, agent))
        yield transport
    conductor.stop()


def wait_for(database, claim_id, *states):
    """Return the claim when it is in one of ``states``."""
    pause = threading.Event()
    for _ in range(WAIT * 20):
        with database.reader() as session:
            claim = claims.get(session, claim_id)
        if claim.state in states:
            return claim
        pause.wait(0.05)
    raise AssertionError(f"{claim} is not {states} after {WAIT} s")


def test_the_first_key_is_there_when_a_conductor_has_started(conf, database, placement):
    """Agents are given it before one of them asks."""
    transport = rpc_transport.get_transport(conf)
    conductor = Conductor(conf, database, placement.client(), transport)
    conductor.start()
    try:
        with database.reader() as session:
            assert len(conductor_keys.list_(session)) == 1
    finally:
        conductor.stop()
        transport.cleanup()


@pytest.mark.timeout(300)
def test_100_claims_by_8_clients_leave_nothing(conf, running, database, placement):
    """Twelve of 30 % fit at a time: the others queue, and bind when room appears."""
    ctxt = RequestContext(project_id="project-1", user_id="user-1")

    def one(number):
        client = ConductorClient(running, timeout=60)
        claim_id = str(uuid.uuid4())
        request = ClaimRequest(compute=30, memory_mib=64, count=1 + number % 2)
        client.create_claim(ctxt, claim_id, request)
        claim = wait_for(database, claim_id, ClaimState.BOUND, ClaimState.FAILED)
        client.release_claim(ctxt, claim_id)
        ended = wait_for(database, claim_id, *ENDED)
        return claim.state, ended.state

    with ThreadPoolExecutor(CLIENTS) as executor:
        found = list(executor.map(one, range(CLAIMS)))
    assert found == [(ClaimState.BOUND, ClaimState.RELEASED)] * CLAIMS
    lab = Lab(conf, database, placement.client())
    lab.close()
    assert not lab.vgpus()
    assert not lab.allocated()
    lab.check_books()
    with database.reader() as session:
        assert claims.count_by_state(session)[ClaimState.RELEASED] == CLAIMS


def test_a_conductor_refuses_a_database_of_another_version(conf, placement, tmp_path):
    empty = Database.from_url(f"sqlite:///{tmp_path}/empty.sqlite")
    conductor = Conductor(conf, empty, placement.client(), rpc_transport.get_transport(conf))
    with pytest.raises(errors.Unavailable):
        conductor.start()


def test_a_lease_ends_while_placement_does_not_answer(conf, database, placement):
    transport = rpc_transport.get_transport(conf)
    conductor = Conductor(conf, database, placement.client(timeout=10 * WAIT), transport)
    conductor.start()
    ctxt = RequestContext(project_id="project-1", user_id="user-1")
    client = ConductorClient(transport, timeout=60)
    request = ClaimRequest(compute=30, memory_mib=64)
    leased, waiting = str(uuid.uuid4()), str(uuid.uuid4())
    with ServedAgent(transport, SimulatedAgent(transport, f"host-{uuid.uuid4().hex[:8]}")):
        client.create_claim(ctxt, leased, request)
        wait_for(database, leased, ClaimState.BOUND)
        with placement.hanging():
            client.create_claim(ctxt, waiting, request)
            wait_for(database, waiting, ClaimState.ALLOCATING)  # The queue's thread hangs now.
            with database.writer() as session:
                claims.update(session, leased, lease_end=timeutils.utcnow())
            ending = wait_for(database, leased, ClaimState.RELEASING)
            assert ending.release_to == ClaimState.EXPIRED
    conductor.stop()
