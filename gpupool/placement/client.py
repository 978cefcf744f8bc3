"""The Placement API, one thin method a call. Source: OpenStack's Placement API reference.

A method that takes a generation hands a generation conflict back to its caller, who read what the
generation belongs to; only callers that read for themselves (provider_tree, allocations) try again.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from keystoneauth1 import adapter as ksa_adapter
from keystoneauth1 import exceptions as ksa_exceptions
from keystoneauth1 import loading, token_endpoint
from keystoneauth1 import session as ksa_session
from oslo_config import cfg

from gpupool.conf import placement as conf_placement
from gpupool.model import errors
from gpupool.placement.allocation import Allocation
from gpupool.placement.errors import ConcurrentUpdate
from gpupool.placement.provider import Inventory, Provider

LOG = logging.getLogger(__name__)
# 1.37 lets a provider change its parent, 1.38 has consumer types; 1.39 came with OpenStack Yoga.
MICROVERSION = "1.39"
# What errors.Unavailable calls this service.
SERVICE = "Placement"
_PROBE_SECONDS = 10
# Of a Placement without Keystone. No secret: noauth2 takes the token for the user's name.
TOKEN = "admin"  # noqa: S105
_CONCURRENT_UPDATE = "placement.concurrent_update"


def from_conf(conf: cfg.ConfigOpts) -> "PlacementClient":
    """Return the client that ``[placement]`` describes; Invalid when that section is not complete."""
    group = conf_placement.GROUP
    try:
        auth = loading.load_auth_from_conf_options(conf, group)
        if auth is None:
            raise errors.Invalid("[placement] auth_type is not set; e.g. password")
        session = loading.load_session_from_conf_options(conf, group, auth=auth)
        adapter = loading.load_adapter_from_conf_options(
            conf, group, session=session, default_microversion=MICROVERSION
        )
    except (ksa_exceptions.ClientException, cfg.Error) as exc:
        raise errors.Invalid(f"[placement] does not describe a service: {exc}") from exc
    return PlacementClient(adapter)


def by_token(url: str, token: str, timeout: float) -> "PlacementClient":
    """Return the client of a service at ``url`` that takes ``token``, with no Keystone in between."""
    session = ksa_session.Session(auth=token_endpoint.Token(url, token), timeout=timeout)
    return PlacementClient(
        ksa_adapter.Adapter(
            session,
            service_type="placement",
            default_microversion=MICROVERSION,
            # The server may close an idle connection just when it is used again.
            connect_retries=1,
        )
    )


class PlacementClient:
    """Calls Placement through a keystoneauth1 adapter, whose session brings credentials and timeout.

    Every method raises Unavailable when Placement does not answer in time, answers 5xx or refuses
    our credentials; Invalid, NotFound and Conflict (or ConcurrentUpdate) for 400, 404 and 409. A 404
    that is not Placement's own is Unavailable.
    """

    def __init__(self, adapter: ksa_adapter.Adapter) -> None:
        self._adapter = adapter

    def probe(self) -> None:
        """Ask for little; raises Unavailable when Placement or its database does not answer soon."""
        try:
            answer = self._adapter.get(
                "/resource_providers",
                params={"name": "gpupool:"},
                timeout=_PROBE_SECONDS,
                connect_retries=0,
                raise_exc=False,
            )
        except (ksa_exceptions.ClientException, OSError) as exc:
            raise errors.Unavailable("Placement can't be reached", SERVICE) from exc
        if answer.status_code != 200:
            raise errors.Unavailable(str(_error(answer, "a probe")), SERVICE)

    def find_provider(self, name: str) -> Provider | None:
        """Return the provider called ``name``, or None."""
        found = self._call("GET", "/resource_providers", params={"name": name})["resource_providers"]
        return Provider.load(found[0]) if found else None

    def providers_with(self, required: Iterable[str], forbidden: Iterable[str] = ()) -> list[Provider]:
        """Return the providers that have all ``required`` traits, one at least, and none ``forbidden``.

        None has a trait that Placement does not know.
        """
        wanted, known = set(required), self.traits()
        if not wanted <= known:
            return []
        terms = [*sorted(wanted), *(f"!{trait}" for trait in sorted(known & set(forbidden)))]
        found = self._call("GET", "/resource_providers", params={"required": ",".join(terms)})
        return [Provider.load(record) for record in found["resource_providers"]]

    def get_provider(self, provider_id: str) -> Provider | None:
        """Return the provider, or None."""
        try:
            return Provider.load(self._call("GET", _provider(provider_id)))
        except errors.NotFound:
            return None

    def create_provider(self, provider_id: str, name: str, parent_id: str | None) -> Provider:
        """Make a provider, a root when ``parent_id`` is None; Conflict when id or name is taken."""
        body = {"uuid": provider_id, "name": name, "parent_provider_uuid": parent_id}
        return Provider.load(self._call("POST", "/resource_providers", body))

    def update_provider(self, provider_id: str, name: str, parent_id: str | None) -> Provider:
        """Rename a provider or move it, with its children, below another parent."""
        body = {"name": name, "parent_provider_uuid": parent_id}
        return Provider.load(self._call("PUT", _provider(provider_id), body))

    def delete_provider(self, provider_id: str) -> None:
        """Delete a provider; Conflict while there are allocations on it."""
        self._call("DELETE", _provider(provider_id))

    def inventories(self, provider_id: str) -> tuple[dict[str, Inventory], int]:
        """Return a provider's inventory by resource class, and its generation."""
        answer = self._call("GET", _provider(provider_id, "inventories"))
        found = {name: Inventory(**record) for name, record in answer["inventories"].items()}
        return found, answer["resource_provider_generation"]

    def set_inventories(
        self, provider_id: str, inventories: Mapping[str, Inventory], generation: int
    ) -> int:
        """Replace all of a provider's inventory; Conflict when a class left out is in use.

        Returns the new generation, as the other methods that take one.
        """
        body = {
            "inventories": {name: asdict(inventory) for name, inventory in inventories.items()},
            "resource_provider_generation": generation,
        }
        return _generation(self._call("PUT", _provider(provider_id, "inventories"), body))

    def provider_traits(self, provider_id: str) -> tuple[frozenset[str], int]:
        """Return a provider's traits and its generation."""
        answer = self._call("GET", _provider(provider_id, "traits"))
        return frozenset(answer["traits"]), answer["resource_provider_generation"]

    def set_provider_traits(self, provider_id: str, traits: Iterable[str], generation: int) -> int:
        """Replace all of a provider's traits; Invalid when Placement does not know one of them."""
        body = {"traits": sorted(traits), "resource_provider_generation": generation}
        return _generation(self._call("PUT", _provider(provider_id, "traits"), body))

    def aggregates(self, provider_id: str) -> tuple[frozenset[str], int]:
        """Return the ids of a provider's aggregates, and its generation."""
        answer = self._call("GET", _provider(provider_id, "aggregates"))
        return frozenset(answer["aggregates"]), answer["resource_provider_generation"]

    def set_aggregates(self, provider_id: str, aggregates: Iterable[str], generation: int) -> int:
        """Replace all of a provider's aggregates."""
        body = {"aggregates": sorted(aggregates), "resource_provider_generation": generation}
        return _generation(self._call("PUT", _provider(provider_id, "aggregates"), body))

    def provider_allocations(self, provider_id: str) -> dict[str, dict[str, int]]:
        """Return amounts by resource class by consumer id; NotFound when there is no such provider."""
        answer = self._call("GET", _provider(provider_id, "allocations"))
        return {consumer: entry["resources"] for consumer, entry in answer["allocations"].items()}

    def traits(self) -> frozenset[str]:
        """Return every trait Placement knows."""
        return frozenset(self._call("GET", "/traits")["traits"])

    def unknown_traits(self, names: Iterable[str]) -> set[str]:
        """Return those of ``names`` that are no trait Placement knows."""
        return set(names) - self.traits()

    def create_trait(self, name: str) -> None:
        """Make a custom trait known; nothing happens if it is."""
        self._call("PUT", f"/traits/{quote(name, safe='')}")

    def create_resource_class(self, name: str) -> None:
        """Make a custom resource class known; nothing happens if it is."""
        self._call("PUT", f"/resource_classes/{quote(name, safe='')}")

    def get_allocation(self, consumer_id: str) -> Allocation | None:
        """Return what a consumer holds, or None when that is nothing."""
        answer = self._call("GET", f"/allocations/{quote(consumer_id, safe='')}")
        return Allocation.load(consumer_id, answer) if answer["allocations"] else None

    def set_allocations(self, allocations: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace what each consumer holds, for all of them or for none.

        ``allocations`` is the body of ``POST /allocations``. ConcurrentUpdate when a consumer's
        generation is not the one given; Conflict when there is no room.
        """
        self._call("POST", "/allocations", allocations)

    def delete_allocation(self, consumer_id: str) -> None:
        """Delete all a consumer holds; NotFound when that is nothing."""
        self._call("DELETE", f"/allocations/{quote(consumer_id, safe='')}")

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON that Placement answers, or None if it answers nothing."""
        try:
            answer = self._adapter.request(path, method, json=body, params=params, raise_exc=False)
        except (ksa_exceptions.ClientException, OSError) as exc:
            # Not for users: it names hosts. That Placement is away is logged once, by ``Dependencies``.
            LOG.info("%s %s of Placement failed: %s", method, path, exc)
            raise errors.Unavailable("Placement can't be reached", SERVICE) from exc
        if not 200 <= answer.status_code < 300:
            raise _error(answer, f"{method} {path}")
        return _json(answer) if answer.content else None


def _generation(answer: Mapping[str, Any]) -> int:
    return int(answer["resource_provider_generation"])


def _provider(provider_id: str, part: str = "") -> str:
    """Return the path of a provider, or of a part of it."""
    path = f"/resource_providers/{quote(provider_id, safe='')}"
    return f"{path}/{part}" if part else path


def _json(answer: Any) -> Any:
    """Return the JSON of ``answer``; Unavailable when it is something else, a proxy's page maybe."""
    try:
        return answer.json()
    except ValueError as exc:
        raise errors.Unavailable("Placement's answer is not JSON", SERVICE) from exc


def _error(answer: Any, what: str) -> errors.GpupoolError:
    """Return the error that ``answer``, a failure of the request ``what``, means to a caller."""
    code, detail = _reason(answer)
    message = f"Placement answered {answer.status_code} to {what}: {detail}"
    if answer.status_code == 409 and code == _CONCURRENT_UPDATE:
        return ConcurrentUpdate(message)
    if answer.status_code == 404 and not code:
        # Not Placement's own words, so nothing says that it was asked: a proxy has lost it, perhaps.
        return errors.Unavailable(message, SERVICE)
    kinds = {400: errors.Invalid, 404: errors.NotFound, 409: errors.Conflict}
    kind = kinds.get(answer.status_code)
    return kind(message) if kind else errors.Unavailable(message, SERVICE)


def _reason(answer: Any) -> tuple[str, str]:
    """Return code and detail of a failure, from Placement's error body where there is one."""
    try:
        error = answer.json()["errors"][0]
        return str(error.get("code", "")), str(error["detail"]).strip()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "", answer.reason or "no reason given"
