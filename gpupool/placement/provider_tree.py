"""The provider tree: one resource provider a device, below its host's compute node if there is one."""

from collections.abc import Iterable
from dataclasses import dataclass

from gpupool.model import errors
from gpupool.model.claim import COMPUTE_MAX
from gpupool.model.device import Device
from gpupool.model.states import DeviceHealth
from gpupool.placement import names
from gpupool.placement.client import PlacementClient
from gpupool.placement.errors import ConcurrentUpdate
from gpupool.placement.provider import Inventory, Provider

_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class DeviceProvider:
    """A device as Placement has it now.

    ``traits`` are all it has, an operator's own among them; ``changed`` if a write was needed.
    """

    traits: frozenset[str]
    changed: bool


class ProviderTree:
    """Keeps the providers of devices as they should be; errors as PlacementClient's."""

    def __init__(self, client: PlacementClient) -> None:
        self._client = client

    def ensure_device(
        self, host: str, hypervisor_hostname: str, pool_id: str, device: Device
    ) -> DeviceProvider:
        """Make provider, inventory, aggregate and traits of ``device`` what they should be.

        Reads first and writes only what differs; what others added stays. Invalid when the device
        reports a trait that no provider of ours may have or Placement does not know.
        """
        _check_traits(device)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._ensure(host, hypervisor_hostname, pool_id, device)
            except (ConcurrentUpdate, errors.NotFound):
                # Somebody changed or deleted the provider meanwhile.
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def remove_device(self, device_id: str) -> None:
        """Delete a device's provider; nothing happens without one, Conflict while it is in use."""
        try:
            self._client.delete_provider(device_id)
        except errors.NotFound:
            return
        except errors.Conflict as exc:
            raise errors.Conflict(f"device {device_id} still has allocations in Placement") from exc

    def having(self, trait: str) -> set[str]:
        """Return the ids of the devices whose providers have ``trait``."""
        having = {provider.id for provider in self._client.providers_with(trait)}
        return having & set(self.devices())

    def devices(self) -> dict[str, Provider]:
        """Return every provider of ours by its id, which is the device's."""
        return {provider.id: provider for provider in self._client.providers_with(names.MARK)}

    def _ensure(
        self, host: str, hypervisor_hostname: str, pool_id: str, device: Device
    ) -> DeviceProvider:
        changed = self._ensure_provider(host, hypervisor_hostname, device)
        changed |= self._ensure_inventory(device)
        had, generation = self._client.provider_traits(device.id)
        # The traits say which pool the provider was in: its aggregate goes before they do.
        if self._ensure_aggregate(device.id, pool_id, had):
            changed = True
            had, generation = self._client.provider_traits(device.id)
        traits = _foreign(had) | names.device_traits(device) | {names.pool_trait(pool_id)}
        if traits != had:
            self._create_traits(traits - had)
            self._client.set_provider_traits(device.id, traits, generation)
            changed = True
        return DeviceProvider(traits=traits, changed=changed)

    def _ensure_provider(self, host: str, hypervisor_hostname: str, device: Device) -> bool:
        """Make the provider, or move it below the compute node that has appeared since.

        Return whether that was needed.
        """
        name = names.provider_name(host, device.key)
        compute_node = self._client.find_provider(hypervisor_hostname)
        provider = self._client.get_provider(device.id)
        found_id = compute_node.id if compute_node else None
        if provider is None:
            self._create_provider(device.id, name, found_id)
            return True
        parent_id = found_id or provider.parent_id
        if (provider.name, provider.parent_id) == (name, parent_id):
            return False
        self._client.update_provider(device.id, name, parent_id)
        return True

    def _create_provider(self, provider_id: str, name: str, parent_id: str | None) -> None:
        try:
            self._client.create_provider(provider_id, name, parent_id)
        except errors.Conflict:
            made = self._client.get_provider(provider_id)
            if made is None or made.name != name:
                raise
            raise ConcurrentUpdate(f"{name} was made meanwhile") from None

    def _ensure_inventory(self, device: Device) -> bool:
        """Write our resource classes; other classes of the provider stay."""
        had, generation = self._client.inventories(device.id)
        wanted = {**had, **_inventories(device)}
        if wanted == had:
            return False
        for name in names.RESOURCE_CLASSES:
            self._client.create_resource_class(name)
        self._client.set_inventories(device.id, wanted, generation)
        return True

    def _ensure_aggregate(self, device_id: str, pool_id: str, traits: Iterable[str]) -> bool:
        """Put the provider into its pool's aggregate, and out of the pool's it was in."""
        had, generation = self._client.aggregates(device_id)
        left = {pool for pool in map(names.pool_of, traits) if pool}
        wanted = (had - left) | {pool_id}
        if wanted == had:
            return False
        self._client.set_aggregates(device_id, wanted, generation)
        return True

    def _create_traits(self, traits: Iterable[str]) -> None:
        for trait in sorted(traits):
            if trait.startswith("CUSTOM_"):
                self._client.create_trait(trait)


def _check_traits(device: Device) -> None:
    forbidden = names.FORBIDDEN.intersection(device.traits)
    if forbidden:
        raise errors.Invalid(
            f"device {device.key} reports {', '.join(sorted(forbidden))}, which only Nova may set"
        )


def _foreign(traits: Iterable[str]) -> frozenset[str]:
    """Return those of ``traits`` that are not ours."""
    return frozenset(trait for trait in traits if not trait.startswith(names.PREFIX))


def _inventories(device: Device) -> dict[str, Inventory]:
    """Return what the device offers; all of it is reserved while it may take no new vGPU."""
    usable = device.enabled and device.health == DeviceHealth.OK
    return {
        names.COMPUTE: _inventory(COMPUTE_MAX, 0, usable),
        names.MEMORY_MIB: _inventory(device.memory_mib, device.reserved_mib, usable),
    }


def _inventory(grantable: int, reserved: int, usable: bool) -> Inventory:
    # Placement knows no total of 0, which a failed device may report.
    total = max(grantable + reserved, 1)
    usable = usable and grantable > 0
    return Inventory(total=total, reserved=reserved if usable else total, max_unit=max(grantable, 1))
