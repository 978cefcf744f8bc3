"""The devices' providers in Placement: written after the database, and what else was seen there."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gpupool.conductor.isolation import isolated
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.placement import names
from gpupool.placement.provider_tree import ProviderTree

Held = Mapping[str, Mapping[str, int]]
# Pool id, compute node, device without its times.
Wanted = tuple[str, str, Device]


class Inventory:
    """Writes providers, and remembers what it wrote, so that a report without news costs no request.

    What another conductor or an operator changed is found by the reconciler, which writes again.
    """

    def __init__(self, tree: ProviderTree) -> None:
        self._tree = tree
        self._hypervisors: dict[str, str] = {}
        self._written: dict[str, Wanted] = {}
        self._traits: dict[str, frozenset[str]] = {}
        self._foreign: dict[str, Held] = {}

    def traits(self, device: Device) -> frozenset[str]:
        """Return the traits of a device's provider, those too that an operator added there."""
        return names.device_traits(device) | self._traits.get(device.id, frozenset())

    def learn(self, traits: Iterable[str]) -> None:
        """Ask Placement which devices have ``traits`` now; raises Unavailable."""
        for trait in traits:
            having = self._tree.having(trait)
            for device_id in having | set(self._traits):
                others = self._traits.get(device_id, frozenset()) - {trait}
                self._traits[device_id] = others | {trait} if device_id in having else others

    def foreign(self, device_id: str, resource_class: str) -> int:
        """Return how much of a device others hold, Nova for instance, as far as was seen."""
        return sum(each.get(resource_class, 0) for each in self._foreign.get(device_id, {}).values())

    def saw_foreign(self, device_id: str, held: Held) -> None:
        """Note everything that others hold of a device: amounts by class by consumer."""
        self._foreign[device_id] = held

    def heard(self, host: Host, hypervisor_hostname: str) -> None:
        """Note the name of the compute node that the providers of ``host`` belong below."""
        self._hypervisors[host.id] = hypervisor_hostname

    def follow(self, host: Host, devices: Iterable[Device], again: bool = False) -> bool:
        """Write the providers of ``devices`` that changed, or all ``again``.

        Return whether one differed in Placement. Raises Unavailable; what was not written then is
        written by the next report or by the reconciler.
        """
        changed = False
        for device in devices:
            wanted = self._wanted(host, device)
            if again or self._written.get(device.id) != wanted:
                with isolated(f"device {device.key} of host {host.name}"):
                    changed |= self._write(host, device)
                # One that Placement refused is not asked for again until it is another.
                self._written[device.id] = wanted
        return changed

    def differs(self, host: Host, devices: Iterable[Device]) -> bool:
        """Return whether ``follow`` would have something to write."""
        return any(self._written.get(device.id) != self._wanted(host, device) for device in devices)

    def _wanted(self, host: Host, device: Device) -> Wanted:
        lasting = replace(device, created_at=None, updated_at=None)
        return host.pool_id, self._hypervisor(host), lasting

    def _hypervisor(self, host: Host) -> str:
        return self._hypervisors.get(host.id, host.name)

    def _write(self, host: Host, device: Device) -> bool:
        written = self._tree.ensure_device(host.name, self._hypervisor(host), host.pool_id, device)
        self._traits[device.id] = written.traits
        return written.changed

    def provided(self) -> set[str]:
        """Return the ids of all devices that have a provider."""
        return set(self._tree.devices())

    def remove(self, device_id: str) -> None:
        """Delete a device's provider; Conflict while there are allocations on it."""
        self._tree.remove_device(device_id)
        self._written.pop(device_id, None)
        self._traits.pop(device_id, None)
