"""CSV files with named columns; what does not fit is refused by file, line and column."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gpupool.model import errors
from gpupool.model.claim import AMOUNT_MAX

# How empty fields are written by those who wrote the traces.
_EMPTY = frozenset({"", "nan"})


class Row:
    """One line of a file. Every reading raises Invalid, which says where and what is allowed."""

    def __init__(self, where: str, values: Mapping[str, str]) -> None:
        self.where = where
        self._values = values

    def text(self, column: str) -> str:
        """Return what the column says, "" when that is nothing or there is no such column."""
        value = (self._values.get(column) or "").strip()
        return "" if value.lower() in _EMPTY else value

    def name(self, column: str) -> str:
        """Return what the column says, which has to be something."""
        return self.text(column) or self._refuse(column, "a name")

    def integer(self, column: str, least: int = 0, most: int = AMOUNT_MAX) -> int:
        """Return a whole number from ``least`` to ``most``."""
        allowed = f"a whole number from {least} to {most}"
        try:
            value = int(self.text(column))
        except ValueError:
            return int(self._refuse(column, allowed))
        if not least <= value <= most:
            self._refuse(column, allowed)
        return value

    def number(self, column: str) -> float:
        """Return a number from 0 to AMOUNT_MAX."""
        try:
            value = float(self.text(column))
        except ValueError:
            value = math.nan
        if not 0 <= value <= AMOUNT_MAX:
            self._refuse(column, f"a number from 0 to {AMOUNT_MAX}")
        return value

    def time(self, column: str) -> float:
        """Return a time as seconds since 1970; one without a zone is taken as UTC."""
        try:
            value = datetime.fromisoformat(self.text(column))
            # Of the first and the last year, not every time in another zone is one in UTC.
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
        except (ValueError, OverflowError):
            return float(self._refuse(column, "a time such as 2017-10-09 07:01:55"))

    def _refuse(self, column: str, allowed: str) -> str:
        found = self._values.get(column)
        raise errors.Invalid(f"{self.where}: {column} is {found!r}; allowed: {allowed}")


def read(path: Path, required: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a file, which needs the ``required`` columns and may have others.

    Raises Invalid when it can't be read, lacks a column, or has a row of another width or no row.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows(path, csv.reader(file), required)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise errors.Invalid(f"{path} can't be read: {getattr(exc, 'strerror', None) or exc}") from exc


def _rows(path: Path, lines: Iterator[list[str]], required: Sequence[str]) -> Iterator[Row]:
    columns = [name.strip() for name in next(lines, [])]
    missing = [name for name in required if name not in columns]
    if missing:
        raise errors.Invalid(
            f"{path} line 1: there is no column {', '.join(missing)}; "
            f"needed: {', '.join(required)}; found: {', '.join(columns) or 'nothing'}"
        )
    empty = True
    for number, fields in enumerate(lines, start=2):
        if not fields:
            continue
        where = f"{path} line {number}"
        if len(fields) != len(columns):
            raise errors.Invalid(f"{where}: {len(fields)} fields; allowed: {len(columns)}, as in line 1")
        empty = False
        yield Row(where, dict(zip(columns, fields, strict=True)))
    if empty:
        raise errors.Invalid(f"{path}: there is no line after the columns' names")
