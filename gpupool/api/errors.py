"""Every answer that is an error gets the one error body of this API, wherever it comes from.

``{"errors": [{"status": 400, "code": "gpu-pool.invalid", "title": "Bad Request", "detail": "compute is
0; allowed: 1 to 100", "request_id": "req-..."}]}``
"""

import http
import logging
from collections.abc import Mapping
from typing import Any

import webob
from oslo_middleware import request_id
from webob.dec import wsgify

from gpupool.api import bounds
from gpupool.model import errors

LOG = logging.getLogger(__name__)

_SERVICE = "gpu-pool"
# Names of errors by status, where the error itself has none.
_CODES = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    413: "too_large",
    414: "address_too_long",
    415: "unsupported_media_type",
    500: "internal",
    503: "unavailable",
}
# What to say where the part that refused says nothing a user could act on.
_DETAILS = {
    401: "a valid token is needed in the header X-Auth-Token",
    413: "the body is larger than this service takes",
    414: f"the address is too long; allowed: {bounds.ADDRESS_MAX} bytes",
    500: "the service failed; its log has the reason under this request id",
    503: "a service that is needed did not answer; try again",
}


class HttpError(errors.GpupoolError):
    """A refusal that only HTTP knows, such as a method that an address does not have."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


def body(status: int, detail: str, environ: Mapping[str, Any], **more: str) -> dict[str, Any]:
    """Return the error body; ``more`` is added to it, or stands for what is in it."""
    error = {
        "status": status,
        "code": f"{_SERVICE}.{_CODES.get(status, 'error')}",
        "title": http.HTTPStatus(status).phrase,
        "detail": detail,
        "request_id": environ.get(request_id.ENV_REQUEST_ID, ""),
        **more,
    }
    return {"errors": [error]}


class ErrorBodies:
    """Middleware: exceptions and foreign error pages of what is beneath become error bodies."""

    def __init__(self, application: Any) -> None:
        self._application = application

    @wsgify
    def __call__(self, request: webob.Request) -> webob.Response:
        """Answer ``request`` with what is beneath, or with why not; never with a traceback."""
        if not bounds.address_fits(request.environ):
            return _response(
                request, 414, f"the address is too long; allowed: {bounds.ADDRESS_MAX} bytes"
            )
        if not _is_utf8(request):
            return _response(request, 400, "the address is not UTF-8")
        try:
            response = request.get_response(self._application)
        except errors.GpupoolError as exc:
            return _refusal(request, exc)
        except Exception:
            LOG.exception("%s %s failed", request.method, request.path_url)
            return _response(request, 500, _DETAILS[500])
        return _with_body(request, response)


def _is_utf8(request: webob.Request) -> bool:
    try:
        request.path_info, request.GET  # noqa: B018
    except UnicodeDecodeError:
        return False
    return True


def _refusal(request: webob.Request, exc: errors.GpupoolError) -> webob.Response:
    if exc.status >= 500:
        LOG.warning("%s %s: %s", request.method, request.path_url, exc.message)
    named = {"code": f"{_SERVICE}.{exc.code}"} if exc.code else {}
    response = _response(request, exc.status, exc.message, **named)
    response.headers.update(getattr(exc, "headers", {}))
    return response


def _response(request: webob.Request, status: int, detail: str, **more: str) -> webob.Response:
    return webob.Response(status=status, json_body=body(status, detail, request.environ, **more))


def _with_body(request: webob.Request, response: webob.Response) -> webob.Response:
    """Return ``response``; a refusal by middleware or Pecan gets our body, and keeps its headers."""
    if response.status_int < 400:
        return response
    phrase = http.HTTPStatus(response.status_int).phrase
    replaced = _response(request, response.status_int, _DETAILS.get(response.status_int, phrase))
    del response.headers["Content-Length"], response.headers["Content-Type"]
    replaced.headers.update(response.headers)
    return replaced
