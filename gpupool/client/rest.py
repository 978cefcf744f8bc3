"""A thin client of gpupool's REST API. It needs keystoneauth1 and no package of the servers."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import requests
from keystoneauth1 import adapter as ksa
from keystoneauth1 import exceptions as ksa_errors

from gpupool.client import printable

SERVICE_TYPE = "gpu-pool"
MICROVERSION = "1.0"
# Seconds to connect, and then without a byte; the API itself waits half of it for its conductor.
TIMEOUT = 60.0
# One resource of the API, as its JSON object.
Item = dict[str, Any]


class ApiError(Exception):
    """The API refused, failed or did not answer.

    ``status`` is the HTTP status, 0 without an answer; ``code`` the API's own name of the error.
    """

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class NotFound(ApiError):
    """The named thing does not exist, or is not the caller's."""


class Conflict(ApiError):
    """The thing is in a state in which this can't be done."""


class NoAnswer(ApiError):
    """The API did not answer in time; it may do what it was asked all the same."""


_BY_STATUS = {404: NotFound, 409: Conflict}


class Client:
    """Requests to one API endpoint; every method raises ApiError.

    ``collection`` is a noun's plural as in the URL (``claims``), ``ident`` an id or, where the API
    takes one, a name.
    """

    def __init__(self, adapter: ksa.Adapter) -> None:
        self._adapter = adapter
        # The user's own, `api_timeout` of clouds.yaml, comes first.
        self.timeout: float = adapter.session.timeout or TIMEOUT
        self._base = ""

    def list(
        self, collection: str, filters: Mapping[str, Any] | None = None, limit: int | None = None
    ) -> Iterator[Item]:
        """Yield the items of ``collection``, page after page, ``limit`` of them at most."""
        query = {key: value for key, value in (filters or {}).items() if value is not None}
        if limit is not None:
            query["limit"] = limit
        left = limit
        while left is None or left > 0:
            page = self._request("GET", f"/{collection}", params=query)
            yield from page[collection][:left]
            left = None if left is None else left - len(page[collection])
            marker = _next_marker(page)
            if marker is None:
                return
            query["marker"] = marker

    def get(self, collection: str, ident: str) -> Item:
        """Return one item."""
        return self._request("GET", _path(collection, ident))

    def create(self, collection: str, body: Mapping[str, Any]) -> Item:
        """Make an item of ``body``; return it."""
        return self._request("POST", f"/{collection}", json=body)

    def create_once(self, collection: str, body: Mapping[str, Any]) -> Item:
        """As ``create``, under an id of our own: where no answer comes in time, the error names it."""
        ident = str(uuid.uuid4())
        try:
            return self.create(collection, {"id": ident, **body})
        except NoAnswer as exc:
            raise NoAnswer(f"{exc}; it may be made all the same, as {ident}") from exc

    def update(self, collection: str, ident: str, changes: Mapping[str, Any]) -> Item:
        """Change fields of an item; return it."""
        return self._request("PATCH", _path(collection, ident), json=changes)

    def delete(self, collection: str, ident: str) -> None:
        """Delete an item; a claim is released."""
        self._request("DELETE", _path(collection, ident))

    def action(self, collection: str, ident: str, name: str, arguments: Mapping[str, Any]) -> Item:
        """Do ``name`` to an item; return the item."""
        return self._request("POST", f"{_path(collection, ident)}/action", json={name: arguments})

    def usage(self, project_id: str | None = None) -> Item:
        """Return ``{"pools": [...], "projects": [...]}``, of all that the caller may see or of one."""
        query = {} if project_id is None else {"project_id": project_id}
        return self._request("GET", "/usage", params=query)

    def quotas(self, project_id: str | None = None) -> Item:
        """Return ``{"quotas": [...]}`` of the caller's project or of another."""
        query = {} if project_id is None else {"project_id": project_id}
        return self._request("GET", "/quotas", params=query)

    def _request(self, method: str, path: str, **arguments: Any) -> Item:
        try:
            response = self._adapter.request(
                self._url(path),
                method,
                raise_exc=False,
                headers={"Accept": "application/json"},
                timeout=self.timeout,
                **arguments,
            )
        except ksa_errors.ConnectTimeout as exc:
            raise NoAnswer(f"the API at {self._base} gave no answer in {self.timeout:g} s") from exc
        except ksa_errors.ConnectFailure as exc:
            raise ApiError(
                f"nothing answers at {self._base}; is the API up, the endpoint right?"
            ) from exc
        except ksa_errors.ConnectionError as exc:
            raise ApiError(f"the API at {self._base} cannot be used: {exc}") from exc
        if response.status_code >= 400:
            raise _error(response)
        return _body(response)

    def _url(self, path: str) -> str:
        """Return the full URL; the endpoint may be given with or without its version."""
        if not self._base:
            endpoint = self._adapter.get_endpoint()
            if not endpoint:
                # With a service catalogue keystoneauth itself says what is missing there.
                raise ApiError("where is the API? give its URL by --os-endpoint")
            stripped = endpoint.rstrip("/")
            self._base = stripped if stripped.endswith("/v1") else f"{stripped}/v1"
        return self._base + path


def _path(collection: str, ident: str) -> str:
    """Return the address of one item; raise NotFound for what would lead to another address."""
    if ident in ("", ".", ".."):
        raise NotFound(f"{ident!r} names none of the {collection}; allowed: an id or a name")
    return f"/{collection}/{quote(ident, safe='')}"


def _next_marker(page: Item) -> str | None:
    """Return the marker of the next page; its address may be one that only the service can reach."""
    for link in page.get("links", ()):
        if link.get("rel") == "next":
            markers = parse_qs(urlsplit(link["href"]).query).get("marker")
            return markers[0] if markers else None
    return None


def _body(response: requests.Response) -> Item:
    if not response.content:
        return {}
    try:
        body = response.json()
    except requests.JSONDecodeError as exc:
        raise ApiError(f"{response.url} answered with something that is not JSON") from exc
    if not isinstance(body, dict):
        raise ApiError(f"{response.url} answered with something that is no JSON object")
    return {printable.text(key): printable.item(value) for key, value in body.items()}


def _error(response: requests.Response) -> ApiError:
    """Return what an error response says; one from something before the API has its status only."""
    status = response.status_code
    try:
        first = response.json()["errors"][0]
        message, code = str(first["detail"]), str(first.get("code", ""))
    except (requests.JSONDecodeError, LookupError, TypeError):
        message, code = f"{response.request.method} {response.url}: {response.reason}", ""
    request_id = printable.text(response.headers.get("x-openstack-request-id", ""))
    where = f", request {request_id}" if status >= 500 and request_id else ""
    message = printable.text(message)
    return _BY_STATUS.get(status, ApiError)(f"{message} (HTTP {status}{where})", status, code)
