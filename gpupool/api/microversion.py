"""Microversions of the API, asked for by the header ``OpenStack-API-Version: gpu-pool 1.0``."""

from typing import Any

import microversion_parse
import webob
from webob.dec import wsgify

from gpupool.api import errors
from gpupool.model import text as texts

SERVICE_TYPE = "gpu-pool"
VERSIONS = (
    # pools, hosts, devices, profiles, claims, vgpus, attachments, sessions, services, queue, quotas,
    # usage
    "1.0",
)
MIN_VERSION = VERSIONS[0]
MAX_VERSION = VERSIONS[-1]
ENVIRON = "gpupool.microversion"


class Microversion:
    """Middleware: finds the version asked for, names it in the answer, refuses one it does not have."""

    def __init__(self, application: Any) -> None:
        self._application = application

    @wsgify
    def __call__(self, request: webob.Request) -> webob.Response:
        """Answer ``request`` in the version it asks for, the lowest without the header."""
        header = microversion_parse.STANDARD_HEADER
        try:
            version = microversion_parse.extract_version(request.headers, SERVICE_TYPE, VERSIONS)
        except (ValueError, TypeError):
            response = _refusal(request)
        else:
            request.environ[ENVIRON] = version
            response = request.get_response(self._application)
            response.headers[header] = f"{SERVICE_TYPE} {version}"
        response.headers.add("Vary", header)
        return response


def _refusal(request: webob.Request) -> webob.Response:
    asked = microversion_parse.get_version(request.headers, SERVICE_TYPE)
    detail = (
        f"version is '{texts.shown(str(asked))}'; allowed: {MIN_VERSION} to {MAX_VERSION}, or latest"
    )
    content = errors.body(406, detail, request.environ, min_version=MIN_VERSION, max_version=MAX_VERSION)
    return webob.Response(status=406, json_body=content)
