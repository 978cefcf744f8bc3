"""Conductor and two agents as processes on a real RabbitMQ; kill -9 of each."""

import os
import signal
import threading
import uuid

import pytest
from oslo_context.context import RequestContext

from gpupool import conf as gpupool_conf
from gpupool.db import attachments, vgpus
from gpupool.model import errors
from gpupool.model.attachment import AttachmentKind, AttachmentRequest
from gpupool.model.envelope import Envelope, Purpose
from gpupool.rpc import transport
from gpupool.rpc.conductor import ConductorClient
from gpupool.rpc.reports import ReportsClient
from tests.integration.cloud import Cloud

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def cloud(rabbit, native, tmp_path):
    cloud = Cloud(tmp_path, rabbit)
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.close()


def test_claims_and_attachments_on_both_hosts(cloud):
    found = [cloud.create(host=name) for name in cloud.agents]
    cloud.wait_for("bound", *found)
    for claim in found:
        request = AttachmentRequest(claim_id=claim.id, kind=AttachmentKind.PROCESS)
        cloud.client.create_attachment(cloud.ctxt, str(uuid.uuid4()), request)

    def ready():
        with cloud.database.reader() as session:
            return [each.state for each in attachments.list_(session)] == ["ready", "ready"]

    cloud.wait(ready, "both attachments are ready")
    cloud.check_books(2)
    for claim in found:
        cloud.release(claim)
    cloud.wait_for("released", *found)
    cloud.check_books(0)


def test_errors_cross_the_wire_as_what_they_are(cloud):
    with pytest.raises(errors.Invalid, match="compute is 0; allowed: 1 to 100"):
        cloud.create(compute=0)
    with pytest.raises(errors.Invalid, match="no such traits: CUSTOM_NO_SUCH"):
        cloud.create(required_traits=("CUSTOM_NO_SUCH",))
    with pytest.raises(errors.NotFound, match="claim no-such not found"):
        cloud.client.release_claim(cloud.ctxt, "no-such")
    (host, *_) = cloud.up()
    with pytest.raises(errors.Conflict, match="is up; stop its agent"):
        cloud.client.delete_host(cloud.ctxt, host.id)


def test_a_call_that_no_conductor_takes_does_not_wait_for_its_timeout(rabbit, tmp_path):
    """As after a restart of RabbitMQ, before conductors have declared their queues again."""
    file = tmp_path / "client.conf"
    file.write_text(f"[DEFAULT]\ntransport_url = {rabbit}\ncontrol_exchange = nobody\n")
    messages = transport.get_transport(gpupool_conf.new(files=[str(file)]))
    unsigned = Envelope(
        purpose=Purpose.REPORT, host="host-a", key="", sequence=1, body="{}", signature=""
    )
    asked = [
        lambda: ConductorClient(messages, timeout=3600).delete_pool(RequestContext(), "no-such"),
        lambda: ReportsClient(messages, timeout=3600).report(RequestContext(), unsigned),
    ]
    try:
        for ask in asked:
            with pytest.raises(errors.Unavailable, match="no conductor takes requests now; try again"):
                ask()
    finally:
        messages.cleanup()


def test_kill_9_of_the_conductor(cloud):
    """While claims are made and released: another conductor ends what this one began."""
    kept = cloud.create()
    cloud.wait_for("bound", kept)
    made = []
    clients = [
        threading.Thread(target=lambda: made.extend(cloud.create(compute=10) for _ in range(5)))
        for _ in range(2)
    ]
    for client in clients:
        client.start()
    cloud.wait(lambda: len(made) >= 2, "the first claims are made")
    cloud.conductor.kill()
    cloud.conductor.start()
    for client in clients:
        client.join()
    cloud.wait_for("bound", kept, *made)
    cloud.check_books(11)
    for claim in made[:5]:
        cloud.release(claim)
    cloud.conductor.kill()
    cloud.conductor.start()
    cloud.wait_for("released", *made[:5])
    cloud.wait_for("bound", kept, *made[5:])
    cloud.check_books(6)


def test_two_conductors_and_kill_9_of_one(cloud):
    other = cloud.another_conductor()
    found = [cloud.create(compute=20) for _ in range(8)]
    cloud.wait_for("bound", *found)
    cloud.conductor.kill()
    for claim in found:
        cloud.release(claim)
    cloud.wait_for("released", *found)
    cloud.check_books(0)
    assert other.stop() == 0


def test_the_launcher_replaces_a_conductor_that_was_killed(cloud):
    (child,) = cloud.conductor.children
    os.kill(child, signal.SIGKILL)
    claim = cloud.create()
    cloud.wait_for("bound", claim)
    assert cloud.conductor.children != [child]


def test_kill_9_of_an_agent(cloud):
    name, agent = next(iter(cloud.agents.items()))
    kept, ended = [cloud.create(host=name) for _ in range(2)]
    cloud.wait_for("bound", kept, ended)
    agent.kill()
    cloud.wait(lambda: len(cloud.up()) == 1, "the other host alone is up")
    cloud.release(ended)
    cloud.wait_for("released", ended)
    waiting = cloud.create(host=name)
    agent.start()
    cloud.wait_for("bound", kept, waiting)
    cloud.check_books(2)
    with cloud.database.reader() as session:
        rows = vgpus.list_(session)
    ledgers = cloud.folder / name / "ledgers"
    cloud.wait(
        lambda: {path.name for path in ledgers.iterdir()} == {vgpu.id for vgpu in rows},
        "the host has what it should have, and nothing else",
    )


def test_services_end_in_order(cloud):
    claim = cloud.create()
    cloud.wait_for("bound", claim)
    assert cloud.conductor.stop() == 0
    assert [agent.stop() for agent in cloud.agents.values()] == [0, 0]
    cloud.check_books(1)
