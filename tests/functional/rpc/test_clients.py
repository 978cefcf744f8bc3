"""Both clients against servers on a real transport, the in-memory one of oslo.messaging."""

import dataclasses
import inspect
import queue
import uuid
from datetime import datetime

import oslo_messaging
import pytest
from oslo_context.context import RequestContext

from gpupool import conf as gpupool_conf
from gpupool.model import errors, wire
from gpupool.model.attachment import Attachment, AttachmentKind, AttachmentRequest
from gpupool.model.claim import Claim, ClaimChange, ClaimRequest, Tier
from gpupool.model.device import Device, SharingMode
from gpupool.model.envelope import Envelope, Purpose
from gpupool.model.host import Host
from gpupool.model.pool import Pool, PoolChange
from gpupool.model.profile import Profile
from gpupool.model.proposed_move import ProposedMove
from gpupool.model.queue import QueueEntry
from gpupool.model.quota import Quota, Resource
from gpupool.model.states import AttachmentState, ClaimState, HostState
from gpupool.rpc import agent, conductor, reports, transport
from gpupool.rpc.agent import AgentClient
from gpupool.rpc.conductor import ConductorApi, ConductorClient

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456)
CLAIM = Claim(
    id="claim-1",
    name="mine",
    project_id="project",
    user_id="user",
    pool_id="pool-1",
    count=2,
    compute=25,
    memory_mib=512,
    tier=Tier.LOCAL,
    required_traits=("CUSTOM_A", "CUSTOM_B"),
    state=ClaimState.QUEUED,
    lease_end=NOON,
)
TOLD = Envelope(purpose=Purpose.LOOK, host="host-a", key="k", sequence=4, body="b", signature="s")
REQUEST = ClaimRequest(compute=25, memory_mib=512, tier=Tier.POOL, lease_end=NOON)
CHANGE = ClaimChange(priority=7)
ATTACH = AttachmentRequest(claim_id="claim-1", kind=AttachmentKind.CONTAINER)
ATTACHMENT = Attachment(
    id="attachment-1",
    claim_id="claim-1",
    project_id="project",
    host_id="host-1",
    kind=AttachmentKind.CONTAINER,
    state=AttachmentState.PENDING,
    ticket="secret",
    generation=1,
    environment={"A": "b"},
)
POOL = Pool(id="pool-1", name="default")
PROFILE = Profile(id="p", name="small", compute=10, memory_mib=1, tier=Tier.POOL, priority=50)
HOST = Host(id="host-1", name="host-a", pool_id="pool-1", state=HostState.UP, last_seen_at=NOON)
DEVICE = Device(
    id="d", host_id="host-1", key="ref-0", vendor="v", product="p",
    sharing_mode=SharingMode.SHARED, memory_mib=1,
)  # fmt: skip

ENTRY = QueueEntry(claim_id="claim-1", project_id="project", position=1, starts_at=NOON)
MOVE = ProposedMove(claim_id="c", vgpu_id="v", from_device="d", to_device="e", gain=12.5, cost_mib=512)
QUOTA = Quota(project_id="project", resource=Resource.VGPUS, limit=-1, used=3)

# (method, arguments as the client takes them, what the server answers)
CALLS = [
    ("create_claim", {"claim_id": "claim-1", "request": REQUEST}, CLAIM),
    ("adopt_claim", {"claim_id": "claim-1", "consumer_id": "consumer-1", "request": REQUEST}, CLAIM),
    ("update_claim", {"claim_id": "claim-1", "change": CHANGE}, CLAIM),
    ("release_claim", {"claim_id": "claim-1"}, CLAIM),
    ("create_attachment", {"attachment_id": "attachment-1", "request": ATTACH}, ATTACHMENT),
    ("delete_attachment", {"attachment_id": "attachment-1"}, None),
    ("delete_session", {"session_id": "s"}, None),
    ("create_pool", {"pool": POOL}, POOL),
    ("update_pool", {"pool_id": "pool-1", "change": PoolChange(name="new", moves_per_hour=3)}, POOL),
    ("delete_pool", {"pool_id": "pool-1"}, None),
    ("show_queue", {"pool_id": "pool-1"}, [ENTRY]),
    ("defragment", {"pool_id": "pool-1", "dry_run": True, "limit": 3}, [MOVE]),
    ("show_quotas", {"project_id": "project"}, [QUOTA]),
    ("list_quotas", {"after": "a", "most": 3}, [QUOTA]),
    ("create_profile", {"profile": PROFILE}, PROFILE),
    ("update_profile", {"profile_id": "p", "changes": {"compute": 7, "time_limit": None}}, PROFILE),
    ("delete_profile", {"profile_id": "p"}, None),
    ("set_host_pool", {"host_id": "host-1", "pool_id": "pool-1"}, HOST),
    ("set_host_enabled", {"host_id": "host-1", "enabled": False, "reason": "hot"}, HOST),
    ("delete_host", {"host_id": "host-1"}, None),
    ("admit_host", {"host_id": "host-1", "fingerprint": "SHA256:x"}, HOST),
    ("revoke_host", {"host_id": "host-1"}, HOST),
    ("set_device_enabled", {"device_id": "d", "enabled": False, "reason": "hot"}, DEVICE),
    ("delete_device", {"device_id": "d"}, None),
]
# In which version each method of the conductor came: a new one is of a new version.
CAME = {
    "echo": 1, "admit_host": 2, "revoke_host": 2,
    **dict.fromkeys(("set_host_enabled", "update_profile", "delete_session", "list_quotas"), 3),
    "adopt_claim": 4,
    **dict.fromkeys(
        (
            "create_claim", "update_claim", "release_claim", "create_attachment", "delete_attachment",
            "create_pool", "update_pool", "delete_pool", "show_queue", "defragment", "show_quotas",
            "create_profile", "delete_profile", "set_host_pool", "delete_host", "set_device_enabled",
            "delete_device", "wake_queue", "report_host",
        ),
        0,
    ),
}  # fmt: skip
METHODS = {
    name for name, value in inspect.getmembers(ConductorApi, callable) if not name.startswith("_")
}


class Recorder:
    """Stands for a manager: keeps what arrived, answers or raises what it is told to."""

    def __init__(self):
        self.received = queue.Queue()
        self.answer = None

    def _take(self, method, ctxt, arguments):
        self.received.put((method, ctxt, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def look(self, ctxt, **arguments):
        return self._take("look", ctxt, arguments)


def _endpoint(method):
    def called(self, ctxt, **arguments):
        return self._take(method, ctxt, arguments)

    return called


for _method in METHODS | {"introduce", "report"}:
    setattr(Recorder, _method, _endpoint(_method))


@pytest.fixture(scope="module")
def messaging(tmp_path_factory):
    file = tmp_path_factory.mktemp("messaging") / "gpupool.conf"
    file.write_text("[DEFAULT]\ntransport_url = fake://\n")
    messaging = transport.get_transport(gpupool_conf.new(files=[str(file)]))
    yield messaging
    messaging.cleanup()


def serve(messaging, topic, server, version=None):
    """Serve a topic as the present release does, or one of an older version."""
    recorder = Recorder()
    latest = {conductor.TOPIC: conductor, agent.TOPIC: agent, reports.TOPIC: reports}[topic].VERSION
    recorder.target = oslo_messaging.Target(version=version or latest)
    target = oslo_messaging.Target(topic=topic, server=server)
    if topic != conductor.TOPIC:
        target = transport.agents_target(messaging, topic, server=server)
    running = transport.get_server(messaging, target, [recorder])
    running.start()
    return recorder, running


@pytest.fixture(scope="class")
def serving(messaging):
    recorder, running = serve(messaging, conductor.TOPIC, "here")
    yield recorder
    running.stop()
    running.wait()


@pytest.fixture
def server(serving):
    yield serving
    while not serving.received.empty():
        serving.received.get()


@pytest.fixture
def client(messaging):
    return ConductorClient(messaging, timeout=30)


@pytest.fixture
def ctxt():
    return RequestContext(
        project_id="project", user_id="user", roles=["member"], request_id=f"req-{uuid.uuid4()}"
    )


def plain(value):
    if isinstance(value, list):
        return [plain(one) for one in value]
    return wire.dump(value) if dataclasses.is_dataclass(value) else value


def test_every_method_of_the_interface_is_called_here():
    # Agents of before, without this client, call report_host.
    assert {name for name, _, _ in CALLS} | {"wake_queue", "echo", "report_host"} == METHODS


class TestServed:
    """With a server, which stops before the other tests."""

    @pytest.mark.parametrize(("method", "arguments", "answer"), CALLS)
    def test_a_call_arrives_as_plain_data_and_its_answer_as_a_dataclass(
        self, server, client, ctxt, method, arguments, answer
    ):
        server.answer = plain(answer)
        assert getattr(client, method)(ctxt, *arguments.values()) == answer
        name, received_ctxt, received = server.received.get(timeout=30)
        assert name == method
        assert received == {name: plain(value) for name, value in arguments.items()}
        for field in ("project_id", "user_id", "roles", "request_id"):
            assert getattr(received_ctxt, field) == getattr(ctxt, field)

    @pytest.mark.parametrize(("method", "arguments", "answer"), CALLS)
    def test_an_error_of_the_server_is_raised_as_itself(
        self, server, client, ctxt, method, arguments, answer
    ):
        server.answer = errors.Conflict(f"{method} is not possible now")
        with pytest.raises(errors.Conflict, match=f"{method} is not possible now"):
            getattr(client, method)(ctxt, *arguments.values())

    def test_waking_the_queue_waits_for_no_answer(self, server, client, ctxt):
        server.answer = errors.Conflict("nobody is told of this")
        assert client.wake_queue(ctxt) is None
        name, _, received = server.received.get(timeout=30)
        assert (name, received) == ("wake_queue", {})

    def test_an_answer_of_a_newer_schema_is_refused(self, server, client, ctxt):
        server.answer = {**wire.dump(CLAIM), "schema_version": 2}
        with pytest.raises(errors.Invalid, match="Claim: schema version 2"):
            client.release_claim(ctxt, "claim-1")


@pytest.fixture
def of_version(messaging):
    """A conductor of each version, which serve one after the other."""
    started = []

    def start(topic, minor):
        recorder, running = serve(messaging, topic, f"host-{minor}", f"1.{minor}")
        started.append(running)
        return recorder, running

    yield start
    for running in started:
        running.stop()
        running.wait()


def test_the_version_of_every_method_is_known_here():
    assert CAME.keys() == METHODS
    assert f"1.{max(CAME.values())}" == conductor.VERSION


@pytest.mark.parametrize("minor", range(max(CAME.values()) + 1))
def test_a_conductor_takes_what_its_version_has(of_version, client, ctxt, minor):
    """What it has not is refused before anything is done, and says why."""
    recorder, _ = of_version(conductor.TOPIC, minor)
    for method, arguments, answer in CALLS:
        recorder.answer = plain(answer)
        if CAME[method] <= minor:
            assert getattr(client, method)(ctxt, *arguments.values()) == answer
            assert recorder.received.get(timeout=30)[0] == method
            continue
        with pytest.raises(errors.Unavailable) as refused:
            getattr(client, method)(ctxt, *arguments.values())
        assert str(refused.value) == (
            f"a conductor of an older release answered, which has no {method}; upgrade every conductor"
        )
        assert recorder.received.empty()


@pytest.mark.parametrize("kind", ["UnsupportedVersion", "NoSuchMethod"])
def test_an_older_conductor_beyond_a_broker(kind):
    """A broker's driver carries these errors by their names."""
    said = "of an older release answered, which has no new"
    with pytest.raises(errors.Unavailable, match=said), transport.answering("new"):
        raise oslo_messaging.RemoteError(kind, "Endpoint does not", [])


def test_casts_to_conductors_of_several_versions(of_version, client, ctxt):
    oldest, _ = of_version(conductor.TOPIC, 0)
    newer, _ = of_version(conductor.TOPIC, 1)
    client.echo(ctxt, "token")
    client.wake_queue(ctxt)
    assert newer.received.get(timeout=30)[0] == "echo"
    for each in (newer, oldest):
        assert each.received.get(timeout=30)[0] == "wake_queue"


def test_an_agent_without_signatures_is_told_to_report(of_version, messaging, ctxt):
    """Signed reports need version 1.2; older conductors are not sent any."""
    oldest, _ = of_version(agent.TOPIC, 0)
    newer, _ = of_version(agent.TOPIC, 2)
    client = AgentClient(messaging)
    for host in ("host-0", "host-2"):
        client.look(ctxt, host, TOLD)
        client.look(ctxt, host, None)
    assert oldest.received.get(timeout=30)[2] == {}
    # Threads of the server take the two, in any order.
    taken = [newer.received.get(timeout=30)[2] for _ in range(2)]
    assert sorted(taken, key=len) == [{}, {"message": wire.dump(TOLD)}]
    assert oldest.received.empty()


def test_agents_ask_conductors_of_the_oldest_version(of_version, messaging, ctxt):
    recorder, _ = of_version(reports.TOPIC, 0)
    recorder.answer = wire.dump(TOLD)
    client = reports.ReportsClient(messaging, 30)
    for method in ("introduce", "report"):
        assert getattr(client, method)(ctxt, TOLD) == TOLD


def test_look_reaches_only_the_host_it_names(messaging, ctxt):
    a, running_a = serve(messaging, agent.TOPIC, "host-a")
    b, running_b = serve(messaging, agent.TOPIC, "host-b")
    client = AgentClient(messaging)
    try:
        client.look(ctxt, "host-a", TOLD)
        name, received_ctxt, arguments = a.received.get(timeout=30)
        assert (name, received_ctxt.request_id) == ("look", ctxt.request_id)
        assert wire.load(Envelope, arguments["message"]) == TOLD
        client.look(ctxt, "host-b", None)
        assert b.received.get(timeout=30)[2] == {}
        assert a.received.empty()
    finally:
        for running in (running_a, running_b):
            running.stop()
            running.wait()


def test_look_waits_for_nobody(messaging, ctxt):
    AgentClient(messaging).look(ctxt, "host-that-is-not", TOLD)


class TestReports:
    """The client that agents use."""

    @pytest.fixture
    def served(self, messaging):
        recorder, running = serve(messaging, reports.TOPIC, "here")
        yield recorder
        running.stop()
        running.wait()

    @pytest.mark.parametrize("method", ["introduce", "report"])
    def test_a_message_and_its_answer_are_envelopes(self, messaging, served, ctxt, method):
        served.answer = wire.dump(TOLD)
        client = reports.ReportsClient(messaging, 30)
        assert getattr(client, method)(ctxt, TOLD) == TOLD
        assert served.received.get(timeout=30)[0::2] == (method, {"message": wire.dump(TOLD)})
        served.answer = errors.Forbidden("not you")
        with pytest.raises(errors.Forbidden, match="not you"):
            getattr(client, method)(ctxt, TOLD)

    def test_no_answer_in_time_is_unavailable(self, messaging, ctxt):
        with pytest.raises(errors.Unavailable, match="no conductor answered"):
            reports.ReportsClient(messaging, 0.1).report(ctxt, TOLD)


# Last: the in-memory transport keeps calls that nobody answered for the next server.
@pytest.mark.parametrize(("method", "arguments", "answer"), CALLS)
def test_no_answer_in_time_is_unavailable(messaging, ctxt, method, arguments, answer):
    client = ConductorClient(messaging, timeout=0.1)
    with pytest.raises(errors.Unavailable, match="no conductor answered"):
        getattr(client, method)(ctxt, *arguments.values())
