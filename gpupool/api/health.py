"""GET /healthcheck, for load balancers: whether this process and its database answer."""

import logging
from typing import Any

import oslo_middleware
import sqlalchemy
import webob
from oslo_config import cfg
from webob.dec import wsgify

from gpupool.db.api import Database
from gpupool.model import errors

LOG = logging.getLogger(__name__)
PATH = "/healthcheck"


class Health:
    """Middleware: answers PATH itself, without a token.

    200 OK, or 503 when the database does not answer or one of ``[healthcheck] backends`` says no.
    """

    def __init__(self, application: Any, conf: cfg.ConfigOpts, database: Database) -> None:
        self._application = application
        self._database = database
        self._backends = oslo_middleware.Healthcheck(webob.Response(status=404), conf)

    @wsgify
    def __call__(self, request: webob.Request) -> webob.Response:
        """Answer PATH; all else is for what is beneath."""
        if request.environ.get("PATH_INFO") != PATH:
            return request.get_response(self._application)
        if request.method in ("GET", "HEAD") and not self._database_answers():
            return webob.Response(status=503, text="DATABASE UNAVAILABLE", content_type="text/plain")
        response = request.get_response(self._backends)
        if response.content_type == "text/plain" and response.status_int == 200 and not response.text:
            response.text = "OK"
        return response

    def _database_answers(self) -> bool:
        try:
            with self._database.reader() as session:
                session.execute(sqlalchemy.text("SELECT 1"))
        except errors.Unavailable:
            return False  # Which was logged.
        except Exception:
            LOG.exception("the database does not answer")
            return False
        return True
