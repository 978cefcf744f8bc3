"""What driver processes answer is checked before it is believed: a broken library may say anything."""

import re
from typing import Any

from gpupool.model import errors
from gpupool.model import text as texts

_NAME_MAX = 255
# Bytes of the largest device that conductors believe in: 16 TiB. Of a larger one they refuse the report.
_NUMBER_MAX = 2**44
_ID = re.compile(r"[A-Za-z0-9-]{1,96}")


class Answer:
    """One JSON object; every method raises Invalid, saying what is wrong, when a field can't be so."""

    def __init__(self, said: Any) -> None:
        if not isinstance(said, dict):
            raise _invalid("it", said, "an object")
        self._said = said

    def name(self, field: str) -> str:
        """Return a text that can be shown."""
        value = self._said.get(field)
        if not isinstance(value, str) or not 0 < len(value) <= _NAME_MAX or not texts.is_visible(value):
            raise _invalid(field, value, f"1 to {_NAME_MAX} characters, {texts.ALLOWED}")
        return value

    def identifier(self, field: str) -> str:
        """Return a name that is given to libraries and to Placement."""
        value = self._said.get(field)
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise _invalid(field, value, "1 to 96 letters, digits and -")
        return value

    def number(self, field: str, largest: int = _NUMBER_MAX) -> int:
        """Return a whole number from 0 on."""
        return _number(field, self._said.get(field), largest)

    def numbers(self, field: str, count: int) -> tuple[int, ...]:
        """Return so many numbers."""
        values = self._said.get(field)
        if not isinstance(values, list) or len(values) != count:
            raise _invalid(field, values, f"{count} numbers")
        return tuple(_number(field, value, _NUMBER_MAX) for value in values)

    def flag(self, field: str) -> bool:
        """Return a truth value."""
        value = self._said.get(field)
        if not isinstance(value, bool):
            raise _invalid(field, value, "true or false")
        return value

    def identifiers(self, field: str, most: int) -> dict[str, str]:
        """Return identifiers by identifiers, some of the former perhaps empty."""
        values = self._said.get(field)
        if not isinstance(values, dict) or len(values) > most:
            raise _invalid(field, values, f"an object of up to {most} fields")
        for value in (*values, *filter(None, values.values())):
            if not isinstance(value, str) or not _ID.fullmatch(value):
                raise _invalid(field, value, "1 to 96 letters, digits and -")
        return {key: value or "" for key, value in values.items()}


def _number(field: str, value: Any, largest: int) -> int:
    if type(value) is not int or not 0 <= value <= largest:
        raise _invalid(field, value, f"a whole number from 0 to {largest}")
    return value


def _invalid(field: str, value: Any, allowed: str) -> errors.Invalid:
    shown = texts.shown(repr(value), 80)
    return errors.Invalid(f"the vendor's library says that {field} is {shown}; allowed: {allowed}")
