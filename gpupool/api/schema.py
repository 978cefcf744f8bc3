"""Checks requests against JSON Schema (Draft 2020-12), and says what is allowed."""

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jsonschema
from oslo_utils import timeutils

from gpupool.api import bounds
from gpupool.model import errors
from gpupool.model import text as texts

Schema = Mapping[str, Any]

# The format of what names an item by its name or its id; any text fits it.
NAME_OR_ID = "name-or-uuid"
# The format of text that people read: see gpupool.model.text.
VISIBLE = "visible-text"
# Enough to tell what is wrong; a body of a thousand mistakes gets no thousand answers.
_MESSAGES_MAX = 5
_formats = jsonschema.FormatChecker(formats=())


@_formats.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(uuid.UUID(value)) == value.lower()


@_formats.checks("date-time", raises=(ValueError, OverflowError))
def _is_time(value: object) -> bool:
    if isinstance(value, str):
        timeutils.normalize_time(timeutils.parse_isotime(value))
    return True


@_formats.checks(VISIBLE)
def _is_visible(value: object) -> bool:
    return not isinstance(value, str) or texts.is_visible(value)


def _unique_items(_validator: Any, wanted: bool, items: Any, _schema: Any) -> Iterator[Any]:
    """Report an item that comes twice, in linear time; jsonschema's own compares every pair."""
    if not (wanted and isinstance(items, list)):
        return
    if len({json.dumps(item, sort_keys=True) for item in items}) < len(items):
        yield jsonschema.ValidationError("an item comes twice")


_extend: Any = jsonschema.validators.extend
Validator = _extend(jsonschema.Draft202012Validator, {"uniqueItems": _unique_items})


def check(value: Any, schema: Schema, what: str) -> Any:
    """Return ``value`` with its ids in lower case, or raise Invalid unless it fits.

    ``what`` names it: ``body`` or ``query``. Lengths come first: nothing else is evaluated of what is
    too long.
    """
    _check_lengths(value, schema, what, ())
    value = _with_ids(value, schema)
    validator = Validator(schema, format_checker=_formats)
    found = sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.path])
    messages = list(dict.fromkeys(_message(error, what) for error in found))
    if len(messages) > _MESSAGES_MAX:
        messages[_MESSAGES_MAX:] = [f"and {len(messages) - _MESSAGES_MAX} more"]
    if messages:
        raise errors.Invalid("; ".join(messages))
    return value


def _check_lengths(value: Any, schema: Schema, what: str, path: tuple[str | int, ...]) -> None:
    """Raise Invalid when text or a list in ``value`` is longer than its schema says."""
    longest = schema.get("maxLength" if isinstance(value, str) else "maxItems")
    if isinstance(value, str | list) and longest is not None and len(value) > longest:
        raise errors.Invalid(f"{_field(path) or what} is {_shown(value)}; allowed: {allowed(schema)}")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in value.keys() & known.keys():
            _check_lengths(value[name], known[name], what, (*path, name))
    elif isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            _check_lengths(item, schema["items"], what, (*path, number))


def canonical_id(text: str) -> str:
    """Return a UUID in lower case, as it is stored; what is none, such as a name, as it is."""
    try:
        return text.lower() if _is_uuid(text) else text
    except ValueError:
        return text


def _with_ids(value: Any, schema: Schema) -> Any:
    """Return ``value``, which need not fit, with the ids in it as they are stored."""
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        return {key: _with_ids(inner, known.get(key, {})) for key, inner in value.items()}
    if isinstance(value, list) and "items" in schema:
        return [_with_ids(inner, schema["items"]) for inner in value]
    named = isinstance(value, str) and schema.get("format") in ("uuid", NAME_OR_ID)
    return canonical_id(value) if named else value


def _message(error: Any, what: str) -> str:
    """Return what one error is about: field, value, what is allowed."""
    field = _field(error.absolute_path)
    special = _SPECIAL.get(str(error.validator))
    if special is not None:
        return special(error, field, what)
    return f"{field or what} is {_shown(error.instance)}; allowed: {allowed(error.schema)}"


def _missing(error: Any, field: str, _what: str) -> str:
    names = [_join(field, name) for name in error.validator_value if name not in error.instance]
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing"


def _unknown(error: Any, field: str, what: str) -> str:
    known = error.schema["properties"]
    names = sorted(_join(field, name) for name in error.instance if name not in known)
    permitted = ", ".join(known) or "nothing"
    return f"{_shown(', '.join(names))} is unknown in the {what}; allowed: {permitted}"


def _too_few(error: Any, field: str, what: str) -> str:
    return f"{field or what} is empty; allowed: {', '.join(error.schema['properties'])}"


def _too_many(error: Any, field: str, what: str) -> str:
    return f"{field or what} has more than one of: {', '.join(error.schema['properties'])}"


def _twice(_error: Any, field: str, what: str) -> str:
    return f"{field or what} has the same item twice; allowed: each once"


_SPECIAL: Mapping[str, Callable[[Any, str, str], str]] = {
    "required": _missing,
    "additionalProperties": _unknown,
    "minProperties": _too_few,
    "maxProperties": _too_many,
    "uniqueItems": _twice,
}


def allowed(schema: Schema) -> str:
    """Return in words what ``schema`` takes; its own description says it best."""
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema:
        return ", ".join("null" if value is None else str(value) for value in schema["enum"])
    if "minimum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    if "items" in schema:
        return f"a list of at most {schema['maxItems']}, each {allowed(schema['items'])}"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_KINDS[kind] for kind in kinds)


_KINDS = {
    "object": "an object",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "null": "null",
}


def parse_query(items: Sequence[tuple[str, str]], schema: Schema) -> dict[str, Any]:
    """Return a query string's ``items`` as the types that ``schema`` names, checked.

    A key may come several times only where the schema says array.
    """
    if len(items) > bounds.QUERY_ITEMS_MAX:
        raise errors.Invalid(
            f"the query has {len(items)} parameters; allowed: at most {bounds.QUERY_ITEMS_MAX}"
        )
    given: dict[str, list[str]] = {}
    for key, value in items:
        given.setdefault(key, []).append(value)
    query = {key: _typed(key, values, schema["properties"].get(key)) for key, values in given.items()}
    checked: dict[str, Any] = check(query, schema, "query")
    return checked


def _typed(key: str, values: list[str], schema: Schema | None) -> Any:
    if schema is None:
        return values[0]
    if schema["type"] == "array":
        return [_scalar(value, schema["items"]) for value in values]
    if len(values) > 1:
        raise errors.Invalid(f"{key} is given {len(values)} times; allowed: once")
    return _scalar(values[0], schema)


def _scalar(text: str, schema: Schema) -> Any:
    """Return ``text`` as what ``schema`` names, or as it is when it is not that: check says so then."""
    if schema["type"] == "integer" and re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
        return int(text)
    if schema["type"] == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    return text


def _field(path: Sequence[str | int]) -> str:
    field = ""
    for part in path:
        field = f"{field}[{part}]" if isinstance(part, int) else _join(field, part)
    return field


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _shown(value: object) -> str:
    """Return ``value`` as the caller wrote it, cut to a readable length."""
    if isinstance(value, str):
        return f"'{texts.shown(value)}'"
    return texts.shown(json.dumps(value, default=str))
