"""The API for an external WSGI server: ``uwsgi --module gpupool.api.wsgi:application`` and the like.

Only such a server imports this: doing so reads the configuration and opens the database.
"""

import logging
from typing import Any

from oslo_service import backend

# Before oslo.messaging loads oslo.service, which would choose eventlet.
backend.init_backend(backend.BackendType.THREADING)

from gpupool import conf as gpupool_conf  # noqa: E402
from gpupool.api import app, presence  # noqa: E402
from gpupool.conf import logs  # noqa: E402
from gpupool.db.api import Database  # noqa: E402
from gpupool.model.service import VERSION  # noqa: E402
from gpupool.rpc import transport  # noqa: E402
from gpupool.rpc.conductor import ConductorClient  # noqa: E402

LOG = logging.getLogger(__name__)


def _make_application() -> Any:
    """Return the application that /etc/gpupool describes."""
    conf = gpupool_conf.new()
    logs.setup(conf, "gpupool")
    database = Database.from_conf(conf)
    database.check()
    LOG.info("API of %s serves, version %s", database.place, VERSION)
    made = app.make_app(conf, database, ConductorClient(transport.get_transport(conf)))
    return presence.Presence(made, database)


# In the module's own body: uWSGI and mod_wsgi look into its dictionary, where no __getattr__ helps.
application = _make_application()
