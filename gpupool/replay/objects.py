"""JSON objects whose keys and types are those of a dataclass, and nothing else."""

import difflib
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import datetime
from enum import Enum
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from gpupool.model import errors

# What JSON has for a type, and how people call it. A bool of Python is an int too, one of JSON is not.
_PLAIN: Mapping[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a string"),
}


def parse(where: str, line: str) -> dict[str, Any]:
    """Return the object that a line is; raises Invalid by ``where``."""
    try:
        plain = json.loads(line, object_pairs_hook=_once, parse_constant=_refuse_constant)
    except json.JSONDecodeError as exc:
        raise errors.Invalid(f"{where} column {exc.colno} is no JSON: {exc.msg}") from exc
    except (ValueError, RecursionError) as exc:
        raise errors.Invalid(f"{where} is no JSON: {exc}") from exc
    if not isinstance(plain, dict):
        raise errors.Invalid(f"{where} is {_shown(plain)}; allowed: an object")
    return plain


def check(where: str, cls: type, plain: Mapping[str, Any], also: Sequence[str] = ()) -> None:
    """Raise Invalid unless all keys are fields of ``cls``, or in ``also``, with values of their type."""
    hints = get_type_hints(cls)
    names = [field.name for field in fields(cls)]
    for name, value in plain.items():
        if name in names:
            _check_value(f"{where}: {name}", value, hints[name])
        elif name not in also:
            close = difflib.get_close_matches(name, names, n=1)
            allowed = f"is {close[0]} meant?" if close else f"allowed: {', '.join(names)}"
            raise errors.Invalid(f"{where}: {name!r} is not known; {allowed}")
    for field in fields(cls):
        if field.name not in plain and field.default is MISSING and field.default_factory is MISSING:
            raise errors.Invalid(f"{where}: {field.name} is missing")


def _check_value(what: str, value: Any, hint: Any) -> None:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        if value is not None:
            _check_value(what, value, next(each for each in arguments if each is not type(None)))
    elif origin is tuple:
        _check_type(what, value, (list,), "a list")
        for number, each in enumerate(value):
            _check_value(f"{what}[{number}]", each, arguments[0])
    elif origin is not None:
        _check_type(what, value, (dict,), "an object")
        for key, each in value.items():
            _check_value(f"{what} {key!r}", each, arguments[1])
    elif issubclass(hint, Enum):
        known = [str(each.value) for each in hint]
        if value not in known:
            raise errors.Invalid(f"{what} is {_shown(value)}; allowed: {', '.join(known)}")
    elif hint is datetime:
        _check_time(what, value)
    else:
        _check_type(what, value, *_PLAIN[hint])


def _check_type(what: str, value: Any, allowed: tuple[type, ...], called: str) -> None:
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise errors.Invalid(f"{what} is {_shown(value)}; allowed: {called}")


def _check_time(what: str, value: Any) -> None:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError) as exc:
        allowed = "a time such as 2026-11-30T12:00:00"
        raise errors.Invalid(f"{what} is {_shown(value)}; allowed: {allowed}") from exc


def _shown(value: Any) -> str:
    """Return a value as the file has it, shortened."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} comes twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
