"""What the API answers has the shape of the samples of the API reference."""

import json
import time
from pathlib import Path

import pytest
import webob

# One worker of pytest-xdist, so that only one starts the service that this module shares.
pytestmark = pytest.mark.xdist_group("api-api_ref")

SAMPLES = Path(__file__).parents[3] / "api-ref" / "source" / "samples"


def call(app, path, method="GET", body=None):
    request = webob.Request.blank(path, method=method)
    if body is not None:
        request.content_type = "application/json"
        request.json = body
    return request.get_response(app).json


def until(ask, good):
    """Return the first good answer; they come within moments."""
    for _ in range(300):
        answer = ask()
        if good(answer):
            return answer
        time.sleep(0.1)
    raise AssertionError(answer)


@pytest.fixture(scope="module")
def paths(shared):
    """Return by sample an address that answers the like, once there is a claim and all it leads to."""
    app = shared.app

    def sample(name):
        return json.loads((SAMPLES / f"{name}.json").read_text())

    pool = call(app, "/v1/pools", "POST", sample("pool-create-request"))
    profile = {**sample("profile-create-request"), "required_traits": ["CUSTOM_GPUPOOL_TEST"]}
    until(lambda: call(app, "/v1/profiles", "POST", profile), lambda answer: "id" in answer)
    claim = call(app, "/v1/claims", "POST", sample("claim-create-request"))
    claim_path = f"/v1/claims/{claim['id']}"
    until(lambda: call(app, claim_path), lambda answer: answer["state"] == "bound")
    wanted = {**sample("attachment-create-request"), "claim_id": claim["id"]}
    attachment = call(app, "/v1/attachments", "POST", wanted)
    attachment_path = f"/v1/attachments/{attachment['id']}"
    until(lambda: call(app, attachment_path), lambda answer: answer["state"] == "ready")
    (session,) = until(lambda: call(app, "/v1/sessions")["sessions"], lambda answer: answer)
    vgpu = call(app, "/v1/vgpus")["vgpus"][0]
    # More than is left, and then all of what the first leaves at its end: it waits and knows when.
    waiting = {"compute": 100, "memory_mib": 1, "count": 2}
    call(app, "/v1/claims", "POST", waiting)
    until(lambda: call(app, "/v1/queue"), lambda answer: answer["queue"])
    return {
        "versions": "/",
        "version": "/v1",
        "error": "/v1/pools?limit=0",
        "pools": "/v1/pools?limit=1",
        "pool": f"/v1/pools/{pool['id']}",
        "hosts": f"/v1/hosts?name={shared.agent.host}",
        "host": f"/v1/hosts/{shared.agent.host}",
        "devices": f"/v1/devices?host={shared.agent.host}",
        "device": f"/v1/devices/{vgpu['device_id']}",
        "profiles": "/v1/profiles",
        "profile": f"/v1/profiles/{profile['name']}",
        "claims": "/v1/claims",
        "claim": claim_path,
        "vgpus": "/v1/vgpus",
        "vgpu": f"/v1/vgpus/{vgpu['id']}",
        "attachments": "/v1/attachments",
        "attachment": attachment_path,
        "sessions": "/v1/sessions",
        "session": f"/v1/sessions/{session['id']}",
        "services": "/v1/services?binary=gpupool-conductor",
        "queue": "/v1/queue",
        "quotas": "/v1/quotas",
        "usage": "/v1/usage",
    }


def shape(value):
    """Return what kind of value it is: names and types, of a list those of its first item."""
    if isinstance(value, dict):
        # The environment is the host's matter, its names are no part of the API.
        return {key: key == "environment" or shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__


# What answers a request other than GET; test_defragment has it.
ELSEWHERE = {"pool-defragment"}


@pytest.mark.parametrize(
    "name",
    sorted({path.stem for path in SAMPLES.glob("*.json") if "-request" not in path.stem} - ELSEWHERE),
)
def test_samples_are_what_the_api_answers(name, paths, shared):
    sample = json.loads((SAMPLES / f"{name}.json").read_text())
    assert shape(call(shared.app, paths[name])) == shape(sample)
