"""No request, however odd, makes the API fail."""

import string
from urllib.parse import urlencode

import pytest
import webob
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# One worker of pytest-xdist, so that only one starts the service that this module shares.
pytestmark = pytest.mark.xdist_group("api-fuzz")

NOUNS = (
    *("pools", "hosts", "devices", "profiles", "claims", "vgpus", "attachments", "sessions"),
    *("queue", "quotas", "usage"),
)
ODD = (
    "action",
    "default",
    "get_all",
    "_route",
    "services",
    "..",
    "",
    "9b9c7a52-0000-4000-8000-000000000000",
)
WORDS = st.sampled_from(NOUNS + ODD)
CHARACTERS = st.characters(codec="utf-8")
SEGMENTS = WORDS | st.text(CHARACTERS, max_size=8)
KEYS = st.sampled_from(
    ["limit", "marker", "sort", "name", "state", "pool", "host", "project_id", "all_projects", "enabled"]
) | st.text(string.ascii_letters, max_size=4)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"])
BODIES = st.sampled_from([b"", b"{}", b"[]", b"null", b'{"enable": {}}', b'{"name": ""}']) | st.binary(
    max_size=20
)


@pytest.fixture(scope="module")
def ask(shared):
    def answer(method, segments, query, body):
        request = webob.Request.blank("/", method=method)
        request.path_info = "/v1/" + "/".join(segments)
        request.query_string = urlencode(query)
        request.body = body
        request.content_type = "application/json"
        return request.get_response(shared.app)

    return answer


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=METHODS,
    segments=st.lists(SEGMENTS, max_size=4),
    query=st.lists(st.tuples(KEYS, st.text(CHARACTERS, max_size=8)), max_size=3),
    body=BODIES,
)
def test_no_request_makes_it_fail(ask, method, segments, query, body):
    answer = ask(method, segments, query, body)
    assert answer.status_int < 500
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    if answer.status_int >= 400 and method != "HEAD":
        error = answer.json["errors"][0]
        assert error["status"] == answer.status_int
        assert error["detail"]
