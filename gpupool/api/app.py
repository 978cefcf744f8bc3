"""The WSGI application."""

from typing import Any

import oslo_middleware
from oslo_config import cfg
from oslo_context.context import RequestContext
from oslo_middleware import request_id
from pecan.core import ExplicitPecan
from pecan.hooks import PecanHook

from gpupool import policies
from gpupool.api import auth, errors, health, microversion, root
from gpupool.api.controller import Services
from gpupool.api.request import JSON, Request
from gpupool.db.api import Database
from gpupool.rpc import context
from gpupool.rpc.conductor import ConductorClient


class _AlwaysJson(PecanHook):
    """Answers JSON whatever the Accept header says; there is nothing else to choose."""

    def on_route(self, state: Any) -> None:
        """Set the content type before Pecan would look for one."""
        state.request.pecan["content_type"] = JSON


class _OwnContext:
    """Middleware: each request has a context of its own, and its thread none when it is done."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer as what is beneath."""
        RequestContext(request_id=environ.get(request_id.ENV_REQUEST_ID))
        try:
            return self._application(environ, start_response)
        finally:
            context.clear()


def make_app(conf: cfg.ConfigOpts, database: Database, conductor: ConductorClient) -> Any:
    """Return the API as a WSGI application. Its state is its arguments, so many may live together."""
    services = Services(
        conf=conf, database=database, conductor=conductor, enforcer=policies.new_enforcer(conf)
    )
    application: Any = ExplicitPecan(
        root.Root(services),
        hooks=[_AlwaysJson()],
        request_cls=Request,
        default_renderer="json",
        force_canonical=False,
        guess_content_type_from_ext=False,
    )
    # Read from the last line up: that is the order in which a request passes.
    # 7. Who calls, before any controller asks what they may.
    application = auth.wrap(application, conf)
    # 6. Bodies too large are refused before anyone reads them.
    application = oslo_middleware.RequestBodySizeLimiter(application, conf)
    # 5. Whatever fails beneath gets this API's error body, also what 6 and 7 refuse.
    application = errors.ErrorBodies(application)
    # 4. Errors, too, name the version they are written in.
    application = microversion.Microversion(application)
    # 3. Load balancers have no token; their answer is plain text.
    application = health.Health(application, conf, database)
    # 2. Lines of the log name the request from here on, before anyone knows whose it is.
    application = _OwnContext(application)
    # 1. A proxy's headers are applied first, so that every link is as the caller sees it; the
    #    request id comes before all, so that every answer has one.
    application = oslo_middleware.HTTPProxyToWSGI(application, conf)
    return oslo_middleware.RequestId(application, conf)
