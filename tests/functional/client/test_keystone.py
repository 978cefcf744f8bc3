"""With Keystone: the endpoint comes from the service catalogue, the token goes with every request.

Keystone itself is a small HTTP server here; it answers as the Identity API v3 does.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from keystoneauth1 import fixture

from tests.functional.client.conftest import Openstack

TOKEN = "a-token"
IDS = ["1" * 32, "2" * 32, "3" * 32]
API = {
    "/v1/pools": {"pools": [{"id": "p-1", "name": "theirs"}], "links": []},
    "/v1/quotas": {
        "quotas": [
            {"project_id": each, "resource": "vgpus", "used": 1, "limit": -1, "source": "keystone"}
            for each in IDS
        ],
        "links": [],
    },
    "/v1/usage": {
        "pools": [],
        "projects": [
            {"project_id": each, "compute_granted": 1, "memory_mib_granted": 1, "claims": {}}
            for each in IDS
        ],
    },
}


class Identity(BaseHTTPRequestHandler):
    """Gives a token to whoever asks; also is the API, to see what it is asked with."""

    def do_GET(self) -> None:
        port = self.server.server_port
        if self.path.startswith("/v1/"):
            self.server.asked.append((self.path, self.headers["X-Auth-Token"]))
            self.answer(API[self.path.partition("?")[0]])
        elif self.path in self.server.known:
            status, projects = self.server.known[self.path]
            self.answer({"projects": projects}, status)
        else:
            self.answer(fixture.DiscoveryList(f"http://127.0.0.1:{port}", v2=False))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        token = fixture.V3Token(project_id="project", user_id="user")
        for service_type, region in self.server.catalogue:
            service = token.add_service(service_type)
            service.add_standard_endpoints(
                public=f"http://127.0.0.1:{self.server.server_port}", region=region
            )
        self.answer(token, 201, {"X-Subject-Token": TOKEN})

    def answer(self, body: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def keystone() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Identity) as http:
        http.asked, http.catalogue = [], [("identity", "one"), ("gpu-pool", "one")]
        # Status and projects of each address.
        http.known = {}
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield http
        http.shutdown()


def credentials(http: ThreadingHTTPServer, region: str = "one") -> str:
    return (
        f"--os-auth-type password --os-auth-url http://127.0.0.1:{http.server_port}/v3 --os-username u"
        " --os-password p --os-project-name n --os-user-domain-id default"
        f" --os-project-domain-id default --os-region-name {region}"
    )


def test_the_catalogues_endpoint_is_used(keystone, capsys) -> None:
    openstack = Openstack(credentials(keystone), capsys)
    (listed,) = openstack.json("gpu pool list")
    assert (listed["ID"], listed["Name"]) == ("p-1", "theirs")
    assert keystone.asked == [("/v1/pools", TOKEN)]


def test_a_catalogue_without_it(keystone, capsys) -> None:
    keystone.catalogue = [("identity", "one")]
    openstack = Openstack(credentials(keystone), capsys)
    said = openstack.refused("gpu pool list")
    assert said == "public endpoint for gpu-pool service in one region not found"


def test_a_region_without_it(keystone, capsys) -> None:
    openstack = Openstack(credentials(keystone, "two"), capsys)
    said = openstack.refused("gpu pool list")
    assert said == "public endpoint for gpu-pool service in two region not found"


def named(number: int, name: str, domain: str = "d") -> dict[str, str]:
    return {"id": IDS[number], "name": name, "domain_id": domain}


@pytest.mark.parametrize("command", ["gpu quota list", "gpu usage show --by project"])
class TestNamesOfProjects:
    """What people see of projects; programs get ids."""

    def seen(self, keystone, capsys, command: str) -> list[str]:
        openstack = Openstack(credentials(keystone), capsys)
        assert [row["Project"] for row in openstack.json(command)] == IDS
        lines = openstack(command).out.splitlines()[3:-1]
        return [line.split("|")[1].strip() for line in lines]

    def test_keystone_tells_all(self, keystone, capsys, command) -> None:
        keystone.known = {"/v3/projects": (200, [named(0, "blue"), named(1, "green"), named(2, "red")])}
        assert self.seen(keystone, capsys, command) == ["blue", "green", "red"]

    def test_keystone_does_not_know_one(self, keystone, capsys, command) -> None:
        keystone.known = {"/v3/projects": (200, [named(0, "blue"), named(2, "red")])}
        assert self.seen(keystone, capsys, command) == ["blue", IDS[1], "red"]

    def test_a_name_that_two_have(self, keystone, capsys, command) -> None:
        twins = [named(0, "twin", "one"), named(1, "twin", "two"), named(2, "red")]
        keystone.known = {"/v3/projects": (200, twins)}
        assert self.seen(keystone, capsys, command) == [
            *("twin", "(domain one)", "twin", "(domain two)", "red"),
        ]

    def test_keystone_tells_the_own_ones_only(self, keystone, capsys, command) -> None:
        keystone.known = {"/v3/projects": (403, []), "/v3/auth/projects": (200, [named(1, "green")])}
        assert self.seen(keystone, capsys, command) == [IDS[0], "green", IDS[2]]

    @pytest.mark.parametrize("status", [403, 500])
    def test_keystone_tells_none(self, keystone, capsys, command, status) -> None:
        keystone.known = {"/v3/projects": (status, []), "/v3/auth/projects": (status, [])}
        assert self.seen(keystone, capsys, command) == IDS
        said = Openstack(credentials(keystone), capsys)(command).err
        assert said.startswith("projects are shown by their ids: Keystone ")
