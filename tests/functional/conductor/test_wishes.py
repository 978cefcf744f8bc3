"""What a claim may ask for besides sizes and traits: filled from its profile, each value checked."""

import uuid

import pytest

from gpupool.model import errors
from gpupool.model.claim import AMOUNT_MAX, Layout, OnDeviceLost, OnPreempt, Qos, Tier
from gpupool.model.profile import Profile

WISHES = {
    "time_limit": 3600,
    "qos": Qos.BEST_EFFORT,
    "preemptible": True,
    "on_preempt": OnPreempt.RELEASE,
    "on_device_lost": OnDeviceLost.REQUEUE,
    "cpu_milli": 500,
    "host_memory_mib": 2048,
    "layout": Layout.SPREAD,
    "same_host": True,
    "same_type": True,
    "linked": True,
}
DEFAULTS = {
    "time_limit": None,
    "qos": Qos.GUARANTEED,
    "preemptible": False,
    "on_preempt": OnPreempt.REQUEUE,
    "on_device_lost": OnDeviceLost.WAIT,
    "cpu_milli": 0,
    "host_memory_mib": 0,
    "layout": Layout.ANY,
    "same_host": False,
    "same_type": False,
    "linked": False,
}


def wishes(claim):
    return {name: getattr(claim, name) for name in DEFAULTS}


def profile(lab, **wanted):
    made = Profile(
        id=str(uuid.uuid4()),
        name="batch",
        compute=10,
        memory_mib=64,
        tier=Tier.POOL,
        priority=50,
        **wanted,
    )
    return lab.client.create_profile(lab.ctxt, made)


def test_a_claim_that_wishes_nothing_has_the_defaults(lab):
    assert wishes(lab.create()) == DEFAULTS


def test_a_claim_keeps_what_it_wishes(lab):
    assert wishes(lab.claim(lab.create(**WISHES))) == WISHES


def test_a_profile_gives_what_the_claim_leaves_open(lab):
    assert wishes(profile(lab, **WISHES)) == WISHES
    assert wishes(lab.create(profile="batch")) == WISHES
    changed = {"preemptible": False, "qos": Qos.GUARANTEED, "cpu_milli": 0, "layout": Layout.ANY}
    assert wishes(lab.create(profile="batch", **changed)) == WISHES | changed


@pytest.mark.parametrize(
    "wanted",
    [
        {"layout": Layout.SPREAD, "same_host": True, "count": 1},
        {"qos": Qos.BEST_EFFORT, "preemptible": False},
        {"preemptible": False, "on_preempt": OnPreempt.RELEASE},
    ],
)
def test_wishes_that_do_not_need_each_other_are_taken(lab, wanted):
    found = lab.create(**wanted)
    assert {name: getattr(found, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("time_limit", 0, 1),
        ("time_limit", AMOUNT_MAX + 1, 1),
        ("cpu_milli", -1, 0),
        ("cpu_milli", AMOUNT_MAX + 1, 0),
        ("host_memory_mib", -1, 0),
        ("host_memory_mib", AMOUNT_MAX + 1, 0),
        ("memory_mib", AMOUNT_MAX + 1, 1),
    ],
)
def test_a_number_that_means_nothing_is_refused(lab, name, value, least):
    said = f"{name} is {value}; allowed: {least} to {AMOUNT_MAX}"
    with pytest.raises(errors.Invalid, match=said):
        lab.create(**{name: value})
    if name != "memory_mib":
        with pytest.raises(errors.Invalid, match=said):
            profile(lab, **{name: value})


@pytest.mark.parametrize("name", ["qos", "on_preempt", "on_device_lost", "layout"])
def test_a_word_that_means_nothing_is_refused(lab, name):
    payload = {"compute": 10, "memory_mib": 10, name: "golden"}
    with pytest.raises(errors.Invalid, match="golden"):
        lab.client._call(lab.ctxt, "create_claim", claim_id=str(uuid.uuid4()), request=payload)
