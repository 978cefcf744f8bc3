"""Protects an API without authentication: only programs of this machine may use it, no web page may.

A browser on this machine runs pages of strangers. A page can't read answers of other sites, but may
send them simple requests; and a name of its own site may be made to lead to this machine (DNS
rebinding), whose answers it then reads. The browser says in Host and Origin which site it means.
"""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

import webob
from webob.dec import wsgify

from gpupool.model import errors
from gpupool.model import text as texts

# Where a browser says a request comes from: the page's own site, or the user.
_FETCH_SITES = ("same-origin", "none")


class Local:
    """Middleware: refuses requests that are addressed to other names, or that other sites make."""

    def __init__(self, application: Any, public_endpoint: str | None) -> None:
        """Take also requests to the host of ``public_endpoint``, which the operator named."""
        self._application = application
        self._public = urlsplit(public_endpoint or "").netloc.lower()

    @wsgify
    def __call__(self, request: webob.Request) -> webob.Response:
        """Answer ``request``, or raise Forbidden."""
        host = request.headers.get("Host", "").lower()
        port = request.environ.get("SERVER_PORT", "")
        if not host or (host != self._public and not _is_here(host, port)):
            raise _refusal(
                "Host", host, f"localhost or a loopback address, port {port}; [api] public_endpoint"
            )
        origin = request.headers.get("Origin", "").lower()
        if origin and origin not in (f"http://{host}", f"https://{host}"):
            raise _refusal("Origin", origin, f"http://{host}")
        site = request.headers.get("Sec-Fetch-Site", "none").lower()
        if site not in _FETCH_SITES:
            raise _refusal("Sec-Fetch-Site", site, ", ".join(_FETCH_SITES))
        return request.get_response(self._application)


def _is_here(host: str, port: str) -> bool:
    """Return whether a Host header names this machine's loopback interface and ``port``."""
    try:
        address = urlsplit(f"//{host}")
        if address.netloc != host or "@" in host or not address.hostname:
            return False
        if str(address.port or 80) != port:
            return False
        return address.hostname == "localhost" or ipaddress.ip_address(address.hostname).is_loopback
    except ValueError:
        return False


def _refusal(header: str, given: str, allowed: str) -> errors.Forbidden:
    return errors.Forbidden(f"{header} is '{texts.shown(given)}'; allowed without login: {allowed}")
