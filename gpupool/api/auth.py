"""Who is calling: tokens checked by keystonemiddleware, or whoever the headers say (noauth)."""

from collections.abc import Mapping
from typing import Any

import webob
from keystonemiddleware import auth_token
from oslo_config import cfg
from webob.dec import wsgify

from gpupool.api.local import Local

# What anyone may read: a client needs the versions before it has a token.
PUBLIC = frozenset({"", "/", "/v1", "/v1/"})
# Who calls with no header, when nobody is asked who they are.
NOAUTH_HEADERS: Mapping[str, str] = {
    "X-Project-Id": "noauth",
    "X-User-Id": "noauth",
    "X-Roles": "admin,manager,member,reader",
}


class Keystone:
    """Middleware: lets requests with a valid token pass, and the public addresses."""

    def __init__(self, application: Any, conf: cfg.ConfigOpts) -> None:
        self._application = application
        self._checked = auth_token.AuthProtocol(application, {"oslo_config_config": conf})

    @wsgify
    def __call__(self, request: webob.Request) -> webob.Response:
        """Answer ``request``, or 401."""
        public = request.environ.get("PATH_INFO", "") in PUBLIC
        return request.get_response(self._application if public else self._checked)


class NoAuth:
    """Middleware: believes the headers, and fills those that are missing. For tests and trying."""

    def __init__(self, application: Any) -> None:
        self._application = application

    @wsgify
    def __call__(self, request: webob.Request) -> webob.Response:
        """Answer ``request`` as of the project, user and roles its headers name."""
        for name, value in NOAUTH_HEADERS.items():
            if not request.headers.get(name):
                request.headers[name] = value
        return request.get_response(self._application)


def wrap(application: Any, conf: cfg.ConfigOpts) -> Any:
    """Return ``application`` behind the ``[api] auth_strategy``."""
    if conf.api.auth_strategy == "noauth":
        return Local(NoAuth(application), conf.api.public_endpoint)
    return Keystone(application, conf)
