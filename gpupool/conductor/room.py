"""What the devices of a pool have left: the allocator's view, from the database."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy.orm import Session

from gpupool.allocator.view import DeviceRoom
from gpupool.db import devices, hosts, vgpus
from gpupool.db.vgpus import Granted
from gpupool.model.claim import COMPUTE_MAX
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.states import DeviceHealth, HostState
from gpupool.placement import names

Traits = Mapping[str, frozenset[str]]


def rooms(session: Session, pool_id: str, traits: Traits) -> list[DeviceRoom]:
    """Return the room on every device of a pool; ``traits`` are those providers have, by device."""
    of_pool = {host.id: host for host in hosts.list_(session, {"pool_id": pool_id})}
    granted = vgpus.usage(session)
    return [
        _room(device, of_pool[device.host_id], traits, granted.get(device.id, Granted()))
        for device in devices.list_(session, {"host_id": list(of_pool)})
    ]


def _room(device: Device, host: Host, traits: Traits, granted: Granted) -> DeviceRoom:
    return DeviceRoom(
        device_id=device.id,
        host=host.name,
        host_up=host.state == HostState.UP,
        traits=names.device_traits(device) | traits.get(device.id, frozenset()),
        usable=device.enabled and device.health == DeviceHealth.OK,
        compute_total=COMPUTE_MAX,
        compute_free=max(COMPUTE_MAX - granted.compute, 0),
        memory_total=device.memory_mib,
        memory_free=max(device.memory_mib - granted.memory_mib, 0),
    )


def less(room: DeviceRoom, held: Iterable[Mapping[str, int]]) -> DeviceRoom:
    """Return ``room`` with no more left than what consumers ``held`` in Placement leaves."""
    holders = list(held)
    compute = room.compute_total - sum(each.get(names.COMPUTE, 0) for each in holders)
    memory = room.memory_total - sum(each.get(names.MEMORY_MIB, 0) for each in holders)
    return replace(
        room,
        compute_free=max(min(room.compute_free, compute), 0),
        memory_free=max(min(room.memory_free, memory), 0),
    )
