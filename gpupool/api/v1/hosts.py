"""``/v1/hosts``."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from gpupool.api import views
from gpupool.api.controller import Answer, Controller, Json
from gpupool.api.listing import Listing, found
from gpupool.api.request import Request
from gpupool.api.v1.schemas import host as schemas
from gpupool.db import host_keys, hosts, pools
from gpupool.model.host import Host
from gpupool.model.host_key import HostKey, KeyState

_INTERNAL = frozenset({"revision", "incarnation"})


class Hosts(Controller):
    """Hosts, by name or id. Agents make them by introducing themselves."""

    def get_all(self, request: Request) -> Json:
        """List hosts."""
        self.services.authorize(request, "hosts:get")
        listing = Listing.of(self.services, request, schemas.LIST)
        with self.services.database.reader() as session:
            listing.resolve(session, "pool", pools.list_)
            page, more = listing.read(session, hosts.list_)
            return listing.body("hosts", _views(session, page), more)

    def get_one(self, request: Request, name_or_id: str) -> Json:
        """Show a host."""
        self.services.authorize(request, "hosts:get")
        with self.services.database.reader() as session:
            return _views(session, [hosts.find(session, name_or_id)])[0]

    def patch(self, request: Request, name_or_id: str) -> Json:
        """Move a host to another pool."""
        self.services.authorize(request, "hosts:update")
        body = request.checked_body(schemas.UPDATE)
        with self.services.database.reader() as session:
            host = hosts.find(session, name_or_id)
            pool = found(session, "pool", body["pool"], pools.find)
        moved: Host = self.services.conductor.set_host_pool(request.caller, host.id, pool.id)
        with self.services.database.reader() as session:
            return _views(session, [moved])[0]

    def action(self, request: Request, name_or_id: str) -> Json:
        """Admit a host by a key that it introduced, or revoke all its keys; enable or disable it."""
        self.services.authorize(request, "hosts:admit", "hosts:disable")
        body = request.checked_body(schemas.ACTION)
        rule = "hosts:admit" if body.keys() & {"admit", "revoke"} else "hosts:disable"
        self.services.authorize(request, rule)
        with self.services.database.reader() as session:
            host = hosts.find(session, name_or_id)
        changed = self._do(request, host, body)
        with self.services.database.reader() as session:
            return _views(session, [changed])[0]

    def _do(self, request: Request, host: Host, body: Json) -> Host:
        """Return the host after the one action that ``body`` names."""
        conductor, caller = self.services.conductor, request.caller
        if "admit" in body:
            return conductor.admit_host(caller, host.id, body["admit"]["fingerprint"])
        if "revoke" in body:
            return conductor.revoke_host(caller, host.id)
        reason = body.get("disable", {}).get("reason", "")
        return conductor.set_host_enabled(caller, host.id, "enable" in body, reason)

    def delete(self, request: Request, name_or_id: str) -> Answer:
        """Forget a host."""
        self.services.authorize(request, "hosts:delete")
        with self.services.database.reader() as session:
            host = hosts.find(session, name_or_id)
        self.services.conductor.delete_host(request.caller, host.id)
        return Answer(204)


def _views(session: Session, found: Sequence[Host]) -> list[Json]:
    """Return hosts with the fingerprints of their keys, less what only conductors and agents need."""
    of_hosts = host_keys.list_(session, {"host": [host.name for host in found]})
    shown = views.with_pool(session, found)
    return [
        {
            **{key: value for key, value in view.items() if key not in _INTERNAL},
            **_fingerprints([key for key in of_hosts if key.host == view["name"]]),
        }
        for view in shown
    ]


def _fingerprints(keys: Sequence[HostKey]) -> Json:
    """Return the admitted key, if there is one, and those that wait."""
    admitted = [key.id for key in keys if key.state == KeyState.ADMITTED]
    pending = [key.id for key in keys if key.state == KeyState.PENDING]
    return {"fingerprint": admitted[0] if admitted else None, "pending_fingerprints": pending}
