"""Dataclasses to and from the plain JSON types that messages carry."""

from collections.abc import Mapping
from typing import Any, TypeVar

from cattrs.errors import BaseValidationError
from cattrs.preconf.json import make_converter

from gpupool.model import errors

T = TypeVar("T")
Payload = dict[str, Any]

# Receivers ignore fields they do not know, so that a newer sender can talk to them.
_converter = make_converter(forbid_extra_keys=False)


def dump(value: Any) -> Payload:
    """Return ``value``, a dataclass, as JSON types with its schema version; times are ISO 8601."""
    plain: Payload = _converter.unstructure(value)
    return {"schema_version": _known(type(value)), **plain}


def load(cls: type[T], payload: Mapping[str, Any]) -> T:
    """Return the ``cls`` that ``payload`` describes, or raise Invalid with what did not fit."""
    known = _known(cls)
    if not isinstance(payload, Mapping):
        raise errors.Invalid(f"{cls.__name__} is {type(payload).__name__}; allowed: an object")
    version = payload.get("schema_version", known)
    if not isinstance(version, int) or version > known:
        raise errors.Invalid(f"{cls.__name__}: schema version {version}, at most {known} is known")
    try:
        return _converter.structure(payload, cls)
    except (BaseValidationError, ValueError, TypeError, KeyError) as exc:
        raise errors.Invalid(f"{cls.__name__}: {_why(exc)}") from exc


def _known(cls: type) -> int:
    """Return the schema version of ``cls``: 1, or what its class attribute ``schema_version`` says."""
    return getattr(cls, "schema_version", 1)


def _why(exc: BaseException) -> str:
    """Return the innermost reasons of a cattrs error group, on one line."""
    if isinstance(exc, BaseExceptionGroup):
        return "; ".join(_why(inner) for inner in exc.exceptions)
    notes = " ".join(getattr(exc, "__notes__", ()))
    return f"{exc!r} {notes}".strip()
