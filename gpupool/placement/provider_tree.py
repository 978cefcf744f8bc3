"""The provider tree: one resource provider a device, below its host's compute node if there is one."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gpupool.model import errors
from gpupool.model.claim import COMPUTE_MAX
from gpupool.model.device import Device
from gpupool.model.states import DeviceHealth
from gpupool.placement import names
from gpupool.placement.client import PlacementClient
from gpupool.placement.errors import ConcurrentUpdate
from gpupool.placement.provider import Inventory, Provider

_ATTEMPTS = 4
# Traits that one request names, of up to 255 characters each: uWSGI takes 4 KiB unless told otherwise.
_TRAITS_AT_ONCE = 14
# A ratio is a whole number of these parts.
_RATIO_STEPS = 10_000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the provider of ``device`` is to be: of which host, in which pool, how far overcommitted.

    The percentages are how much of its compute and memory may be granted, 100 for all there is.
    """

    host: str
    pool_id: str
    device: Device
    compute_percent: int = 100
    memory_percent: int = 100

    def name(self) -> str:
        """Return the provider's name."""
        return names.provider_name(self.host, self.device.key)

    def traits(self) -> frozenset[str]:
        """Return the traits of ours."""
        return names.device_traits(self.device) | {names.pool_trait(self.pool_id)}

    def inventories(self) -> dict[str, Inventory]:
        """Return what the device offers; all of it is reserved while it may take no new vGPU."""
        device = self.device
        usable = device.enabled and device.health == DeviceHealth.OK
        return {
            names.COMPUTE: _inventory(COMPUTE_MAX, 0, usable, self.compute_percent),
            names.MEMORY_MIB: _inventory(
                device.memory_mib, device.reserved_mib, usable, self.memory_percent
            ),
        }


@dataclass(frozen=True, kw_only=True)
class DeviceProvider:
    """A device as Placement has it now.

    ``traits`` are all it has, an operator's own among them; ``changed`` if a write was needed. As long
    as the provider has this ``generation``, nothing of it has changed.
    """

    traits: frozenset[str]
    changed: bool
    generation: int


@dataclass(frozen=True, kw_only=True)
class _Before:
    """What a provider has, all under one generation."""

    inventories: Mapping[str, Inventory] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()
    generation: int


class ProviderTree:
    """Keeps the providers of devices as they should be; errors as PlacementClient's."""

    def __init__(self, client: PlacementClient) -> None:
        self._client = client
        # Traits and resource classes that Placement was told; they are for all providers.
        self._told: set[str] = set()

    def compute_node(self, hypervisor_hostname: str) -> str | None:
        """Return the id of the compute node provider of that name, if there is one."""
        found = self._client.find_provider(hypervisor_hostname)
        return found.id if found else None

    def ensure_device(
        self, wanted: Wanted, compute_node: str | None, seen: Provider | None = None
    ) -> DeviceProvider:
        """Make provider, inventory, aggregate and traits what they should be.

        ``compute_node`` is the id of the provider to be below, if there is one; ``seen`` is the device's
        own, as it was a moment ago. Reads first and writes
        only what differs; what others added stays. Invalid when the device reports a trait that no
        provider of ours may have or Placement does not know.
        """
        _check_traits(wanted.device)
        for attempt in range(1, _ATTEMPTS + 1):
            trusting = bool(self._told)
            try:
                return self._ensure(wanted, compute_node, seen)
            except (ConcurrentUpdate, errors.NotFound):
                # Somebody changed or deleted the provider meanwhile.
                seen = None
                if attempt == _ATTEMPTS:
                    raise
            except errors.Invalid:
                # Perhaps it is another Placement now, which was told nothing.
                if not trusting or attempt == _ATTEMPTS:
                    raise
                self._told.clear()
        raise AssertionError("unreachable")

    def remove_device(self, device_id: str) -> None:
        """Delete a device's provider; nothing happens without one, Conflict while it is in use."""
        try:
            self._client.delete_provider(device_id)
        except errors.NotFound:
            return
        except errors.Conflict as exc:
            raise errors.Conflict(f"device {device_id} still has allocations in Placement") from exc

    def having(self, required: Iterable[str], forbidden: Iterable[str]) -> set[str]:
        """Return the ids of the devices that have all ``required`` traits and none ``forbidden``."""
        terms = [*((trait, True) for trait in required), *((trait, False) for trait in forbidden)]
        if (names.MARK, False) in terms:
            return set()
        found: set[str] | None = None
        # One request for most claims: only with many long names the address would be too long.
        for start in range(0, len(terms), _TRAITS_AT_ONCE):
            part = terms[start : start + _TRAITS_AT_ONCE]
            wanted = [names.MARK, *(trait for trait, has in part if has)]
            having = self._client.providers_with(wanted, [trait for trait, has in part if not has])
            ids = {provider.id for provider in having}
            found = ids if found is None else found & ids
            if not found:
                break
        return found or set()

    def devices(self) -> dict[str, Provider]:
        """Return every provider of ours by its id, which is the device's."""
        return {provider.id: provider for provider in self._client.providers_with([names.MARK])}

    def _ensure(self, wanted: Wanted, compute_node: str | None, seen: Provider | None) -> DeviceProvider:
        device_id = wanted.device.id
        before, made = self._ensure_provider(wanted, compute_node, seen)
        inventories = {**before.inventories, **wanted.inventories()}
        # The traits say which pool the provider was in: its aggregate goes before they do.
        left = {pool for pool in map(names.pool_of, before.traits) if pool}
        aggregates = (before.aggregates - left) | {wanted.pool_id}
        traits = wanted.traits() | _foreign(before.traits)
        generation = before.generation
        if inventories != before.inventories:
            self._tell(self._client.create_resource_class, names.RESOURCE_CLASSES)
            generation = self._client.set_inventories(device_id, inventories, generation)
        if aggregates != before.aggregates:
            generation = self._client.set_aggregates(device_id, aggregates, generation)
        if traits != before.traits:
            new = (trait for trait in traits - before.traits if trait.startswith("CUSTOM_"))
            self._tell(self._client.create_trait, new)
            generation = self._client.set_provider_traits(device_id, traits, generation)
        changed = made or generation != before.generation
        return DeviceProvider(traits=traits, changed=changed, generation=generation)

    def _ensure_provider(
        self, wanted: Wanted, compute_node: str | None, seen: Provider | None
    ) -> tuple[_Before, bool]:
        """Make the provider, or move it below the compute node that has appeared since.

        Return what it has, and whether that was needed.
        """
        device_id, name = wanted.device.id, wanted.name()
        provider = seen or self._client.get_provider(device_id)
        if provider is None:
            made = self._create_provider(device_id, name, compute_node)
            return _Before(generation=made.generation), True
        parent_id = compute_node or provider.parent_id
        if (provider.name, provider.parent_id) == (name, parent_id):
            return self._read(device_id), False
        self._client.update_provider(device_id, name, parent_id)
        return self._read(device_id), True

    def _read(self, device_id: str) -> _Before:
        inventories, generation = self._client.inventories(device_id)
        traits, second = self._client.provider_traits(device_id)
        aggregates, third = self._client.aggregates(device_id)
        if not generation == second == third:
            raise ConcurrentUpdate(f"provider {device_id} changed while it was read")
        return _Before(
            inventories=inventories, traits=traits, aggregates=aggregates, generation=generation
        )

    def _create_provider(self, provider_id: str, name: str, parent_id: str | None) -> Provider:
        try:
            return self._client.create_provider(provider_id, name, parent_id)
        except errors.Conflict:
            made = self._client.get_provider(provider_id)
            if made is None or made.name != name:
                raise
            raise ConcurrentUpdate(f"{name} was made meanwhile") from None

    def _tell(self, create: Callable[[str], None], new: Iterable[str]) -> None:
        """Make names known to Placement that it was not told before."""
        for name in sorted(set(new) - self._told):
            create(name)
            self._told.add(name)


def _check_traits(device: Device) -> None:
    forbidden = names.FORBIDDEN.intersection(device.traits)
    if forbidden:
        raise errors.Invalid(
            f"device {device.key} reports {', '.join(sorted(forbidden))}, which only Nova may set"
        )


def _foreign(traits: Iterable[str]) -> frozenset[str]:
    """Return those of ``traits`` that are not ours."""
    return frozenset(trait for trait in traits if not trait.startswith(names.PREFIX))


def _inventory(grantable: int, reserved: int, usable: bool, percent: int) -> Inventory:
    # Placement knows no total of 0, which a failed device may report.
    total = max(grantable + reserved, 1)
    usable = usable and grantable > 0
    return Inventory(
        total=total,
        reserved=reserved if usable else total,
        max_unit=max(grantable, 1),
        allocation_ratio=_ratio(max(grantable, 1), percent),
    )


def _ratio(grantable: int, percent: int) -> float:
    """Return the ratio by which ``percent`` of ``grantable`` can be allocated, in whole units.

    Placement keeps it as a single-precision number and multiplies: half a unit and few digits keep the
    last unit from being lost to rounding.
    """
    if percent == 100:
        return 1.0
    return math.ceil((grantable * percent // 100 + 0.5) / grantable * _RATIO_STEPS) / _RATIO_STEPS
