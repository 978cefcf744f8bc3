"""Without authentication, web pages of other sites get nothing: DNS rebinding, and simple requests."""

import pytest
import webob

from gpupool.api.errors import ErrorBodies
from gpupool.api.local import Local

PORT = "8790"


def answer(headers, public=None, port=PORT):
    application = ErrorBodies(Local(webob.Response(text="served"), public))
    request = webob.Request.blank("/v1/hosts", headers=headers)
    request.environ["SERVER_PORT"] = port
    return request.get_response(application)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:8790"},
        {"Host": "localhost:8790"},
        {"Host": "LOCALHOST:8790"},
        {"Host": "[::1]:8790"},
        {"Host": "127.8.9.1:8790"},
        {"Host": "localhost:8790", "Origin": "http://localhost:8790"},
        {"Host": "localhost:8790", "Sec-Fetch-Site": "same-origin"},
        {"Host": "localhost:8790", "Sec-Fetch-Site": "none"},
    ],
)
def test_programs_of_this_machine_are_served(headers):
    assert answer(headers).text == "served"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8790",
        "localhost.evil.example:8790",
        "127.0.0.1.evil.example:8790",
        "localhost:8791",
        "localhost",
        "127.0.0.1",
        "192.0.2.1:8790",
        "0.0.0.0:8790",
        "[::]:8790",
        "evil@127.0.0.1:8790",
        "127.0.0.1:8790/evil",
        "2130706433:8790",
        "127.0.0.1:x",
        "127.0.0.1:99999",
        "[::1",
        "\u202e",
    ],
)
def test_names_that_may_be_made_to_lead_here_are_refused(host):
    got = answer({"Host": host})
    assert got.status_int == 403
    detail = got.json["errors"][0]["detail"]
    assert detail.endswith(
        "allowed without login: localhost or a loopback address, port 8790; [api] public_endpoint"
    )
    assert detail.isprintable()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:8790"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin, none"},
    ],
)
def test_pages_of_other_sites_are_refused(headers):
    assert answer({"Host": "127.0.0.1:8790", **headers}).status_int == 403


def test_the_public_endpoint_is_served_and_the_default_port_needs_no_number():
    public = "https://Try.example:8443/gpu-pool"
    assert answer({"Host": "try.example:8443"}, public).text == "served"
    assert (
        answer({"Host": "try.example:8443", "Origin": "https://try.example:8443"}, public).text
        == "served"
    )
    assert answer({"Host": "try.example:8790"}, public).status_int == 403
    assert answer({"Host": "localhost"}, port="80").text == "served"
