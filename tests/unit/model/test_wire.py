"""Every dataclass of the model through JSON and back; what does not fit is refused by name."""

import dataclasses
import inspect
import json
from collections.abc import Mapping
from datetime import datetime
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupool.model import (
    attachment,
    claim,
    device,
    errors,
    host,
    pool,
    profile,
    report,
    session,
    vgpu,
    wire,
)

MODULES = (attachment, claim, device, host, pool, profile, report, session, vgpu)
CLASSES = sorted(
    {
        value
        for module in MODULES
        for value in vars(module).values()
        if inspect.isclass(value) and dataclasses.is_dataclass(value)
    },
    key=lambda value: value.__name__,
)

st.register_type_strategy(datetime, st.datetimes())
st.register_type_strategy(Mapping, st.dictionaries(st.text(), st.text()))


def values(cls):
    """Any value of ``cls``."""
    return st.builds(cls, **{name: st.from_type(kind) for name, kind in get_type_hints(cls).items()})


def test_the_model_is_found():
    assert {"Claim", "HostReport", "DesiredState", "ClaimRequest"} <= {cls.__name__ for cls in CLASSES}


@pytest.mark.parametrize("cls", CLASSES)
@given(data=st.data())
def test_through_json_and_back(cls, data):
    value = data.draw(values(cls))
    sent = json.dumps(wire.dump(value))
    assert wire.load(cls, json.loads(sent)) == value


@pytest.mark.parametrize("cls", CLASSES)
@given(data=st.data())
def test_a_field_that_is_not_known_is_passed_over(cls, data):
    """A newer sender of the same schema version may say more."""
    value = data.draw(values(cls))
    assert wire.load(cls, {**wire.dump(value), "of_the_future": [1]}) == value


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("version", [2, 99, "1", None])
@given(data=st.data())
def test_a_schema_version_that_is_not_known_is_refused(cls, version, data):
    payload = {**wire.dump(data.draw(values(cls))), "schema_version": version}
    with pytest.raises(errors.Invalid, match=f"{cls.__name__}: schema version {version}, at most 1"):
        wire.load(cls, payload)


@pytest.mark.parametrize("payload", [None, [], "x", 1, [["purpose", "report"]]])
def test_what_is_no_object_is_refused(payload):
    with pytest.raises(errors.Invalid, match="allowed: an object"):
        wire.load(report.HostReport, payload)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_missing_field_is_named(cls):
    needed = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if not needed:
        assert wire.load(cls, {}) == cls()
        return
    with pytest.raises(errors.Invalid) as caught:
        wire.load(cls, {})
    assert caught.value.message.startswith(cls.__name__)
    for name in needed:
        assert name in caught.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tier", "nearby"),
        ("count", "many"),
        ("lease_end", "tomorrow"),
        ("required_traits", 7),
    ],
)
def test_a_value_that_does_not_fit_is_named(field, value):
    with pytest.raises(errors.Invalid, match=f"ClaimRequest.*{field}"):
        wire.load(claim.ClaimRequest, {field: value})


def test_device_ids_are_fixed_for_ever():
    """They are the ids of Placement providers: a change would lose every allocation."""
    assert device.device_id("host-a", "ref-0") == "d28d1f88-37eb-53b3-9cbf-2f278e2035a2"
