"""The root of all addresses, and the one place where Pecan calls our code."""

from collections.abc import Mapping, Sequence
from typing import Any

import pecan

from gpupool.api import versions
from gpupool.api.controller import Answer, Controller, Handler, Services, choose
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
from gpupool.model import errors
from gpupool.model import text as texts


class Root:
    """``/``, ``/v1`` and, beneath it, one controller per noun."""

    def __init__(self, services: Services) -> None:
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

    @pecan.expose()
    def _route(self, args: list[str], request: Request) -> tuple[Any, list[Any]]:
        """Return what answers an address, and its arguments. One slash at the end changes nothing."""
        handler, arguments = self._find(args[:-1] if args[-1:] == [""] else args, request)
        return self._answer, [handler, *arguments]

    def _find(self, path: Sequence[str], request: Request) -> tuple[Handler, list[str]]:
        if not path:
            return choose(request, {"GET": self._versions.get_all}), []
        if path == ["v1"]:
            return choose(request, {"GET": self._versions.get_one}), []
        if path[0] != "v1" or path[1] not in self._nouns:
            raise errors.NotFound(f"there is nothing at {texts.shown(request.path_info)}")
        return self._nouns[path[1]].route(path[2:], request)

    @pecan.expose("json")
    def _answer(
        self, request: Request, response: pecan.Response, handler: Handler, *arguments: str
    ) -> Any:
        """Return the body, or the response when there is none."""
        answer = handler(request, *arguments)
        if not isinstance(answer, Answer):
            return answer
        response.status = answer.status
        return response if answer.body is None else answer.body
