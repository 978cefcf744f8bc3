"""What a request may cost is bounded before it is evaluated. These count work, not time."""

import importlib
import json
import pkgutil

import pytest
from webob import Request as BaseRequest

from gpupool.api import bounds, request, schema
from gpupool.api.errors import ErrorBodies
from gpupool.api.v1 import schemas
from gpupool.api.v1.schemas import claim
from gpupool.model import errors

CLAIM = {"compute": 1, "memory_mib": 1}


def all_schemas():
    """Yield every schema of every noun, with its place."""
    for module in pkgutil.iter_modules(schemas.__path__):
        nouns = importlib.import_module(f"{schemas.__name__}.{module.name}")
        for name, value in vars(nouns).items():
            if isinstance(value, dict) and "type" in value:
                yield from within(f"{module.name}.{name}", value)


def within(place, found):
    yield place, found
    for name, inner in found.get("properties", {}).items():
        yield from within(f"{place}.{name}", inner)
    if "items" in found:
        yield from within(f"{place}[]", found["items"])


@pytest.fixture
def evaluated(monkeypatch):
    """What reaches the validator, and how many items are compared."""
    seen = []

    class Counted(schema.Validator):
        def iter_errors(self, instance, _schema=None):
            seen.append(instance)
            return super().iter_errors(instance, _schema)

    monkeypatch.setattr(schema, "Validator", Counted)
    return seen


def test_every_text_list_and_object_of_a_schema_has_a_limit():
    found = dict(all_schemas())
    assert len(found) > 100
    for place, each in found.items():
        kinds = each["type"] if isinstance(each["type"], list) else [each["type"]]
        for kind, limit in (("string", "maxLength"), ("array", "maxItems")):
            assert kind not in kinds or limit in each, place
        assert "object" not in kinds or each["additionalProperties"] is False, place


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("required_traits", [{"a": number} for number in range(4000)], "a list of at most 64"),
        ("devices", ["x" * 36] * 1025, "a list of at most 1024"),
        ("devices", ["x" * 37], "a UUID"),
        ("name", "x" * 256, "at most 255 characters"),
        ("lease_end", "2" * 65, "a time in ISO 8601"),
    ],
)
def test_what_is_too_long_is_not_evaluated(evaluated, field, value, told):
    with pytest.raises(errors.Invalid, match=told):
        schema.check({**CLAIM, field: value}, claim.CREATE, "body")
    assert evaluated == []


def test_items_are_compared_once_each(monkeypatch):
    written = []
    monkeypatch.setattr(schema.json, "dumps", lambda item, **_: written.append(item) or repr(item))
    names = [f"CUSTOM_{number}" for number in range(63)]
    with pytest.raises(errors.Invalid, match="required_traits has the same item twice"):
        schema.check({**CLAIM, "required_traits": [*names, names[0]]}, claim.CREATE, "body")
    assert len(written) == 64
    schema.check({**CLAIM, "required_traits": names}, claim.CREATE, "body")
    assert len(written) == 64 + 63


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("[" * 50_000, "nested too deeply; allowed: 8 levels"),
        ('{"a":' * 20_000, "nested too deeply"),
        ("[" + "0," * 50_000 + "0]", "too many values; allowed: at most 2048"),
        ("{" + ",".join(f'"k{n}":0' for n in range(9000)) + "}", "too many values"),
    ],
)
def test_a_body_of_too_many_parts_is_not_parsed(monkeypatch, body, told):
    monkeypatch.setattr(request.json, "loads", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(errors.Invalid, match=told):
        request.load(body.encode())


@pytest.mark.parametrize(
    "text", ['"' + "[" * 4096 + '"', '"' + '\\"[' * 3000 + '"', "[[[[[[[[]]]]]]]]", '"\\\\"', "[]"]
)
def test_marks_within_text_are_text(text):
    assert request.load(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", ['"' * 114_000, "\\" * 114_000, '"\\"' * 30_000, "]" * 100_000])
def test_a_text_that_is_no_json_is_looked_at_once(text):
    with pytest.raises(errors.Invalid, match="the body is not JSON"):
        request.load(text.encode())


def test_the_largest_claim_is_within_the_limits():
    """Its arrays are as long as their schemas allow."""
    largest = {
        **dict.fromkeys(claim.CREATE["properties"], 1),
        "devices": ["0" * 36] * claim.CREATE["properties"]["devices"]["maxItems"],
        "required_traits": ["T" * 255] * 64,
        "forbidden_traits": ["U" * 255] * 64,
    }
    bounds.check_json(json.dumps(largest))


def test_a_name_that_is_given_twice_is_told_shortly():
    body = ", ".join([f'"k{number}": 0' for number in range(500)] * 2)
    with pytest.raises(errors.Invalid, match=r": k0, k1, .*\.\.\. is given twice$") as caught:
        request.load(f"{{{body}}}".encode())
    assert len(str(caught.value)) < 150


def test_a_query_of_too_many_parameters():
    items = [("name", str(number)) for number in range(257)]
    with pytest.raises(errors.Invalid, match="the query has 257 parameters; allowed: at most 256"):
        schema.parse_query(items, claim.LIST)


@pytest.mark.parametrize("path", ["/v1/claims/" + "a" * 33_000, "/v1/claims?name=" + "a" * 33_000])
def test_an_address_that_is_too_long_reaches_nobody(path):
    def fail(*_):
        pytest.fail("it was evaluated")

    answer = BaseRequest.blank(path).get_response(ErrorBodies(fail))
    assert answer.status_int == 414
    assert answer.json["errors"][0]["detail"] == "the address is too long; allowed: 32768 bytes"
