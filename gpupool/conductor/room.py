"""What the devices of a pool have left: the allocator's view, from the database."""

from sqlalchemy.orm import Session

from gpupool.allocator.view import DeviceRoom
from gpupool.conductor.inventory import Inventory
from gpupool.db import devices, hosts, vgpus
from gpupool.db.vgpus import Granted
from gpupool.model.claim import COMPUTE_MAX
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.states import DeviceHealth, HostState
from gpupool.placement import names


def rooms(session: Session, pool_id: str, inventory: Inventory) -> list[DeviceRoom]:
    """Return the room on every device of a pool."""
    of_pool = {host.id: host for host in hosts.list_(session, {"pool_id": pool_id})}
    granted = vgpus.usage(session)
    return [
        _room(device, of_pool[device.host_id], inventory, granted.get(device.id, Granted()))
        for device in devices.list_(session, {"host_id": list(of_pool)})
    ]


def _room(device: Device, host: Host, inventory: Inventory, granted: Granted) -> DeviceRoom:
    compute = granted.compute + inventory.foreign(device.id, names.COMPUTE)
    memory_mib = granted.memory_mib + inventory.foreign(device.id, names.MEMORY_MIB)
    return DeviceRoom(
        device_id=device.id,
        host=host.name,
        host_up=host.state == HostState.UP,
        traits=inventory.traits(device),
        usable=device.enabled and device.health == DeviceHealth.OK,
        compute_total=COMPUTE_MAX,
        compute_free=max(COMPUTE_MAX - compute, 0),
        memory_total=device.memory_mib,
        memory_free=max(device.memory_mib - memory_mib, 0),
    )
