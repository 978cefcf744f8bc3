"""The API reference names every operation there is, its requests fit, and its fields are described."""

import json
import re
from pathlib import Path

import pytest

from gpupool import policies
from gpupool.api import schema
from gpupool.api.v1.schemas import attachment, claim, device, host, pool, profile, queue, quota
from gpupool.model import errors

SOURCE = Path(__file__).parents[3] / "api-ref" / "source"
REFERENCE = "\n".join(path.read_text() for path in sorted(SOURCE.glob("*.inc")))
SAMPLES = SOURCE / "samples"
REQUESTS = {
    "attachment-create": attachment.CREATE,
    "claim-create": claim.CREATE,
    "claim-extend": claim.ACTION,
    "claim-release": claim.ACTION,
    "claim-update": claim.UPDATE,
    "device-disable": device.ACTION,
    "device-enable": device.ACTION,
    "host-admit": host.ACTION,
    "host-disable": host.ACTION,
    "host-enable": host.ACTION,
    "host-revoke": host.ACTION,
    "host-update": host.UPDATE,
    "pool-create": pool.CREATE,
    "pool-defragment": pool.ACTION,
    "pool-update": pool.UPDATE,
    "profile-create": profile.CREATE,
    "profile-update": profile.UPDATE,
}
QUERIES = ("pool", "host", "device", "profile", "claim", "vgpu", "attachment", "session", "service")
BODIES = {
    "POST /v1/pools\n": pool.CREATE,
    "PATCH /v1/pools/": pool.UPDATE,
    "PATCH /v1/hosts/": host.UPDATE,
    "POST /v1/profiles\n": profile.CREATE,
    "PATCH /v1/profiles/": profile.UPDATE,
    "POST /v1/claims\n": claim.CREATE,
    "PATCH /v1/claims/": claim.UPDATE,
    "POST /v1/attachments\n": attachment.CREATE,
}


def test_every_operation_is_described():
    documented = {tuple(method.split()) for method in re.findall(r"rest_method:: (.+)", REFERENCE)}
    known = {
        (operation["method"], operation["path"].split("?")[0].split(" ")[0])
        for rule in policies.list_rules()
        for operation in getattr(rule, "operations", ())
    }
    assert documented == known | {("GET", "/"), ("GET", "/v1")}


def test_every_parameter_is_described_once_and_used():
    described = re.findall(r"(?m)^([a-z_]+):$", (SOURCE / "parameters.yaml").read_text())
    assert len(described) == len(set(described))
    assert set(re.findall(r"(?m)^   - \S+: ([a-z_]+)$", REFERENCE)) == set(described)


def test_every_sample_is_shown():
    shown = set(re.findall(r"samples/([a-z-]+)\.json", REFERENCE + (SOURCE / "index.rst").read_text()))
    assert shown == {path.stem for path in SAMPLES.glob("*.json")}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_fit_their_schema(name):
    body = json.loads((SAMPLES / f"{name}-request.json").read_text())
    schema.check(body, REQUESTS[name], "body")
    with pytest.raises(errors.Invalid):
        schema.check({**body, "unheard_of": 1}, REQUESTS[name], "body")


def described(operation, heading):
    """Return the names that the reference lists for one part of an operation."""
    text = REFERENCE.split(f"rest_method:: {operation}")[1].split("rest_method::")[0]
    part = re.split(rf"\n{heading}\n-+\n", text)[1].split("\nResponse\n")[0]
    return re.findall(r"^   - ([\w.]+): \w+$", part, re.MULTILINE)


@pytest.mark.parametrize("noun", QUERIES)
def test_every_key_of_a_query_is_described(noun):
    module = __import__(f"gpupool.api.v1.schemas.{noun}", fromlist=["LIST"])
    assert sorted(described(f"GET /v1/{noun}s\n", "Request")) == sorted(module.LIST["properties"])


def test_every_key_of_other_queries_is_described():
    assert described("GET /v1/quotas\n", "Request") == list(quota.LIST["properties"])
    assert described("GET /v1/queue\n", "Request") == list(queue.LIST["properties"])


@pytest.mark.parametrize("operation", BODIES)
def test_every_field_of_a_body_is_described(operation):
    names = described(operation, "Request")
    if operation.endswith("/"):
        names = names[1:]  # The first is in the path.
    assert sorted(names) == sorted(BODIES[operation]["properties"])


@pytest.mark.parametrize("noun", QUERIES)
def test_every_field_of_an_answer_is_described(noun):
    items = json.loads((SAMPLES / f"{noun}s.json").read_text())
    known = {*items, *items[f"{noun}s"][0]}
    assert sorted(described(f"GET /v1/{noun}s\n", "Response")) == sorted(known)


def statuses(operation):
    """Return which statuses the reference lists for an operation."""
    text = REFERENCE.split(f"rest_method:: {operation}\n")[1].split("rest_method::")[0]
    return {int(status) for status in re.findall(r"^   - (\d{3})$", text, re.MULTILINE)}


@pytest.mark.parametrize("operation", re.findall(r"rest_method:: (.+ /v1/.+)", REFERENCE))
def test_what_any_operation_may_answer_is_listed(operation):
    """Each needs the database at least; those with a body refuse one that they can't read."""
    body = {400, 413, 415} if operation.startswith(("POST", "PATCH")) else set()
    assert {401, 403, 503} | body <= statuses(operation)


def test_an_action_says_done_or_accepted():
    assert {200, 202} <= statuses("POST /v1/claims/{claim}/action")
