"""The WSGI application."""

from typing import Any

import oslo_middleware
from oslo_config import cfg
from pecan.core import ExplicitPecan
from pecan.hooks import PecanHook

from gpupool import policies
from gpupool.api import auth, errors, health, microversion, root
from gpupool.api.controller import Services
from gpupool.api.request import JSON, Request
from gpupool.db.api import Database
from gpupool.rpc.conductor import ConductorClient


class _AlwaysJson(PecanHook):
    """Answers JSON whatever the Accept header says; there is nothing else to choose."""

    def on_route(self, state: Any) -> None:
        """Set the content type before Pecan would look for one."""
        state.request.pecan["content_type"] = JSON


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
    # 6. Who calls, before any controller asks what they may.
    application = auth.wrap(application, conf)
    # 5. Bodies too large are refused before anyone reads them.
    application = oslo_middleware.RequestBodySizeLimiter(application, conf)
    # 4. Whatever fails beneath gets this API's error body, also what 5 and 6 refuse.
    application = errors.ErrorBodies(application)
    # 3. Errors, too, name the version they are written in.
    application = microversion.Microversion(application)
    # 2. Load balancers have no token; their answer is plain text.
    application = health.Health(application, conf, database)
    # 1. A proxy's headers are applied first, so that every link is as the caller sees it; the
    #    request id comes before all, so that every answer has one.
    application = oslo_middleware.HTTPProxyToWSGI(application, conf)
    return oslo_middleware.RequestId(application, conf)
