"""What every noun has: get, find, list, create, update and delete, between rows and dataclasses."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import sqlalchemy as sa
from oslo_db import exception
from sqlalchemy.orm import Session

from gpupool.db import pages, times, values
from gpupool.db.models import Base
from gpupool.model import errors

if TYPE_CHECKING:
    from sqlalchemy import CursorResult


# Filters that say whose items are listed; what they ask of never changes on an item.
_WHOSE = ("project_id", "attachment_id")


class Record(Protocol):
    """A dataclass of the model: it has an id."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> str:
        """UUID."""


Item = TypeVar("Item", bound=Record)
# Takes the values of which one has to match; returns the condition.
Related = Callable[[Sequence[object]], sa.ColumnElement[bool]]


class Table(Generic[Item]):
    """The queries of one table, whose rows are items of one dataclass with the same field names."""

    def __init__(
        self,
        row: type[Base],
        item: type[Item],
        order: str = "created_at",
        related: Mapping[str, Related] | None = None,
        table: sa.FromClause | None = None,
    ) -> None:
        """List by ``order``, then id, unless a caller sorts. From ``table`` items are only read.

        ``related`` are filters by what other tables say of an item, by their name.
        """
        self._item = item
        self._related = dict(related or {})
        self._order = ((order, "asc"),)
        self._table = row.metadata.tables[row.__tablename__]
        self.noun = row.__name__.lower()
        columns: Any = (self._table if table is None else table).columns
        self.columns: dict[str, sa.Column[Any]] = {c.key: c for c in columns}
        fields = dataclasses.fields(item)
        self.query = sa.select(*(self.columns[field.name] for field in fields))
        # Text without a length limit has no index and no business in a filter; nor has JSON.
        unordered = (sa.Text, sa.JSON, sa.TypeDecorator)
        self._keys = {
            field.name: self.columns[field.name]
            for field in fields
            if not isinstance(self.columns[field.name].type, unordered)
        }

    def get(self, session: Session, item_id: str, /) -> Item:
        """Return the item, or raise NotFound."""
        found = self._first(session, self.columns["id"] == item_id)
        if found is None:
            raise errors.NotFound(f"{self.noun} {item_id} not found")
        return found

    def get_by_name(self, session: Session, name: str, /) -> Item:
        """Return the item of that unique name, or raise NotFound."""
        found = self._first(session, self.columns["name"] == name)
        if found is None:
            raise errors.NotFound(f"{self.noun} {name} not found")
        return found

    def find(self, session: Session, name_or_id: str, /) -> Item:
        """Return the item of that id, else of that name, or raise NotFound."""
        by_id, by_name = self.columns["id"] == name_or_id, self.columns["name"] == name_or_id
        query = self.query.where(by_id | by_name).order_by(sa.desc(by_id)).limit(1)
        found = self.items(session, query)
        if not found:
            raise errors.NotFound(f"{self.noun} {name_or_id} not found")
        return found[0]

    def list_(
        self,
        session: Session,
        filters: Mapping[str, object] | None = None,
        sort: pages.Sort = (),
        marker: str | None = None,
        limit: int | None = None,
    ) -> list[Item]:
        """Return items in a total order: by ``sort``, (key, "asc" or "desc") pairs, then id.

        A filter's value is one value, None (there is none), or a list, tuple or set of which one has
        to match. ``marker`` is the id of the last item of the page before. Raises Invalid for keys,
        directions, values and markers that are not allowed, saying which are.
        """
        order = pages.parse(sort or self._order, self._keys)
        after = None if marker is None else self._marked(session, marker, filters or {})
        query = pages.page(self.query.where(*self.conditions(filters or {})), order, after)
        return self.items(session, query.limit(limit))

    def count(self, session: Session, filters: Mapping[str, object]) -> int:
        """Return how many items ``list_`` would; raises Invalid as that does."""
        query = sa.select(sa.func.count()).select_from(self._table).where(*self.conditions(filters))
        return session.execute(query).scalar_one()

    def create(self, session: Session, item: Item) -> Item:
        """Insert ``item`` and return it as stored; with an id that exists, return what is stored.

        Raises Conflict when a name (or what else is unique) is taken, Invalid when ``item`` does not
        fit or refers to what does not exist.
        """
        row = self._new(session, item)
        try:
            with _one_statement(session):
                session.execute(sa.insert(self._table), [row])
        except exception.DBDuplicateEntry as exc:
            # Perhaps the same message came twice.
            found = self._first(session, self.columns["id"] == item.id)
            if found is not None:
                return found
            raise self._taken(exc, dataclasses.asdict(item)) from exc
        except exception.DBReferenceError as exc:
            raise errors.Invalid(f"{self.noun} {item.id} refers to something that is gone") from exc
        return self._item(**row)

    def insert(self, session: Session, items: Sequence[Item]) -> None:
        """Insert items that are not there; an error is the database's own."""
        if not items:
            return
        session.execute(sa.insert(self._table), [self._new(session, item) for item in items])

    def update(self, session: Session, item_id: str, /, **changes: Any) -> Item:
        """Write ``changes`` and return the item; raises NotFound, and Conflict and Invalid as create."""
        if not self.write(session, self.columns["id"] == item_id, changes):
            raise errors.NotFound(f"{self.noun} {item_id} not found")
        return self.get(session, item_id)

    def delete(self, session: Session, item_id: str, /) -> None:
        """Delete the item; raises NotFound, or Conflict when others refer to it."""
        statement = sa.delete(self._table).where(self.columns["id"] == item_id)
        try:
            with _one_statement(session):
                deleted = self.count_of(session.execute(statement))
        except exception.DBReferenceError as exc:
            raise errors.Conflict(f"{self.noun} {item_id} is still in use") from exc
        if not deleted:
            raise errors.NotFound(f"{self.noun} {item_id} not found")

    def write(
        self, session: Session, condition: sa.ColumnElement[bool], changes: Mapping[str, Any]
    ) -> int:
        """Update the rows that meet ``condition`` in one statement; return how many there were."""
        stored = self._checked(changes)
        if "updated_at" in self.columns:
            stored = {"updated_at": times.now(session), **stored}
        statement = sa.update(self._table).where(condition).values(stored)
        try:
            return self.count_of(session.execute(statement))
        except exception.DBDuplicateEntry as exc:
            raise self._taken(exc, changes) from exc
        except exception.DBReferenceError as exc:
            raise errors.Invalid(f"{self.noun}: the change refers to something that is gone") from exc

    def conditions(self, filters: Mapping[str, object]) -> list[sa.ColumnElement[bool]]:
        """Return one condition per filter; raises Invalid as ``list_``."""
        return [self._condition(key, value) for key, value in filters.items()]

    def items(self, session: Session, query: sa.Select[Any]) -> list[Item]:
        """Return the items ``query``, made from ``self.query``, selects."""
        return [self._item(**row) for row in session.execute(query).mappings()]

    def _marked(self, session: Session, marker: str, filters: Mapping[str, object]) -> Item:
        """Return the item a page comes after; nobody learns how another's item compares with theirs.

        It need not meet the other filters: a claim may have left its state since the page before.
        """
        whose = self.conditions({key: filters[key] for key in _WHOSE if key in filters})
        found = self._first(session, sa.and_(self.columns["id"] == marker, *whose))
        if found is None:
            raise errors.Invalid(f"marker {marker} is no {self.noun}")
        return found

    def _condition(self, key: str, value: object) -> sa.ColumnElement[bool]:
        if key in self._related:
            many = isinstance(value, list | tuple | set | frozenset)
            return self._related[key](list(value) if many else [value])  # type: ignore[call-overload]
        if key not in self._keys:
            raise errors.Invalid(f"filter is {key!r}; allowed: {', '.join(sorted(self._keys))}")
        column = self._keys[key]
        if value is None:
            return column.is_(None)
        if isinstance(value, list | tuple | set | frozenset):
            return column.in_([values.check(column, one) for one in value])
        condition: sa.ColumnElement[bool] = column == values.check(column, value)
        return condition

    def _first(self, session: Session, condition: sa.ColumnElement[bool]) -> Item | None:
        return next(iter(self.items(session, self.query.where(condition))), None)

    def _checked(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``stored`` with every plain value checked; SQL expressions pass."""
        return {
            key: value if isinstance(value, sa.ColumnElement) else values.check(self.columns[key], value)
            for key, value in stored.items()
        }

    def _new(self, session: Session, item: Item) -> dict[str, Any]:
        stored = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        if "created_at" in self.columns:
            stored["created_at"] = stored["created_at"] or times.now(session)
            stored["updated_at"] = stored["updated_at"] or stored["created_at"]
        return self._checked(stored)

    def _taken(self, exc: exception.DBDuplicateEntry, stored: Mapping[str, Any]) -> errors.Conflict:
        what = ", ".join(f"{column} {stored.get(column)}" for column in exc.columns)
        return errors.Conflict(f"a {self.noun} with {what} exists already")

    @staticmethod
    def count_of(result: "sa.Result[Any]") -> int:
        """Return how many rows a statement matched."""
        cursor: CursorResult[Any] = result  # type: ignore[assignment]
        return cursor.rowcount


def _one_statement(session: Session) -> AbstractContextManager[object]:
    """Enter a block of which an error undoes that statement and leaves the transaction open.

    A savepoint costs two messages to the database; only PostgreSQL needs it for that.
    """
    return session.begin_nested() if session.get_bind().dialect.name == "postgresql" else nullcontext()
