"""Keystone, as far as our commands need it: whose token it is, and its REST API."""

from dataclasses import dataclass
from typing import Any

from keystoneauth1 import adapter as ksa
from keystoneauth1 import exceptions as ksa_errors
from keystoneauth1.identity.base import BaseIdentityPlugin
from osc_lib.exceptions import CommandError

from gpupool.client import printable, rest

Json = dict[str, Any]


@dataclass(frozen=True)
class Own:
    """The project that the token is for; empty for a token of a domain or of the system."""

    project_id: str
    name: str
    domain_id: str
    domain_name: str

    def is_of_domain(self, domain: str | None) -> bool:
        """Return whether ``domain``, a name or id, is the project's; None is any."""
        return domain in (None, self.domain_id, self.domain_name)


@dataclass(frozen=True)
class Place:
    """The service and region of our endpoint, for which Keystone keeps limits."""

    service_id: str
    region_id: str | None


class Identity:
    """Requests to the cloud's Keystone; every method raises CommandError when it does not answer."""

    def __init__(self, client_manager: Any) -> None:
        """Use the command line's login and region; raises LookupError when that is no Keystone's."""
        if not isinstance(client_manager.session.auth, BaseIdentityPlugin):
            raise LookupError("no Keystone")
        self._session = client_manager.session
        self._region: str | None = client_manager.region_name or None
        self._adapter = ksa.Adapter(
            session=self._session,
            service_type="identity",
            interface=client_manager.interface,
            region_name=self._region,
            min_version="3",
            max_version="3.latest",
            client_name="gpupool",
        )

    def own(self) -> Own:
        """Return the token's project."""
        access = self._access()
        return Own(
            project_id=access.project_id or "",
            name=access.project_name or "",
            domain_id=access.project_domain_id or "",
            domain_name=access.project_domain_name or "",
        )

    def place(self) -> Place:
        """Return where our service is in the catalogue; raises CommandError when it is not."""
        for service in self._access().service_catalog.catalog:
            regions = [endpoint.get("region_id") for endpoint in service.get("endpoints", ())]
            if service.get("type") == rest.SERVICE_TYPE and self._region in (None, *regions):
                return Place(str(service.get("id")), self._region or next(iter(regions), None))
        raise CommandError(
            f"the catalogue has no service of the type {rest.SERVICE_TYPE}"
            + (f" in region {self._region}" if self._region else "")
        )

    def request(self, method: str, path: str, **arguments: Any) -> tuple[int, Json]:
        """Return status and body of an answer, which may be a refusal."""
        try:
            response = self._adapter.request(
                path, method, raise_exc=False, timeout=rest.TIMEOUT, **arguments
            )
        except ksa_errors.ClientException as exc:
            raise CommandError(f"Keystone can't be asked: {exc}") from exc
        if response.status_code >= 500:
            raise CommandError(f"Keystone failed: {method} {path} (HTTP {response.status_code})")
        return response.status_code, printable.item(response.json()) if response.content else {}

    def _access(self) -> Any:
        try:
            return self._session.auth.get_access(self._session)
        except ksa_errors.ClientException as exc:
            raise CommandError(f"Keystone gives no token: {exc}") from exc


def why(body: Json) -> str:
    """Return what Keystone says in a refusal."""
    return str(body.get("error", {}).get("message", "no reason given"))
