"""The API for an external WSGI server: ``uwsgi --module gpupool.api.wsgi:application`` and the like."""

from typing import Any

from oslo_service import backend

# Before oslo.messaging loads oslo.service, which would choose eventlet.
backend.init_backend(backend.BackendType.THREADING)

from oslo_log import log  # noqa: E402

from gpupool import conf as gpupool_conf  # noqa: E402
from gpupool.api import app  # noqa: E402
from gpupool.db.api import Database  # noqa: E402
from gpupool.rpc import transport  # noqa: E402
from gpupool.rpc.conductor import ConductorClient  # noqa: E402


def make_application() -> Any:
    """Return the application that /etc/gpupool describes."""
    conf = gpupool_conf.new()
    log.setup(conf, "gpupool")
    database = Database.from_conf(conf)
    database.check()
    return app.make_app(conf, database, ConductorClient(transport.get_transport(conf)))


def __getattr__(name: str) -> Any:
    """Make ``application`` when a server first asks for it; importing this module reads nothing."""
    if name != "application":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = make_application()
    globals()[name] = made
    return made
