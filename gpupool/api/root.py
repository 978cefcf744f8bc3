"""The root of all addresses, and the one place where Pecan calls our code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pecan

from gpupool.api import links, versions
from gpupool.api.controller import Answer, Controller, Handler, Services, choose, prefix
from gpupool.api.request import Request
from gpupool.api.v1 import (
    attachments,
    claims,
    devices,
    hosts,
    pools,
    profiles,
    queue,
    quotas,
    sessions,
    usage,
    vgpus,
)
from gpupool.api.v1 import services as v1_services
from gpupool.api.v1.schemas import common
from gpupool.model import errors
from gpupool.model import text as texts


@dataclass(frozen=True)
class _Route:
    """What answers a request; ``nouns`` is the collection whose items are in the answer, if any are."""

    handler: Handler
    arguments: Sequence[str] = ()
    nouns: str = ""


class Root:
    """``/``, ``/v1`` and, beneath it, one controller per noun."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._versions = versions.Versions(services)
        self._nouns: Mapping[str, Controller] = {
            "pools": pools.Pools(services),
            "hosts": hosts.Hosts(services),
            "devices": devices.Devices(services),
            "profiles": profiles.Profiles(services),
            "claims": claims.Claims(services),
            "vgpus": vgpus.Vgpus(services),
            "attachments": attachments.Attachments(services),
            "sessions": sessions.Sessions(services),
            "services": v1_services.Services(services),
            "queue": queue.Queue(services),
            "quotas": quotas.Quotas(services),
            "usage": usage.Usage(services),
        }
        # Those of which each item has an address of its own.
        self._items = {name for name, noun in self._nouns.items() if hasattr(noun, "get_one")}

    @pecan.expose()
    def _route(self, args: list[str], request: Request) -> tuple[Any, list[Any]]:
        """Return what answers an address, and its arguments. One slash at the end changes nothing."""
        return self._answer, [self._find(args[:-1] if args[-1:] == [""] else args, request)]

    def _find(self, path: list[str], request: Request) -> _Route:
        if path in ([], ["v1"]):
            request.checked_query(common.EMPTY)
            shown = self._versions.get_one if path else self._versions.get_all
            return _Route(choose(request, {"GET": shown}))
        if len(path) == 2 and path[0] in self._items:
            return _Route(choose(request, {"GET": self._bookmark}), path)
        if path[0] != "v1" or path[1] not in self._nouns:
            raise errors.NotFound(f"there is nothing at {texts.shown(request.path_info)}")
        handler, arguments = self._nouns[path[1]].route(path[2:], request)
        return _Route(handler, arguments, path[1] if path[1] in self._items else "")

    def _bookmark(self, request: Request, nouns: str, item_id: str) -> Answer:
        """Lead from an address without version to the item in the current version."""
        request.checked_query(common.EMPTY)
        there = links.address(prefix(self._services, request), nouns, item_id)
        return Answer(307, headers={"Location": there})

    @pecan.expose("json")
    def _answer(self, request: Request, response: pecan.Response, route: _Route) -> Any:
        """Return the body, or the response when there is none."""
        answer = route.handler(request, *route.arguments)
        if not isinstance(answer, Answer):
            answer = Answer(200, answer)
        response.status = answer.status
        response.headers.update(answer.headers)
        if answer.body is None:
            return response
        if route.nouns:
            before = prefix(self._services, request)
            links.add(answer.body, route.nouns, before)
            if answer.status in (201, 202) and "id" in answer.body:
                response.location = links.address(before, route.nouns, answer.body["id"])
        return answer.body
