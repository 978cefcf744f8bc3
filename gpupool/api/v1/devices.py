"""``/v1/devices``."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from gpupool.api import views
from gpupool.api.controller import Answer, Controller, Json
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import device as schemas
from gpupool.db import devices, hosts, pools, vgpus
from gpupool.model.device import Device


class Devices(Controller):
    """Devices, by id. Agents make them by reporting."""

    def get_all(self, request: Request) -> Json:
        """List devices."""
        self.services.authorize(request, "devices:get")
        listing = Listing.of(self.services, request, schemas.LIST)
        with self.services.database.reader() as session:
            listing.resolve(session, "host", hosts.list_)
            listing.resolve(session, "pool", pools.list_)
            page, more = listing.read(session, devices.list_)
            return listing.body("devices", _views(session, page), more)

    def get_one(self, request: Request, device_id: str) -> Json:
        """Show a device."""
        self.services.authorize(request, "devices:get")
        with self.services.database.reader() as session:
            return _views(session, [devices.get(session, device_id)])[0]

    def action(self, request: Request, device_id: str) -> Json:
        """Let a device take new vGPUs (enable) or not (disable)."""
        self.services.authorize(request, "devices:disable")
        body = request.checked_body(schemas.ACTION)
        with self.services.database.reader() as session:
            device = devices.get(session, device_id)
        changed = self.services.conductor.set_device_enabled(
            request.caller, device.id, "enable" in body, body.get("disable", {}).get("reason", "")
        )
        with self.services.database.reader() as session:
            return _views(session, [changed])[0]

    def delete(self, request: Request, device_id: str) -> Answer:
        """Forget a device that was taken out of its host and holds nothing."""
        self.services.authorize(request, "devices:delete")
        with self.services.database.reader() as session:
            device = devices.get(session, device_id)
        self.services.conductor.delete_device(request.caller, device.id)
        return Answer(204)


def _views(session: Session, found: Sequence[Device]) -> list[Json]:
    """Return devices with the names of host and pool, and what is granted of each."""
    ids = [device.id for device in found]
    granted = vgpus.usage(session, device_id=ids)
    nothing = vgpus.Granted()
    members = hosts.list_(session, {"id": sorted({device.host_id for device in found})})
    pool_names = views.pool_names(session, (host.pool_id for host in members))
    places = {host.id: {"host": host.name, "pool": pool_names.get(host.pool_id)} for host in members}
    return [
        {
            **views.plain(device),
            **places.get(device.host_id, {"host": None, "pool": None}),
            "compute_granted": granted.get(device.id, nothing).compute,
            "memory_mib_granted": granted.get(device.id, nothing).memory_mib,
        }
        for device in found
    ]
