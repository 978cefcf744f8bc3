"""What every noun's controller shares: its addresses, and who may call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from oslo_config import cfg
from oslo_policy import policy

from gpupool.api import bounds
from gpupool.api import errors as http_errors
from gpupool.api.request import Request
from gpupool.api.schema import canonical_id
from gpupool.api.v1.schemas import common
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model import text as texts
from gpupool.policies import base
from gpupool.rpc.conductor import ConductorClient

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a handler answers when it is not just a body and 200."""

    status: int
    body: Json | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


# Takes the request and what the address names; returns the body.
Handler = Callable[..., Json | Answer]


class Owned(Protocol):
    """An item of a project."""

    @property
    def id(self) -> str:
        """UUID."""

    @property
    def project_id(self) -> str:
        """Project that it belongs to."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """What controllers work with."""

    conf: cfg.ConfigOpts
    database: Database
    conductor: ConductorClient
    enforcer: policy.Enforcer

    def may(self, request: Request, rule: str, project_id: str | None = None) -> bool:
        """Return whether the caller may do ``rule`` to what is of ``project_id``, by default its own."""
        target = {"project_id": project_id or request.caller.project_id}
        try:
            return bool(self.enforcer.authorize(f"{base.PREFIX}:{rule}", target, request.caller))
        except policy.InvalidScope:
            return False

    def authorize(self, request: Request, *rules: str, project_id: str | None = None) -> None:
        """Raise Forbidden unless the caller ``may`` do one of ``rules``.

        Several are for an address whose body says which is meant: they are asked before the body is
        read, and the one that is meant after that.
        """
        if not any(self.may(request, rule, project_id) for rule in rules):
            names = " or ".join(f"{base.PREFIX}:{rule}" for rule in rules)
            raise errors.Forbidden(f"policy does not allow you {names}")

    def authorize_owned(self, request: Request, noun: str, item: Owned, *rules: str) -> None:
        """As ``authorize`` for ``item``; one the caller may not even see is not there: NotFound."""
        foreign = item.project_id != request.caller.project_id
        if foreign and not any(
            self.may(request, rule, item.project_id) for rule in (*rules, f"{noun}s:get")
        ):
            raise errors.NotFound(f"{noun} {item.id} not found")
        self.authorize(request, *rules, project_id=item.project_id)


class Controller:
    """One noun: ``/v1/<nouns>``, ``/v1/<nouns>/{id}`` and perhaps ``/v1/<nouns>/{id}/action``.

    A subclass has those methods of HANDLERS that its noun has. Pecan's own RestController is not
    used: it takes the HTTP method from a query parameter and attributes of the object from the path.
    """

    HANDLERS: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "collection": {"GET": "get_all", "POST": "post"},
        "item": {"GET": "get_one", "PATCH": "patch", "DELETE": "delete"},
        "action": {"POST": "action"},
    }

    def __init__(self, services: Services) -> None:
        self.services = services

    def route(self, path: Sequence[str], request: Request) -> tuple[Handler, list[str]]:
        """Return the handler of the rest of the address, and its arguments; raise 404 or 405."""
        if len(path) < 2:
            level = "item" if path else "collection"
        else:
            level = "action" if path[1:] == ["action"] else ""
        # Nothing names nothing; nor does what no terminal prints, and some databases refuse it.
        if path and not (0 < len(path[0]) <= bounds.NAME_MAX and texts.is_visible(path[0])):
            level = ""
        found = {
            method: getattr(self, name)
            for method, name in self.HANDLERS.get(level, {}).items()
            if hasattr(self, name)
        }
        handler = choose(request, found)
        if handler.__name__ != "get_all":
            request.checked_query(common.EMPTY)
        return handler, [canonical_id(name_or_id) for name_or_id in path[:1]]


def choose(request: Request, handlers: Mapping[str, Handler]) -> Handler:
    """Return the handler of the request's method, or raise NotFound or a 405 with ``Allow``."""
    if not handlers:
        raise errors.NotFound(f"there is nothing at {texts.shown(request.path_info)}")
    method = "GET" if request.method == "HEAD" else request.method
    if method not in handlers:
        names = ", ".join(handlers)
        raise http_errors.HttpError(
            405, f"method is {request.method}; allowed: {names}", {"Allow": names}
        )
    return handlers[method]


@contextmanager
def made_as(noun: str, item_id: str) -> Iterator[None]:
    """Name the item in an Unavailable: it may be made all the same by a conductor that is slow."""
    try:
        yield
    except errors.Unavailable as exc:
        raise errors.Unavailable(
            f"{exc.message}; the {noun} may be made all the same: "
            f"look for {item_id}, or repeat the request with this id"
        ) from exc


def prefix(services: Services, request: Request) -> str:
    """Return what comes before ``/v1`` in the addresses that callers use."""
    return str(services.conf.api.public_endpoint or request.application_url).rstrip("/")
