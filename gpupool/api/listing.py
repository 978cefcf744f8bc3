"""Listings: which items are asked for, page by page."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from gpupool.api.controller import Services, prefix
from gpupool.api.request import Request
from gpupool.api.schema import Schema
from gpupool.db import hosts
from gpupool.model import errors

Query = dict[str, Any]
Item = TypeVar("Item")


class Lister(Protocol[Item]):
    """``list_`` of one noun of gpupool.db."""

    def __call__(
        self,
        session: Session,
        filters: Mapping[str, object],
        sort: Sequence[tuple[str, str]],
        marker: str | None,
        limit: int | None,
        /,
    ) -> list[Item]:
        """Return the items."""


class Named(Protocol):
    """An item that a query may name."""

    @property
    def id(self) -> str:
        """UUID."""


@dataclass(frozen=True)
class Listing:
    """One request for a listing: its page, and in ``filters`` what else its query asks for."""

    services: Services
    request: Request
    filters: Query
    limit: int
    marker: str | None
    sort: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, services: Services, request: Request, schema: Schema) -> "Listing":
        """Read the query; raises Invalid."""
        query = request.checked_query(schema)
        most = services.conf.api.max_limit
        limit = query.pop("limit", most)
        if limit > most:
            raise errors.Invalid(f"limit is {limit}; allowed: 1 to {most}")
        keys = [key.partition(":") for key in query.pop("sort", "").split(",") if key]
        sort = tuple((key, direction or "asc") for key, _, direction in keys)
        return cls(services, request, query, limit, query.pop("marker", None), sort)

    @classmethod
    def of_projects(cls, services: Services, request: Request, schema: Schema, nouns: str) -> "Listing":
        """As ``of``, of the caller's project unless the query asks for others.

        Raises Forbidden, before Invalid, when the caller may not see what it asks for.
        """
        services.authorize(request, f"{nouns}:get")
        listing = cls.of(services, request, schema)
        caller = request.caller.project_id
        everything = listing.filters.pop("all_projects", False)
        if everything or set(listing.filters.get("project_id", ())) - {caller}:
            services.authorize(request, f"{nouns}:get_all")
        else:
            listing.filters["project_id"] = [caller]
        return listing

    def resolve(self, session: Session, key: str, lister: Lister[Any], hidden: bool = False) -> None:
        """Replace the filter ``key``, names or ids, by ``key``_id, in two statements.

        Raises Invalid for an unknown one; one that is ``hidden`` from the caller just matches nothing.
        """
        if key not in self.filters:
            return
        names = self.filters.pop(key)
        known = {item.name: item.id for item in lister(session, {"name": names}, (), None, None)}
        known |= {item.id: item.id for item in lister(session, {"id": names}, (), None, None)}
        if not hidden and (unknown := [name for name in names if name not in known]):
            raise errors.Invalid(f"{key} is '{unknown[0]}'; there is no such {key}")
        self._narrow(f"{key}_id", {known[name] for name in names if name in known})

    def resolve_host(self, session: Session) -> None:
        """As ``resolve`` the filter ``host``; who may not see hosts is not told which there are."""
        hidden = not self.services.may(self.request, "hosts:get")
        self.resolve(session, "host", hosts.list_, hidden)

    def _narrow(self, key: str, ids: Set[str]) -> None:
        """Let the filter ``key`` pass ``ids`` only, and of those only what it passes already."""
        self.filters[key] = sorted(ids & set(self.filters.get(key, ids)))

    def read(self, session: Session, lister: Lister[Item]) -> tuple[list[Item], bool]:
        """Return the items of this page, and whether more follow."""
        items = lister(session, self.filters, self.sort, self.marker, self.limit + 1)
        return items[: self.limit], len(items) > self.limit

    def body(
        self, nouns: str, shown: Sequence[Mapping[str, Any]], more: bool, marker: str = "id"
    ) -> dict[str, Any]:
        """Return the body of the answer, with the address of the next page when ``more`` follow.

        ``marker`` is the field of the last item by which that page is asked for.
        """
        links = []
        if more:
            query = [(key, value) for key, value in self.request.GET.items() if key != "marker"]
            query.append(("marker", shown[-1][marker]))
            path = f"{prefix(self.services, self.request)}/v1/{nouns}"
            links.append({"rel": "next", "href": f"{path}?{urlencode(query)}"})
        return {nouns: shown, "links": links}


def found(session: Session, key: str, name: str, find: Callable[[Session, str], Named]) -> Named:
    """Return what a query or body names by ``key``, or raise Invalid: 404 is for addresses only."""
    try:
        return find(session, name)
    except errors.NotFound as exc:
        raise errors.Invalid(f"{key} is '{name}'; there is no such {key}") from exc
