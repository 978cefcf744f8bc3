"""Microversions of the API, asked for by the header ``OpenStack-API-Version: gpu-pool 1.0``."""

import re
from typing import Any

import webob
from webob.dec import wsgify

from gpupool.api import errors
from gpupool.model import errors as model_errors
from gpupool.model import text as texts

SERVICE_TYPE = "gpu-pool"
# No release has been made yet: until then 1.0 takes what is new. From then on every change of what a
# request may say or an answer says is a version of its own, with a line here that says what it is.
VERSIONS = (
    # pools, hosts, devices, profiles, claims, vgpus, attachments, sessions, services, queue, quotas,
    # usage
    "1.0",
)
MIN_VERSION = VERSIONS[0]
MAX_VERSION = VERSIONS[-1]
ENVIRON = "gpupool.microversion"
HEADER = "openstack-api-version"
_VERSION = re.compile(r"[1-9][0-9]{0,8}\.(?:0|[1-9][0-9]{0,8})")


class Microversion:
    """Middleware: finds the version asked for, names it in the answer, refuses one it does not have.

    What is no version is refused with 400, one that is not there with 406.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    @wsgify
    def __call__(self, request: webob.Request) -> webob.Response:
        """Answer ``request`` in the version it asks for, the lowest without the header."""
        try:
            version = asked(request.headers.get(HEADER, ""))
        except model_errors.Invalid as exc:
            response = _refusal(request, 400, exc.message)
        else:
            response = self._in_version(request, version)
        response.headers.add("Vary", HEADER)
        return response

    def _in_version(self, request: webob.Request, version: str) -> webob.Response:
        if version not in VERSIONS:
            detail = f"version is '{version}'; allowed: {MIN_VERSION} to {MAX_VERSION}, or latest"
            return _refusal(request, 406, detail)
        request.environ[ENVIRON] = version
        response = request.get_response(self._application)
        response.headers[HEADER] = f"{SERVICE_TYPE} {version}"
        return response


def asked(header: str) -> str:
    """Return which version a header asks of this service, MIN_VERSION when it names only others.

    It may name several services: ``compute 2.90, gpu-pool 1.0``. The version need not be there. Raises
    Invalid for what is no version, and for two different ones.
    """
    named = {_version(part) for part in header.split(",") if _is_for_us(header, part)}
    if len(named) > 1:
        raise model_errors.Invalid(
            f"{HEADER} is '{texts.shown(header)}'; allowed: one version of {SERVICE_TYPE}"
        )
    return named.pop() if named else MIN_VERSION


def _is_for_us(header: str, part: str) -> bool:
    """Return whether a part of the header names this service; Invalid unless it is SERVICE VERSION."""
    words = part.split()
    if len(words) != 2 and header.strip():
        raise model_errors.Invalid(
            f"{HEADER} is '{texts.shown(header)}'; allowed: SERVICE VERSION, several with commas, as in "
            f"'{SERVICE_TYPE} {MAX_VERSION}'"
        )
    return bool(words) and words[0].lower() == SERVICE_TYPE


def _version(part: str) -> str:
    given = part.split()[1]
    if given == "latest":
        return MAX_VERSION
    if not _VERSION.fullmatch(given):
        raise model_errors.Invalid(
            f"version is '{texts.shown(given)}'; allowed: two whole numbers, as in {MAX_VERSION}, "
            "or latest"
        )
    return given


def _refusal(request: webob.Request, status: int, detail: str) -> webob.Response:
    versions = {"min_version": MIN_VERSION, "max_version": MAX_VERSION}
    content = errors.body(status, detail, request.environ, **versions)
    return webob.Response(status=status, json_body=content)
