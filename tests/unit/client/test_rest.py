"""The client against a small HTTP server of this test's own, for answers that the API never gives."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from keystoneauth1 import adapter, noauth, session

from gpupool.client import rest


class Handler(BaseHTTPRequestHandler):
    """Answers what the test put into ``answers``, by method and address."""

    def answer(self) -> None:
        self.server.heard.append((self.command, self.path, dict(self.headers)))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if (self.command, self.path) not in self.server.answers:
            # Never, or rather: after whoever asks has gone.
            self.server.silent.wait()
            return
        status, headers, body = self.server.answers[self.command, self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_DELETE = do_POST = answer  # noqa: N815 - http.server's names

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.answers, http.heard, http.silent = {}, [], threading.Event()
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield http
        http.silent.set()
        http.shutdown()


def client(http: ThreadingHTTPServer, path: str = "", timeout: float | None = None) -> rest.Client:
    endpoint = f"http://127.0.0.1:{http.server_port}{path}"
    return rest.Client(
        adapter.Adapter(
            session.Session(auth=noauth.NoAuth(endpoint=endpoint), timeout=timeout),
            service_type=rest.SERVICE_TYPE,
            default_microversion=rest.MICROVERSION,
        )
    )


def answer(
    http: ThreadingHTTPServer, request: str, body: object, status: int = 200, **headers: str
) -> None:
    method, path = request.split()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    http.answers[method, path] = (status, named, content)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_the_endpoint_may_have_its_version_or_not(server, path: str) -> None:
    answer(server, "GET /v1/pools/x", {"id": "x"})
    assert client(server, path).get("pools", "x") == {"id": "x"}
    assert server.heard[0][2]["OpenStack-API-Version"] == "gpu-pool 1.0"


def test_names_are_quoted(server) -> None:
    answer(server, "GET /v1/pools/a%2Fb%3F", {"id": "x"})
    assert client(server).get("pools", "a/b?") == {"id": "x"}


@pytest.mark.parametrize("ident", ["", ".", ".."])
def test_what_leads_to_another_address_is_not_asked(server, ident: str) -> None:
    own = client(server)
    for ask in (
        lambda: own.get("profiles", ident),
        lambda: own.delete("profiles", ident),
        lambda: own.update("profiles", ident, {"name": "other"}),
        lambda: own.action("hosts", ident, "disable", {}),
    ):
        with pytest.raises(rest.NotFound, match="allowed: an id or a name"):
            ask()
    assert not server.heard


def test_pages_follow_one_another(server) -> None:
    """The marker counts, not the address: that may be one only the service can reach."""
    link = {"rel": "next", "href": "http://inside.example:1/v1/claims?name=n&marker=b"}
    answer(server, "GET /v1/claims?name=n", {"claims": [{"id": "a"}, {"id": "b"}], "links": [link]})
    answer(server, "GET /v1/claims?name=n&marker=b", {"claims": [{"id": "c"}], "links": []})
    found = client(server).list("claims", {"name": "n", "state": None})
    assert [item["id"] for item in found] == ["a", "b", "c"]


def test_a_limit_holds_over_pages(server) -> None:
    link = {"rel": "next", "href": "/v1/claims?marker=b"}
    answer(server, "GET /v1/claims?limit=3", {"claims": [{"id": "a"}, {"id": "b"}], "links": [link]})
    second = {"claims": [{"id": "c"}, {"id": "d"}], "links": [{"rel": "next", "href": "?marker=d"}]}
    answer(server, "GET /v1/claims?limit=3&marker=b", second)
    assert [item["id"] for item in client(server).list("claims", limit=3)] == ["a", "b", "c"]
    assert len(server.heard) == 2


def test_an_error_says_what_the_api_says(server) -> None:
    error = {"status": 404, "code": "gpu-pool.not_found", "detail": "pool x not found"}
    answer(server, "GET /v1/pools/x", {"errors": [error]}, 404, x_openstack_request_id="req-1")
    with pytest.raises(rest.NotFound) as caught:
        client(server).get("pools", "x")
    assert str(caught.value) == "pool x not found (HTTP 404)"
    assert (caught.value.status, caught.value.code) == (404, "gpu-pool.not_found")


def test_a_failure_names_the_request(server) -> None:
    answer(
        server,
        "DELETE /v1/pools/x",
        {"errors": [{"detail": "it broke"}]},
        500,
        x_openstack_request_id="req-1",
    )
    with pytest.raises(rest.ApiError) as caught:
        client(server).delete("pools", "x")
    assert str(caught.value) == "it broke (HTTP 500, request req-1)"


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b"[]", b'{"errors": []}', b'{"errors": 3}'])
def test_an_error_that_is_not_the_apis(server, body: bytes) -> None:
    answer(server, "GET /v1/pools/x", body, 502)
    with pytest.raises(rest.ApiError, match=r"GET http.*/v1/pools/x: Bad Gateway \(HTTP 502\)"):
        client(server).get("pools", "x")


@pytest.mark.parametrize("body", [b"<html>login</html>", b"[1]"])
def test_an_answer_that_is_no_json_object(server, body: bytes) -> None:
    answer(server, "GET /v1/pools/x", body)
    with pytest.raises(rest.ApiError, match="/v1/pools/x answered with something that is"):
        client(server).get("pools", "x")


def test_nobody_answers(server) -> None:
    gone = client(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(
        rest.ApiError, match=r"nothing answers at http://127\.0\.0\.1:\d+/v1; is the API up"
    ):
        gone.get("pools", "x")


def test_an_api_that_hangs_is_not_waited_for_for_ever(server) -> None:
    hasty = client(server, timeout=0.1)
    with pytest.raises(rest.NoAnswer, match=r"the API at http://\S+/v1 gave no answer in 0\.1 s$"):
        hasty.get("pools", "x")
    with pytest.raises(rest.NoAnswer, match=r"it may be made all the same, as [0-9a-f-]{36}$"):
        hasty.create_once("claims", {})
    assert client(server).timeout == rest.TIMEOUT


def test_no_endpoint_is_known() -> None:
    nowhere = rest.Client(
        adapter.Adapter(session.Session(auth=noauth.NoAuth()), service_type="gpu-pool")
    )
    with pytest.raises(rest.ApiError, match=r"where is the API\? give its URL by --os-endpoint"):
        nowhere.get("pools", "x")


def test_what_others_wrote_can_not_steer_the_terminal(server) -> None:
    """Of what a server of before stored, and of what stands between here and the server."""
    claim = {
        "id": "1",
        "name": "\x9b31m\u202eb",
        "traits": ["\x1b]0;x\x07"],
        "environment": {"\u200b": "\n"},
    }
    answer(server, "GET /v1/claims/1", claim)
    assert client(server).get("claims", "1") == {
        "id": "1",
        "name": "\\x9b31m\\u202eb",
        "traits": ["\\x1b]0;x\\x07"],
        "environment": {"\\u200b": "\\n"},
    }
    answer(server, "GET /v1/claims/2", {"errors": [{"detail": "a\x1b[2Jb", "code": "c"}]}, 400)
    with pytest.raises(rest.ApiError) as caught:
        client(server).get("claims", "2")
    assert str(caught.value) == "a\\x1b[2Jb (HTTP 400)"
