"""The API over real HTTP, with the clients that OpenStack's tools are made of."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread

import openstack
import pytest
import sqlalchemy as sa
import webob
from cheroot import wsgi
from keystoneauth1 import adapter, discover, noauth, session

from gpupool.api.app import make_app
from gpupool.db import hosts
from gpupool.model import errors
from tests.functional.api.service import new_conf

# One worker of pytest-xdist, so that only one starts the service that this module shares.
pytestmark = pytest.mark.xdist_group("api-http")


@contextmanager
def serving(app):
    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=4)
    server.prepare()
    thread = Thread(target=server.serve)
    thread.start()
    try:
        yield server.bind_addr[1]
    finally:
        server.stop()
        thread.join()


@pytest.fixture
def port(shared):
    with serving(shared.app) as chosen:
        yield chosen


def raw(port, request):
    """Send ``request``, bytes as they are; return status and JSON body."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())


def test_keystoneauth_finds_the_version(port):
    endpoint = f"http://127.0.0.1:{port}"
    found = discover.Discover(session.Session(), endpoint).version_data()
    assert len(found) == 1
    assert found[0]["version"] == (1, 0)
    assert found[0]["url"] == f"{endpoint}/v1/"
    assert found[0]["min_microversion"] == found[0]["max_microversion"] == (1, 0)


@pytest.mark.parametrize("path", ["", "/v1", "/v1/"])
def test_keystoneauth_adapter_asks_for_a_microversion(port, path):
    client = adapter.Adapter(
        session.Session(auth=noauth.NoAuth(endpoint=f"http://127.0.0.1:{port}{path}")),
        service_type="gpu-pool",
        min_version="1",
        max_version="1.latest",
        default_microversion="1.0",
    )
    data = client.get_endpoint_data()
    assert data.url.rstrip("/") == f"http://127.0.0.1:{port}/v1"
    assert data.max_microversion == (1, 0)
    answer = client.get(f"{data.url.rstrip('/')}/pools")
    assert answer.headers["openstack-api-version"] == "gpu-pool 1.0"


def test_openstacksdk_reads_a_listing(port):
    endpoint = f"http://127.0.0.1:{port}"
    cloud = openstack.connection.Connection(
        session=session.Session(auth=noauth.NoAuth(endpoint=endpoint)),
    )
    proxy = openstack.proxy.Proxy(
        cloud.session, service_type="gpu-pool", endpoint_override=f"{endpoint}/v1"
    )
    assert "default" in [pool["name"] for pool in proxy.get("/pools").json()["pools"]]


def test_addresses_that_are_not_utf8(port):
    for path in (b"/v1/pools/%ff", b"/v1/pools?name=%ff", b"/%c3%28"):
        status, body = raw(
            port, b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % (path, port)
        )
        assert status == 400
        assert body["errors"][0]["detail"] == "the address is not UTF-8"


def chunked(port, data):
    head = (
        b"POST /v1/claims HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return head % port + b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


def test_a_chunked_body(port):
    status, body = raw(port, chunked(port, b'{"compute": 10, "memory_mib": 100}'))
    assert status == 201
    assert body["compute"] == 10


def test_a_chunked_body_that_is_too_large(port):
    status, body = raw(port, chunked(port, b'"' + b"x" * 200_000 + b'"'))
    assert status == 413
    assert body["errors"][0]["code"] == "gpu-pool.too_large"


def test_a_body_nested_without_end(port):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/v1/claims", "[" * 100_000, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 400
    assert json.load(answer)["errors"][0]["detail"] == "the body is nested too deeply; allowed: 8 levels"


def test_many_requests_at_once(port):
    def create(number):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        body = json.dumps({"name": f"claim-{number}", "compute": 1, "memory_mib": 1})
        headers = {"Content-Type": "application/json", "X-Project-Id": f"project-{number}"}
        connection.request("POST", "/v1/claims", body, headers)
        answer = json.load(connection.getresponse())
        return answer["name"], answer["project_id"]

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(create, range(20)))
    assert made == [(f"claim-{number}", f"project-{number}") for number in range(20)]


def test_links_have_the_public_endpoint(shared, tmp_path):
    conf = new_conf(tmp_path)
    conf.set_override("public_endpoint", "https://cloud.example.org/gpu-pool", group="api")
    with serving(make_app(conf, shared.database, shared.conductor)) as port:
        client = adapter.Adapter(session.Session(), endpoint_override=f"http://127.0.0.1:{port}")
        href = client.get("/").json()["versions"][0]["links"][0]["href"]
        assert href == "https://cloud.example.org/gpu-pool/v1/"
        client.post("/v1/pools", json={"name": "east"})
        link = client.get("/v1/pools?limit=1").json()["links"][0]["href"]
        assert link.startswith("https://cloud.example.org/gpu-pool/v1/pools?limit=1&marker=")


def test_what_is_made_is_at_its_location(port):
    client = adapter.Adapter(
        session.Session(auth=noauth.NoAuth(endpoint=f"http://127.0.0.1:{port}")),
        endpoint_override=f"http://127.0.0.1:{port}/v1",
    )

    def made(answer, status):
        """Return the item that was made, once its addresses lead to it."""
        assert answer.status_code == status
        item, there = answer.json(), answer.headers["Location"]
        assert item["links"] == [
            {"rel": "self", "href": there},
            {"rel": "bookmark", "href": there.replace("/v1/", "/")},
        ]
        for link in item["links"]:
            assert client.get(link["href"]).json()["id"] == item["id"]
        return item

    made(client.post("/pools", json={"name": "located"}), 201)
    made(client.post("/profiles", json={"name": "located", "compute": 1, "memory_mib": 1}), 201)
    claim = made(client.post("/claims", json={"compute": 1, "memory_mib": 1}), 201)
    while client.get(f"/claims/{claim['id']}").json()["state"] != "bound":
        time.sleep(0.05)
    wanted = {"claim_id": claim["id"], "kind": "process"}
    made(client.post("/attachments", json=wanted), 201)
    # The same once more: what is there already.
    made(client.post("/claims", json={"id": claim["id"], "compute": 1, "memory_mib": 1}), 201)
    made(client.post(f"/claims/{claim['id']}/action", json={"release": {}}), 202)
    waiting = made(client.post("/claims", json={"compute": 1, "memory_mib": 1}), 201)
    made(client.delete(f"/claims/{waiting['id']}"), 202)


NOUNS = ("pools", "hosts", "devices", "profiles", "claims", "vgpus", "attachments", "sessions")


@pytest.mark.parametrize("noun", NOUNS)
def test_each_item_of_a_listing_says_where_it_is(port, noun):
    client = adapter.Adapter(session.Session(), endpoint_override=f"http://127.0.0.1:{port}/v1")
    for item in client.get(f"/{noun}?limit=3").json()[noun]:
        links = {link["rel"]: link["href"] for link in item["links"]}
        assert links == {
            "self": f"http://127.0.0.1:{port}/v1/{noun}/{item['id']}",
            "bookmark": f"http://127.0.0.1:{port}/{noun}/{item['id']}",
        }
        assert client.get(links["self"]).json()["id"] == item["id"]


def answer(app, path, method="GET", **headers):
    environ = {}
    with serving(app) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        environ.update(status=response.status, headers=response.headers, body=response.read().decode())
    return environ


def test_an_unexpected_failure_shows_no_traceback(shared, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(hosts, "find", fail)
    got = answer(shared.app, "/v1/hosts/any")
    assert got["status"] == 500
    assert "secret" not in got["body"]
    error = json.loads(got["body"])["errors"][0]
    assert error["code"] == "gpu-pool.internal"
    assert error["request_id"] == got["headers"]["x-openstack-request-id"]
    assert "a secret detail" in caplog.text


def test_a_conductor_that_does_not_answer(shared, monkeypatch):
    def fail(*args, **kwargs):
        raise errors.Unavailable("no conductor answered in time; try again")

    monkeypatch.setattr(shared.conductor, "delete_pool", fail)
    got = answer(shared.app, "/v1/pools/default", "DELETE")
    assert got["status"] == 503
    assert json.loads(got["body"])["errors"][0]["detail"] == "no conductor answered in time; try again"


@pytest.mark.parametrize(
    ("noun", "call"), [("claim", "create_claim"), ("attachment", "create_attachment")]
)
def test_what_a_slow_conductor_may_have_made_is_named(shared, monkeypatch, noun, call):
    """It makes it, and its answer comes too late."""
    made = []
    create = getattr(shared.conductor, call)

    def late(ctxt, item_id, wanted):
        made.append(create(ctxt, item_id, wanted).id)
        raise errors.Unavailable("no conductor answered in time; try again")

    with serving(shared.app) as port:
        client = adapter.Adapter(
            session.Session(), endpoint_override=f"http://127.0.0.1:{port}/v1", raise_exc=False
        )
        body = {"compute": 1, "memory_mib": 1}
        if noun == "attachment":
            claim = client.post("/claims", json=body).json()
            while claim["state"] != "bound":
                claim = client.get(f"/claims/{claim['id']}").json()
            body = {"claim_id": claim["id"], "kind": "process"}
        with monkeypatch.context() as slow:
            slow.setattr(shared.conductor, call, late)
            answer = client.post(f"/{noun}s", json=body)
        assert answer.status_code == 503
        assert answer.json()["errors"][0]["detail"] == (
            f"no conductor answered in time; try again; the {noun} may be made all the same: "
            f"look for {made[0]}, or repeat the request with this id"
        )
        again = client.post(f"/{noun}s", json={**body, "id": made[0].upper()})
        assert (again.status_code, again.json()["id"]) == (201, made[0])


def test_a_page_of_another_site_reaches_nothing(port):
    """DNS rebinding: its name leads to this machine. Simple requests need no reading of answers."""
    body = b'{"compute": 1, "memory_mib": 1, "name": "by-a-web-page"}'
    head = (
        b"%s /v1/claims HTTP/1.1\r\nConnection: close\r\n%s\r\n"
        b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
    )
    here = b"Host: 127.0.0.1:%d" % port
    json_type, plain = b"application/json", b"text/plain"
    assert raw(port, head % (b"GET", b"Host: evil.example", json_type, 0, b""))[0] == 403
    for named, kind, status in (
        (b"Host: evil.example:%d" % port, json_type, 403),
        (here + b"\r\nOrigin: http://evil.example", json_type, 403),
        (here + b"\r\nSec-Fetch-Site: cross-site", json_type, 403),
        (here, plain, 415),
        (here, json_type, 201),
    ):
        assert raw(port, head % (b"POST", named, kind, len(body), body))[0] == status


def test_names_of_a_filter_are_found_in_two_statements(shared):
    """Not one for each name, and no list of all members of a pool."""
    counted = []
    for names in (1, 90):
        for number in range(names):
            create = webob.Request.blank("/v1/pools", method="POST", content_type="application/json")
            create.body = json.dumps({"name": f"counted-{number}"}).encode()
            create.get_response(shared.app)
        query = "&".join(f"pool=counted-{number}" for number in range(names))
        with statements(shared.database) as seen:
            answered = webob.Request.blank(f"/v1/devices?{query}").get_response(shared.app)
        assert answered.status_int == 200
        counted.append(len(seen))
    assert counted[0] == counted[1] < 12


@contextmanager
def statements(database):
    """Collect the statements that ``database`` is sent by this thread."""
    seen, own = [], threading.get_ident()
    with database.reader() as opened:
        engine = opened.get_bind()

    def note(_connection, _cursor, statement, *_):
        if threading.get_ident() == own:
            seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
