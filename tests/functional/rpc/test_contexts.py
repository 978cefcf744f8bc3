"""Whose request a line of a log names."""

import logging
import uuid
from collections import defaultdict

import oslo_messaging
import pytest
from oslo_context import context as oslo_context
from oslo_context.context import RequestContext

from gpupool.conductor.service import Conductor
from gpupool.model import errors
from gpupool.model.claim import ClaimRequest
from gpupool.model.states import ClaimState
from gpupool.rpc import transport as rpc_transport
from gpupool.rpc.conductor import ConductorClient
from testbed.simulated_agent import ServedAgent, SimulatedAgent
from tests.functional.conductor.conftest import database, placement, placement_of_all, template
from tests.functional.conductor.lab import new_conf
from tests.functional.conductor.test_service import wait_for

__all__ = ["database", "placement", "placement_of_all", "template"]


@pytest.fixture
def shown():
    """Return the request ids that oslo.log would write before lines of gpupool, by line."""
    found = defaultdict(set)

    class Handler(logging.Handler):
        def emit(self, record):
            current = oslo_context.get_current()
            found[record.getMessage()].add(current.request_id if current else None)

    handler, logger = Handler(), logging.getLogger("gpupool")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_background_work_names_no_request_and_a_request_its_own(shown, database, placement):
    conf = new_conf(queue_interval=1)
    transport = rpc_transport.get_transport(conf)
    conductor = Conductor(conf, database, placement.client(), transport)
    conductor.start()
    client = ConductorClient(transport, timeout=60)
    requests = {}
    with ServedAgent(transport, SimulatedAgent(transport, f"host-{uuid.uuid4().hex[:8]}")):
        for _ in range(3):
            ctxt = RequestContext(project_id="project-1", user_id="user-1", overwrite=False)
            claim_id = str(uuid.uuid4())
            requests[claim_id] = ctxt.request_id
            client.create_claim(ctxt, claim_id, ClaimRequest(compute=30, memory_mib=64))
            wait_for(database, claim_id, ClaimState.BOUND)
    conductor.stop()
    for claim_id, request_id in requests.items():
        assert shown[f"create claim {claim_id}: done"] == {request_id}
        for state in ("allocating", "binding"):
            assert shown[f"claim {claim_id} is {state}"] == {None}
        # A host's report, which is a request of its own.
        assert not shown[f"claim {claim_id} is bound"] & {None, *requests.values()}


class Endpoint:
    """Fails in every way a conductor may."""

    target = oslo_messaging.Target(version="1.0")

    def report_host(self, ctxt, report):
        raise {"bug": TypeError, "ours": errors.Invalid, "lost": LookupError}[report]("told")


@pytest.mark.parametrize(
    ("report", "error", "says"),
    [
        ("bug", errors.Failed, "a conductor failed: TypeError; its log says more"),
        ("lost", errors.Failed, "a conductor failed: LookupError; its log says more"),
        ("ours", errors.Invalid, "told"),
    ],
)
def test_errors_come_without_the_far_sides_traceback(report, error, says):
    transport = rpc_transport.get_transport(new_conf())
    target = oslo_messaging.Target(topic="gpupool-conductor", version="1.0", server="test")
    server = rpc_transport.get_server(transport, target, [Endpoint()])
    server.start()
    try:
        with pytest.raises(error) as raised:
            ConductorClient(transport, timeout=60)._call(RequestContext(), "report_host", report=report)
    finally:
        server.stop()
        server.wait()
    assert str(raised.value) == says
    assert type(raised.value) is error
