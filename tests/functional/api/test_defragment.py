"""Room in pieces, and what the action ``defragment`` of a pool tells and does about it."""

import json

import pytest

from tests.functional.api.test_api_ref import SAMPLES, call, shape, until

ACTION = "/v1/pools/default/action"


def claim(app, compute):
    """Return the id of a claim that is bound."""
    made = call(app, "/v1/claims", "POST", {"compute": compute, "memory_mib": 100})
    until(lambda: call(app, f"/v1/claims/{made['id']}"), lambda answer: answer["state"] == "bound")
    return made["id"]


def devices(app):
    """Return the device of each claim."""
    return {vgpu["claim_id"]: vgpu["device"] for vgpu in call(app, "/v1/vgpus")["vgpus"]}


@pytest.fixture
def pieces(service):
    """Make two claims alone on a device each, and one that waits for a whole device; return its id."""
    app = service.app
    large = [claim(app, 60), claim(app, 60)]
    small = claim(app, 30)
    at = devices(app)
    beside = next(one for one in large if at[one] == at[small])
    call(app, f"/v1/claims/{beside}", "DELETE")
    until(lambda: devices(app), lambda found: beside not in found)
    waiting = call(app, "/v1/claims", "POST", {"compute": 100, "memory_mib": 100})
    until(lambda: call(app, "/v1/queue"), lambda answer: answer["queue"])
    return waiting["id"]


def test_a_move_is_told_with_its_gain_and_cost(service, pieces):
    before = devices(service.app)
    answer = call(service.app, ACTION, "POST", {"defragment": {"dry_run": True}})
    assert shape(answer) == shape(json.loads((SAMPLES / "pool-defragment.json").read_text()))
    [move] = answer["moves"]
    assert move["from_device"] == before[move["claim_id"]]
    assert {move["from_device"], move["to_device"]} == set(before.values())
    assert (move["applied"], move["reason"], move["cost_mib"]) == (False, "", 100)
    assert 0 < move["gain"] <= 100
    assert devices(service.app) == before


def test_a_move_makes_room_for_what_waits(service, pieces):
    answer = call(service.app, ACTION, "POST", {"defragment": {"limit": 1}})
    [move] = answer["moves"]
    assert move["applied"], move["reason"]
    found = until(lambda: devices(service.app), lambda found: pieces in found)
    assert found.pop(pieces) == move["from_device"]
    assert set(found.values()) == {move["to_device"]}
