"""Values that columns take: checked here, so that every database answers bad input alike."""

from enum import Enum
from typing import Any

import sqlalchemy as sa

from gpupool.model import errors

INTEGER_MAX = 2**63 - 1
# Bytes of UTF-8 that text of no stated length may have: what MariaDB's TEXT holds.
TEXT_MAX = 2**16 - 1


def check(column: sa.Column[Any], value: Any) -> Any:
    """Return ``value`` as ``column`` takes it, or raise Invalid saying what is allowed."""
    if value is None or isinstance(column.type, sa.JSON | sa.TypeDecorator):
        return value
    wanted = column.type.python_type
    if issubclass(wanted, Enum):
        return _member(column.key, wanted, value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise errors.Invalid(f"{column.key} is {value!r}; allowed: a value of type {wanted.__name__}")
    if isinstance(value, str):
        _check_text(column, value)
    elif isinstance(value, int) and abs(value) > INTEGER_MAX:
        raise errors.Invalid(f"{column.key} is {value}; allowed: at most {INTEGER_MAX}")
    return value


def _member(key: str, wanted: type[Enum], value: Any) -> Enum:
    try:
        return wanted(value)
    except ValueError as exc:
        allowed = ", ".join(str(member.value) for member in wanted)
        raise errors.Invalid(f"{key} is {value!r}; allowed: {allowed}") from exc


def _check_text(column: sa.Column[Any], value: str) -> None:
    longest = getattr(column.type, "length", None)
    if longest is not None:
        if len(value) > longest:
            raise errors.Invalid(f"{column.key} has {len(value)} characters; allowed: at most {longest}")
    elif len(value.encode(errors="surrogatepass")) > TEXT_MAX:
        raise errors.Invalid(f"{column.key} is too long; allowed: at most {TEXT_MAX} bytes of UTF-8")
    # Neither a NUL nor half a surrogate pair can be stored everywhere.
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise errors.Invalid(f"{column.key} is {value!r}; allowed: Unicode text without NUL")
