"""What the hosts and devices of a pool have left: the allocator's view, from the database."""

from sqlalchemy.orm import Session

from gpupool.allocator.rooms import DeviceRoom, HostRoom
from gpupool.conductor.inventory import Inventory
from gpupool.db import devices, hosts, vgpus
from gpupool.db.vgpus import Granted
from gpupool.model.claim import COMPUTE_MAX
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.states import DeviceHealth, HostState
from gpupool.placement import names


def rooms(session: Session, pool_id: str, inventory: Inventory) -> list[HostRoom]:
    """Return the room on every host of a pool."""
    owned: dict[str, list[Device]] = {}
    of_pool = hosts.list_(session, {"pool_id": pool_id})
    for device in devices.list_(session, {"host_id": [host.id for host in of_pool]}):
        owned.setdefault(device.host_id, []).append(device)
    granted = vgpus.usage(session)
    return [_host(host, owned.get(host.id, []), inventory, granted) for host in of_pool]


def _host(
    host: Host, owned: list[Device], inventory: Inventory, granted: dict[str, Granted]
) -> HostRoom:
    return HostRoom(
        name=host.name,
        up=host.state == HostState.UP,
        cpu_total=host.cpu_milli,
        cpu_free=host.cpu_milli,
        memory_total=host.memory_mib,
        memory_free=host.memory_mib,
        devices=tuple(_device(each, inventory, granted.get(each.id, Granted())) for each in owned),
    )


def _device(device: Device, inventory: Inventory, granted: Granted) -> DeviceRoom:
    compute = granted.compute + inventory.foreign(device.id, names.COMPUTE)
    memory_mib = granted.memory_mib + inventory.foreign(device.id, names.MEMORY_MIB)
    return DeviceRoom(
        device_id=device.id,
        usable=device.enabled and device.health == DeviceHealth.OK,
        traits=inventory.traits(device),
        product=device.product,
        link_group=device.link_group,
        sharing_mode=device.sharing_mode,
        compute_total=COMPUTE_MAX,
        compute_limit=COMPUTE_MAX,
        compute_granted=compute,
        compute_guaranteed=compute,
        memory_total=device.memory_mib,
        memory_limit=device.memory_mib,
        memory_granted=memory_mib,
        memory_guaranteed=memory_mib,
    )
