"""Names in Placement: resource classes, consumer type, providers, traits."""

import uuid

from gpupool.model import traits
from gpupool.model.device import Device

COMPUTE = "CUSTOM_GPUPOOL_COMPUTE"
MEMORY_MIB = "CUSTOM_GPUPOOL_MEMORY_MIB"
RESOURCE_CLASSES = (COMPUTE, MEMORY_MIB)
CONSUMER_TYPE = "GPUPOOL_VGPU"
# A move of a vGPU, while it holds the share that the vGPU leaves.
MOVE_TYPE = "GPUPOOL_MOVE"
OWN_TYPES = frozenset({CONSUMER_TYPE, MOVE_TYPE})

PREFIX = traits.PREFIX
# Every provider of ours has it, so that ours can be listed.
MARK = PREFIX + "DEVICE"
SIMULATED = PREFIX + "SIMULATED"
_POOL = PREFIX + "POOL_"
# With these Nova would take a provider for its own, and may delete it.
FORBIDDEN = frozenset({"OWNER_NOVA", "COMPUTE_MANAGED_PCI_DEVICE"})


def provider_name(host: str, key: str) -> str:
    """Return the provider's name of the device that ``host`` calls ``key``.

    Not ``<root>_...``: Nova names the providers of its own PCI devices so.
    """
    return f"gpupool:{host}:{key}"


def pool_trait(pool_id: str) -> str:
    """Return the trait by which a provider tells which of its aggregates is its pool."""
    return _POOL + pool_id.upper().replace("-", "_")


def pool_of(trait: str) -> str | None:
    """Return the pool id that ``trait`` names, or None if it is no pool's trait."""
    if not trait.startswith(_POOL):
        return None
    try:
        return str(uuid.UUID(trait.removeprefix(_POOL).replace("_", "")))
    except ValueError:
        return None


def device_traits(device: Device) -> frozenset[str]:
    """Return the traits that ``device`` has by what it is and reports, without its pool's."""
    own = {
        MARK,
        *traits.common(device.vendor, device.product, device.sharing_mode),
        traits.trait("health", device.health),
    }
    if device.simulated:
        own.add(SIMULATED)
    return frozenset(own | set(device.traits))
