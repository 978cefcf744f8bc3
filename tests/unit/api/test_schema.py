"""What requests are checked for, and what they are told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupool.api import schema
from gpupool.api.v1.schemas import claim, common, device, pool
from gpupool.model import errors

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
CLAIM = st.fixed_dictionaries({}, optional=dict.fromkeys(claim.CREATE["properties"], JSON))


def refusal(value, wanted, what="body"):
    with pytest.raises(errors.Invalid) as caught:
        schema.check(value, wanted, what)
    return caught.value.message


def told(check, *args):
    """Return what ``check`` returns, and what it tells when it refuses."""
    try:
        return check(*args), None
    except errors.Invalid as exc:
        return None, exc.message


@given(JSON | CLAIM)
def test_any_body_fits_or_is_refused_in_words(body):
    _, message = told(schema.check, body, claim.CREATE, "body")
    if message is None:
        assert set(body) <= set(claim.CREATE["properties"])
    else:
        assert message.isprintable()
        assert len(message) < 2000


@given(st.lists(st.tuples(st.sampled_from([*claim.LIST["properties"], "x"]), st.text())))
def test_any_query_fits_or_is_refused_in_words(items):
    query, message = told(schema.parse_query, items, claim.LIST)
    if message is None:
        assert set(query) == {key for key, _ in items}
    else:
        assert message.isprintable()
        assert len(message) < 2000


def test_ids_are_lower_case_and_names_are_not_touched():
    capitals = "5D7A0C1E-0000-4000-8000-00000000ABCD"
    lower = capitals.lower()
    body = {"id": capitals, "name": capitals, "pool": capitals, "host": "Large", "devices": [capitals]}
    checked = {"id": lower, "name": capitals, "pool": lower, "host": "Large", "devices": [lower]}
    assert schema.check(body, claim.CREATE, "body") == checked
    twice = refusal({"devices": [capitals, lower]}, claim.CREATE)
    assert twice == "devices has the same item twice; allowed: each once"


def test_a_query_has_types():
    items = [
        ("limit", "5"),
        ("all_projects", "TRUE"),
        ("priority", "7"),
        ("priority", "8"),
        ("name", "9"),
    ]
    assert schema.parse_query(items, claim.LIST) == {
        "limit": 5,
        "all_projects": True,
        "priority": [7, 8],
        "name": ["9"],
    }


@pytest.mark.parametrize("text", ["٣", "1_000", " 1", "+1", "1e2", "0x10", "", "9" * 5000])
def test_numbers_of_a_query_are_plain(text):
    with pytest.raises(errors.Invalid, match=r"^limit is '"):
        schema.parse_query([("limit", text)], claim.LIST)


def test_many_mistakes_are_not_all_told():
    body = {"devices": [f"device-{number}" for number in range(20)]}
    message = refusal(body, claim.CREATE)
    assert message.count("; allowed: ") == 5
    assert message.endswith("; and 15 more")


def test_a_long_value_is_cut():
    assert refusal({"name": "x" * 1000}, pool.CREATE).startswith(
        f"name is '{'x' * 80}...'; allowed: 1 to"
    )


def test_fields_within_fields_have_their_path():
    assert refusal({"disable": {"reason": 5}}, device.ACTION) == (
        "disable.reason is 5; allowed: at most 4096 characters, none of them a control, format or other "
        "invisible character"
    )


@pytest.mark.parametrize(
    "name",
    ["a", "gpu-1", "GPU_1.b", "größe", "9lives", "a" * 255, "0b9c7a52-0000-4000-8000-00000000000"],
)
def test_names(name):
    schema.check({"name": name}, pool.CREATE, "body")


@pytest.mark.parametrize(
    "name", ["", "-a", ".", "..", "a b", "a/b", "a\n", "a\0", "a" * 256, "\ud800", "a?b"]
)
def test_names_that_cannot_be(name):
    assert "allowed: 1 to 255 letters" in refusal({"name": name}, pool.CREATE)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m", "\\x9b31m"),
        ("\x85", "\\x85"),
        ("a\u202eb", "a\\u202eb"),
        ("\u2066", "\\u2066"),
        ("a\u200bb", "a\\u200bb"),
        ("\ufeff", "\\ufeff"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
        ("\u00ad", "\\xad"),
        ("\u3164", "\\u3164"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\u0378", "\\u0378"),
        ("größe\n", "größe\\n"),
    ],
)
@pytest.mark.parametrize(
    ("field", "wanted"), [("name", claim.CREATE), ("description", pool.CREATE), ("key", device.LIST)]
)
def test_text_that_hides_something_is_refused_and_shown_escaped(text, shown, field, wanted):
    value = [text] if wanted is device.LIST else text
    where = "key[0]" if wanted is device.LIST else field
    message = refusal({"name": "a", field: value} if wanted is pool.CREATE else {field: value}, wanted)
    assert message.startswith(f"{where} is '{shown}'; allowed: at most ")
    assert message.endswith("none of them a control, format or other invisible character")


@pytest.mark.parametrize("text", ["größe 1", "機械 学習", "نموذج", "💩", "❤️", "=x", "é", ""])
def test_text_of_any_language(text):
    schema.check({"name": text}, claim.UPDATE, "body")


@pytest.mark.parametrize(
    "value", ["2030-01-31T12:00:00Z", "2030-01-31T12:00:00", "2030-01-31T12:00:00+05:30"]
)
def test_times(value):
    schema.check({"lease_end": value}, claim.UPDATE, "body")


@pytest.mark.parametrize(
    "value", ["", "now", "2030-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", 5, None]
)
def test_times_that_cannot_be(value):
    shown = f"'{value}'" if isinstance(value, str) else json.dumps(value)
    assert refusal({"lease_end": value}, claim.CREATE).startswith(
        f"lease_end is {shown}; allowed: a time"
    )


def test_ids_are_written_in_one_way():
    good = "9b9c7a52-0000-4000-8000-000000000000"
    schema.check({"devices": [good]}, claim.CREATE, "body")
    for bad in (good.replace("-", ""), f"{{{good}}}", f"urn:uuid:{good}", good[:-1]):
        assert refusal({"devices": [bad]}, claim.CREATE) == f"devices[0] is '{bad}'; allowed: a UUID"


def test_every_schema_is_one():
    assert common.MEMORY_MIB["maximum"] == 2147483647
    for module in (claim, device, pool):
        for name, wanted in vars(module).items():
            if name.isupper() and isinstance(wanted, dict) and "properties" in wanted:
                schema.jsonschema.Draft202012Validator.check_schema(wanted)
