"""Schemas that several nouns share. A ``description`` is what an error message says is allowed."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from gpupool.api import schema as schemas
from gpupool.model import text as texts
from gpupool.model.claim import (
    AMOUNT_MAX,
    COMPUTE_MAX,
    COUNT_MAX,
    PARTITION_MAX,
    PRIORITY_MAX,
    SESSIONS_MAX,
    SHARING_MODES,
    Layout,
    OnDeviceLost,
    OnPreempt,
    Qos,
    Tier,
)

Schema = dict[str, Any]

_FILTER_VALUES_MAX = 100

# Every string has a greatest length, and every list: they are checked before patterns and formats are.
ID: Schema = {"type": "string", "maxLength": 36, "format": "uuid", "description": "a UUID"}
TEXT: Schema = {
    "type": "string",
    "maxLength": 255,
    "format": schemas.VISIBLE,
    "description": f"at most 255 characters, {texts.ALLOWED}",
}
PROJECT: Schema = {**TEXT, "minLength": 1, "description": "a project's id"}
LONG_TEXT: Schema = {
    "type": "string",
    "maxLength": 4096,
    "format": schemas.VISIBLE,
    "description": f"at most 4096 characters, {texts.ALLOWED}",
}
# Names are parts of addresses, so no slash; and an id is never taken for a name.
NAME: Schema = {
    "type": "string",
    "maxLength": 255,
    "pattern": "^(?![0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\\Z)\\w[\\w.-]*\\Z",
    "description": "1 to 255 letters, digits, '.', '_' and '-', first a letter or digit, and no UUID",
}
NAME_OR_ID: Schema = {
    **TEXT,
    "minLength": 1,
    "format": schemas.NAME_OR_ID,
    "description": "a name or UUID",
}
HOST_NAME_OR_ID: Schema = {**NAME_OR_ID, "description": "a host's name or UUID"}
TIME: Schema = {
    "type": "string",
    "maxLength": 64,
    "format": "date-time",
    "description": "a time in ISO 8601, in UTC where it names no zone, such as 2030-01-31T12:00:00Z",
}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": COUNT_MAX}
COMPUTE: Schema = {"type": "integer", "minimum": 1, "maximum": COMPUTE_MAX}
MEMORY_MIB: Schema = {"type": "integer", "minimum": 1, "maximum": AMOUNT_MAX}
PRIORITY: Schema = {"type": "integer", "minimum": 0, "maximum": PRIORITY_MAX}
TRAITS: Schema = {
    "type": "array",
    "maxItems": 64,
    "uniqueItems": True,
    "items": {
        "type": "string",
        "maxLength": 255,
        "pattern": "^[A-Z0-9_]{1,255}\\Z",
        "description": "a trait of Placement: 1 to 255 capital letters, digits and '_'",
    },
}


def one_of(values: type[StrEnum]) -> Schema:
    """Return the schema of a member's value."""
    members = [member.value for member in values]
    return {"type": "string", "maxLength": 64, "enum": members}


TIER = one_of(Tier)
QOS = one_of(Qos)
AMOUNT: Schema = {"type": "integer", "minimum": 0, "maximum": AMOUNT_MAX}
# Fields that say which devices, and how much of them, a claim or profile requests.
REQUESTED: Mapping[str, Schema] = {
    "count": COUNT,
    "compute": COMPUTE,
    "memory_mib": MEMORY_MIB,
    "tier": TIER,
    "priority": PRIORITY,
    "required_traits": TRAITS,
    "forbidden_traits": TRAITS,
}
PARTITION: Schema = {
    "type": "string",
    "maxLength": PARTITION_MAX,
    "pattern": "^[A-Za-z0-9.+_-]{0,64}\\Z",
    "description": "a kind of part, as 1g.10gb: up to 64 letters, digits, '.', '+', '_' and '-'",
}
# What claims and profiles may ask for besides sizes and traits.
WISHES: Mapping[str, Schema] = {
    "min_count": COUNT,
    "max_count": COUNT,
    "time_limit": {**AMOUNT, "minimum": 1},
    "qos": QOS,
    "preemptible": BOOLEAN,
    "on_preempt": one_of(OnPreempt),
    "on_device_lost": one_of(OnDeviceLost),
    "cpu_milli": AMOUNT,
    "host_memory_mib": AMOUNT,
    "sessions": {"type": "integer", "minimum": 1, "maximum": SESSIONS_MAX},
    "layout": one_of(Layout),
    "same_host": BOOLEAN,
    "same_type": BOOLEAN,
    "linked": BOOLEAN,
    "sharing_mode": {"type": "string", "maxLength": 64, "enum": [each.value for each in SHARING_MODES]},
    "partition": PARTITION,
}


def nullable(schema: Schema) -> Schema:
    """Return the schema of null, or of what ``schema`` takes."""
    return {
        **schema,
        "type": [schema["type"], "null"],
        "description": f"{schemas.allowed(schema)}, or null",
    }


def body(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    """Return the schema of an object with these properties and no others."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        "required": list(required),
    }


def change(properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of a change: at least one property."""
    return {**body(properties), "minProperties": 1}


def action(actions: Mapping[str, Schema]) -> Schema:
    """Return the schema of one action by its name."""
    return {**body(actions), "minProperties": 1, "maxProperties": 1}


EMPTY = body({})
ALL_PROJECTS: Mapping[str, Schema] = {"all_projects": BOOLEAN}
# That ``limit`` is no more than [api] max_limit is checked later: the schema does not know the option.
PAGE: Mapping[str, Schema] = {
    "limit": {"type": "integer", "minimum": 1, "description": "1 or more"},
    "marker": ID,
}


def listing(
    filters: Mapping[str, Schema], sort: Sequence[str], more: Mapping[str, Schema] | None = None
) -> Schema:
    """Return the schema of a listing's query.

    A filter may be repeated: any of its values will do. ``more`` are keys that come once.
    """
    keys = "|".join(sort)
    page: dict[str, Schema] = {
        **PAGE,
        "sort": {
            "type": "string",
            # Each key once: enough for all of them, with their directions.
            "maxLength": sum(len(f"{key}:desc,") for key in sort),
            "pattern": f"^({keys})(:(asc|desc))?(,({keys})(:(asc|desc))?)*\\Z",
            "description": (
                f"KEY, KEY:asc or KEY:desc, several with commas, no KEY twice; KEY is {', '.join(sort)}"
            ),
        },
    }
    repeated = {
        key: {"type": "array", "maxItems": _FILTER_VALUES_MAX, "items": schema}
        for key, schema in filters.items()
    }
    return body({**page, **(more or {}), **repeated})
