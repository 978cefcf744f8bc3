"""CSV files with named columns; what does not fit is refused by file, line and column."""

import csv
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gpupool.model import errors
from gpupool.model.claim import AMOUNT_MAX
from gpupool.replay.lines import BadLines, check_text, opened

if TYPE_CHECKING:
    from _csv import Reader

# How empty fields are written by those who wrote the traces.
_EMPTY = frozenset({"", "nan"})
# From which ratio of difflib on a name may be a misspelt one: gpu_spce, GPU-Spec, gpuspec, gpu_specs.
_ALIKE = 0.75


class Row:
    """One line of a file, by its number. Every reading raises Invalid: where, and what is allowed."""

    def __init__(self, where: str, values: Mapping[str, str], line: int = 1) -> None:
        self.where, self.line = where, line
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


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of columns: those a file needs, those it may lack, and those that are known and not read."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def read(path: Path, columns: Columns, bad: BadLines) -> Iterator[Row]:
    """Yield the rows of a file with these columns, and maybe others.

    Raises Invalid when it can't be read, lacks a column, has one whose name is nearly that of an
    optional one, or has no row. A row of another width is one of the ``bad``.
    """
    with opened(path) as file:
        lines = csv.reader(file)
        with _located(path, lines):
            found = [name.strip() for name in next(lines, [])]
        _check_names(f"{path} line 1", found, columns)
        rows = 0
        for row in _rows(path, lines, found, bad):
            rows += 1
            yield row
    if not rows:
        raise errors.Invalid(f"{path}: no line after the columns' names can be read")


def _rows(path: Path, lines: "Reader", columns: Sequence[str], bad: BadLines) -> Iterator[Row]:
    while True:
        with bad.skipped(), _located(path, lines):
            fields = next(lines, None)
            if fields is None:
                return
            if fields:
                yield _row(path, lines.line_num, columns, fields)


@contextmanager
def _located(path: Path, lines: "Reader") -> Iterator[None]:
    """Raise Invalid with the line for what the CSV reader refuses."""
    try:
        yield
    except csv.Error as exc:
        raise errors.Invalid(f"{path} line {lines.line_num}: {exc}") from exc


def _row(path: Path, line: int, columns: Sequence[str], fields: Sequence[str]) -> Row:
    where = f"{path} line {line}"
    if len(fields) != len(columns):
        raise errors.Invalid(f"{where}: {len(fields)} fields; allowed: {len(columns)}, as in line 1")
    for column, field in zip(columns, fields, strict=True):
        check_text(f"{where}: {column}", field)
    return Row(where, dict(zip(columns, fields, strict=True)), line)


def _check_names(where: str, found: Sequence[str], columns: Columns) -> None:
    missing = [name for name in columns.needed if name not in found]
    if missing:
        raise errors.Invalid(
            f"{where}: there is no column {', '.join(missing)}; "
            f"needed: {', '.join(columns.needed)}; found: {', '.join(found) or 'nothing'}"
        )
    for name in found:
        if found.count(name) > 1:
            raise errors.Invalid(f"{where}: column {name!r} comes twice; allowed: once")
    known = {*columns.needed, *columns.optional, *columns.unread}
    absent = [name for name in columns.optional if name not in found]
    for name in found:
        meant = difflib.get_close_matches(name.lower(), absent, n=1, cutoff=_ALIKE)
        if name not in known and meant:
            raise errors.Invalid(
                f"{where}: column {name!r} is not known; is {meant[0]} meant? Rename the column, or "
                f"delete it. Known: {', '.join((*columns.needed, *columns.optional))}"
            )
