"""auth_strategy keystone: who has no valid token stays outside.

keystonemiddleware's own fixture stands for Keystone: it answers what a token is of.
"""

import re

import pytest
import webob
from keystonemiddleware.fixture import AuthTokenFixture

from gpupool import policies
from gpupool.api.app import make_app
from tests.functional.api.service import new_conf

# One worker of pytest-xdist, so that only one starts the service that this module shares.
pytestmark = pytest.mark.xdist_group("api-auth")


@pytest.fixture
def tokens():
    with AuthTokenFixture() as fixture:
        yield fixture


@pytest.fixture
def app(tokens, shared, tmp_path):
    conf = new_conf(tmp_path, auth_strategy="keystone")
    return make_app(conf, shared.database, shared.conductor)


@pytest.fixture
def token(tokens):
    def add(*roles, project="blue"):
        tokens.add_token_data(
            token_id=f"{project}-token",
            user_id="berta",
            project_id=project,
            role_list=list(roles),
        )
        return f"{project}-token"

    return add


def call(app, path, token=None, method="GET", body=None, **headers):
    request = webob.Request.blank(path, method=method, headers=headers)
    if token:
        request.headers["X-Auth-Token"] = token
    if body is not None:
        request.content_type = "application/json"
        request.json = body
    return request.get_response(app)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/healthcheck"])
def test_what_anyone_may_read(app, path):
    assert call(app, path).status_int == 200


@pytest.mark.parametrize("path", ["/v1/pools", "/v1/claims", "/v1/nothing", "//v1/pools", "/v1/./"])
def test_without_a_token(app, path):
    answer = call(app, path)
    assert answer.status_int == 401
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")
    error = answer.json["errors"][0]
    assert error["code"] == "gpu-pool.unauthorized"
    assert error["detail"] == "a valid token is needed in the header X-Auth-Token"
    assert error["request_id"] == answer.headers["x-openstack-request-id"]


def test_with_a_token_that_is_none(app):
    assert call(app, "/v1/pools", token="forged").status_int == 401


def test_headers_make_nobody_an_administrator(app, token):
    forged = {"X-Roles": "admin", "X-Project-Id": "green", "X-Identity-Status": "Confirmed"}
    assert call(app, "/v1/pools", **forged).status_int == 401
    answer = call(app, "/v1/hosts", token("member", "reader"), **forged)
    assert answer.status_int == 403


def test_roles_and_project_come_from_the_token(app, token):
    member = token("member", "reader")
    claim = call(app, "/v1/claims", member, "POST", {"compute": 10, "memory_mib": 100})
    assert claim.status_int == 201
    assert (claim.json["project_id"], claim.json["user_id"]) == ("blue", "berta")
    foreign = token("member", "reader", project="green")
    path = f"/v1/claims/{claim.json['id']}"
    assert call(app, path, member).status_int == 200
    assert call(app, path, foreign).status_int == 404
    admin = token("admin", "manager", "member", "reader", project="operators")
    assert call(app, path, admin).status_int == 200
    assert call(app, "/v1/pools", admin, "POST", {"name": "east"}).status_int == 201


def test_a_token_of_a_domain_has_no_claims(app, tokens):
    tokens.add_token_data(
        token_id="domain-token", user_id="berta", user_domain_id="d", role_list=["admin"]
    )
    tokens._token_data["domain-token"].set_domain_scope(id="d", name="domain")
    answer = call(app, "/v1/claims", "domain-token")
    assert answer.status_int == 403


def test_the_token_goes_no_further(app, token, shared, monkeypatch):
    seen = []
    create = shared.conductor.create_claim

    def watch(ctxt, *args):
        seen.append(ctxt.to_dict())
        return create(ctxt, *args)

    monkeypatch.setattr(shared.conductor, "create_claim", watch)
    member = token("member", "reader")
    answer = call(app, "/v1/claims", member, "POST", {"compute": 10, "memory_mib": 100})
    assert answer.status_int == 201
    assert member not in str(seen)
    assert seen[0]["request_id"] == answer.headers["x-openstack-request-id"] == answer.json["request_id"]


OPERATIONS = sorted(
    {
        (operation["method"], operation["path"].partition(" ")[0].partition("?")[0])
        for rule in policies.list_rules()
        for operation in getattr(rule, "operations", ())
    }
)


@pytest.fixture
def claim_id(app, token):
    """A claim of the project whose member calls without a role."""
    member = token("member", "reader")
    return call(app, "/v1/claims", member, "POST", {"compute": 10, "memory_mib": 100}).json["id"]


@pytest.mark.parametrize(
    ("method", "path"), [each for each in OPERATIONS if each[0] in ("POST", "PATCH")]
)
@pytest.mark.parametrize("body", [b"nonsense", b'{"nonsense": 1}'])
def test_authorised_before_the_body_is_checked(app, token, claim_id, method, path, body):
    address = path.replace("{claim}", claim_id)
    address = re.sub("{.*?}", "9b9c7a52-0000-4000-8000-000000000000", address)
    request = webob.Request.blank(address, method=method, body=body)
    request.content_type = "application/json"
    request.headers["X-Auth-Token"] = token("nobody")
    assert request.get_response(app).status_int == 403


@pytest.mark.parametrize(
    "path", [path for method, path in OPERATIONS if method == "GET" and "{" not in path]
)
def test_authorised_before_the_query_is_checked(app, token, path):
    assert call(app, f"{path}?limit=nonsense", token("nobody")).status_int == 403


def test_every_address_that_takes_a_body_is_among_them(app, token):
    """Those are the operations that the rules of policies name."""
    admin = token("admin", "manager", "member", "reader")
    found = set()
    for noun in {path.split("/")[2] for _, path in OPERATIONS}:
        for rest in ("", "/{}", "/{}/action"):
            path = f"/v1/{noun}{rest}"
            allowed = call(app, path.format("x"), admin, "PUT").headers.get("Allow", "")
            found |= {(method, path) for method in allowed.split(", ") if method in ("POST", "PATCH")}
    named = {(method, re.sub("{.*?}", "{}", path)) for method, path in OPERATIONS}
    assert found
    assert found <= named
