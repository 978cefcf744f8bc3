"""Order and pages: the rows after a marker, in a total order of several keys.

oslo.db's ``paginate_query`` gives other pages: where the marker has no value for a key, it compares only
the keys after that one, so pages repeat some rows and leave others out. It also compares each key once
more for every key after it, and takes mapped classes only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gpupool.model import errors

Sort = Sequence[tuple[str, str]]
DIRECTIONS = ("asc", "desc")
_Key = tuple[sa.ColumnElement[Any], Any, bool]


def parse(sort: Sort, columns: Mapping[str, sa.Column[Any]]) -> list[tuple[sa.Column[Any], bool]]:
    """Return (column, descending) per key of ``sort``, ended by id, which makes the order total.

    Raises Invalid for a key that is not in ``columns`` or comes twice, or a direction that is none.
    """
    keys: dict[str, tuple[sa.Column[Any], bool]] = {}
    for key, direction in sort:
        if key not in columns:
            raise errors.Invalid(f"sort key is {key!r}; allowed: {', '.join(sorted(columns))}")
        if direction not in DIRECTIONS:
            raise errors.Invalid(f"sort direction is {direction!r}; allowed: {', '.join(DIRECTIONS)}")
        if key in keys:
            raise errors.Invalid(f"sort key {key!r} is given twice; allowed: each once")
        keys[key] = (columns[key], direction == "desc")
    return [*keys.values(), (columns["id"], False)]


def page(
    query: sa.Select[Any], order: Sequence[tuple[sa.Column[Any], bool]], marker: object | None
) -> sa.Select[Any]:
    """Return ``query`` in ``order``, from the row after ``marker``, an item with the same fields.

    Databases disagree on where NULL sorts, so whether a value is there is a key of its own: without
    comes before with.
    """
    keys: list[_Key] = []
    for column, descending in order:
        value = getattr(marker, column.key) if marker is not None else None
        if column.nullable:
            present = sa.case((column.is_(None), 0), else_=1)
            keys.append((present, int(value is not None), descending))
        keys.append((column, value, descending))
    query = query.order_by(*(key.desc() if descending else key.asc() for key, _, descending in keys))
    return query if marker is None else query.where(_after(keys))


def _after(keys: Sequence[_Key]) -> sa.ColumnElement[bool]:
    """Return the condition that a row comes after the values of ``keys``, in lexicographic order.

    Each key is compared twice, however many there are: a > x OR (a = x AND (b > y OR ...)).
    """
    condition: sa.ColumnElement[bool] = sa.false()
    for key, value, descending in reversed(keys):
        if value is None:  # All rows with the same `present` have no value: no order among them.
            continue
        bound = sa.literal(value, key.type)
        beyond = key < bound if descending else key > bound
        condition = sa.or_(beyond, sa.and_(key == bound, condition))
    return condition
