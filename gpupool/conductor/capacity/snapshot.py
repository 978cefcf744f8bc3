"""A snapshot of the capacity of a pool's hosts and devices, from the database."""

from collections.abc import Collection, Mapping

from oslo_config import cfg
from sqlalchemy.orm import Session

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.conductor.capacity import holds
from gpupool.conductor.providers.inventory import Inventory
from gpupool.db import claims, devices, hosts, pools, times, vgpus
from gpupool.db.claims import Program
from gpupool.db.vgpus import Granted
from gpupool.model.claim import COMPUTE_MAX
from gpupool.model.device import Device, SharingMode
from gpupool.model.host import Host
from gpupool.model.pool import OVERCOMMIT_NONE, Pool
from gpupool.model.share import Part
from gpupool.model.states import DeviceHealth, HostState
from gpupool.placement import names


def capacities(
    session: Session,
    pool_id: str,
    inventory: Inventory,
    conf: cfg.ConfigOpts,
    host_ids: Collection[str] | None = None,
) -> list[HostCapacity]:
    """Return the capacity of every host of a pool, or of those of ``host_ids`` that are in it."""
    filters: dict[str, object] = {"pool_id": pool_id}
    if host_ids is not None:
        filters["id"] = list(host_ids)
    pool = pools.get(session, pool_id)
    of_pool = hosts.list_(session, filters)
    ids = [host.id for host in of_pool]
    owned: dict[str, list[Device]] = {}
    for device in devices.list_(session, {"host_id": ids}):
        owned.setdefault(device.host_id, []).append(device)
    granted, programs = vgpus.usage(session, host_id=ids), claims.programs(session, ids)
    cut = [each.id for of in owned.values() for each in of if each.sharing_mode != SharingMode.SHARED]
    used = vgpus.parts(session, cut) if cut else {}
    found = []
    for host in of_pool:
        rows = tuple(_device(each, pool, inventory, granted, used) for each in owned.get(host.id, []))
        closed = holds.closed(host, times.now(session))
        found.append(_host(host, closed, rows, programs.get(host.id, Program()), conf))
    return found


def for_programs(host: Host, has_devices: bool, conf: cfg.ConfigOpts) -> tuple[int, int]:
    """Return what programs may claim of a host: thousandths of a core, and MiB of its memory."""
    kept_cpu = conf.allocator.reserved_cpu_milli if has_devices else 0
    kept_memory = conf.allocator.reserved_memory_mib if has_devices else 0
    return max(host.cpu_milli - kept_cpu, 0), max(host.memory_mib - kept_memory, 0)


def _host(
    host: Host, closed: str, owned: tuple[DeviceCapacity, ...], taken: Program, conf: cfg.ConfigOpts
) -> HostCapacity:
    cpu, memory = for_programs(host, bool(owned), conf)
    return HostCapacity(
        name=host.name,
        up=host.state == HostState.UP,
        closed=closed,
        cpu_total=cpu,
        cpu_free=max(cpu - taken.cpu_milli, 0),
        memory_total=memory,
        memory_free=max(memory - taken.memory_mib, 0),
        devices=owned,
    )


def _device(
    device: Device,
    pool: Pool,
    inventory: Inventory,
    granted: Mapping[str, Granted],
    parts: Mapping[str, frozenset[Part]],
) -> DeviceCapacity:
    # What others hold of a device is as good as guaranteed to them.
    compute = inventory.foreign(device.id, names.COMPUTE)
    memory_mib = inventory.foreign(device.id, names.MEMORY_MIB)
    ours = granted.get(device.id, Granted())
    extended = pool.memory_overcommit if device.extends_memory else OVERCOMMIT_NONE
    return DeviceCapacity(
        device_id=device.id,
        usable=device.enabled and device.health == DeviceHealth.OK,
        traits=inventory.traits(device),
        product=device.product,
        link_group=device.link_group,
        sharing_mode=device.sharing_mode,
        compute_total=COMPUTE_MAX,
        compute_limit=COMPUTE_MAX * pool.compute_overcommit // OVERCOMMIT_NONE,
        compute_granted=ours.compute + compute,
        compute_guaranteed=ours.compute_guaranteed + compute,
        memory_total=device.memory_mib,
        memory_limit=device.memory_mib * extended // OVERCOMMIT_NONE,
        memory_granted=ours.memory_mib + memory_mib,
        memory_guaranteed=ours.memory_mib_guaranteed + memory_mib,
        parts=parts.get(device.id, frozenset()),
    )
