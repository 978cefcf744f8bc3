"""The devices' providers in Placement: written after the database, and what else was seen there."""

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import replace

from gpupool.conductor.isolation import isolated
from gpupool.conductor.rotation import Rotation
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.pool import OVERCOMMIT_NONE, Pool
from gpupool.placement import names
from gpupool.placement.provider import Provider
from gpupool.placement.provider_tree import ProviderTree, Wanted

Held = Mapping[str, Mapping[str, int]]
# The compute node's name and what the provider is to be.
Written = tuple[str, Wanted]


class Inventory:
    """Writes providers, and remembers what it wrote, so that a report without news costs no request.

    What another conductor or an operator changed is found by ``verify``, ``most`` providers a time.
    """

    def __init__(self, tree: ProviderTree, most: int) -> None:
        self._tree = tree
        self._turns, self._missing = Rotation(most), Rotation(most)
        self._pools: dict[str, Pool] = {}
        self._written: dict[str, Written] = {}
        # Generations of providers when they were as they should be; and a copy, see ``providers``.
        self._verified: dict[str, int] = {}
        self._expected: dict[str, int] = {}
        # How often each provider was written or read to be verified.
        self._writes: Counter[str] = Counter()
        self._traits: dict[str, frozenset[str]] = {}
        self._foreign: dict[str, Held] = {}
        # Held to write traits, what others hold, and news: reports, queue and reconciler have threads.
        self._lock = threading.Lock()
        self._news: set[str] = set()

    def traits(self, device: Device) -> frozenset[str]:
        """Return the traits of a device's provider, those too that an operator added there."""
        return names.device_traits(device) | self._traits.get(device.id, frozenset())

    def learn(self, required: Iterable[str], forbidden: Iterable[str]) -> None:
        """Ask Placement which devices have all ``required`` traits and none ``forbidden`` now.

        What others have or lack of these stays as it was seen last. Raises Unavailable.
        """
        wanted, unwanted = frozenset(required), frozenset(forbidden)
        having = self._tree.having(wanted, unwanted)
        with self._lock:
            for device_id in having:
                before = self._traits.get(device_id, frozenset())
                self._note_traits(device_id, (before | wanted) - unwanted)

    def _note_traits(self, device_id: str, traits: frozenset[str]) -> None:
        """Note the traits of a device; the caller holds the lock."""
        if self._traits.get(device_id) != traits:
            self._traits[device_id] = traits
            self._news.add(device_id)

    def foreign(self, device_id: str, resource_class: str) -> int:
        """Return how much of a device others hold, Nova for instance, as far as was seen."""
        return sum(each.get(resource_class, 0) for each in self._foreign.get(device_id, {}).values())

    def saw_foreign(self, device_id: str, held: Held) -> bool:
        """Note everything that others hold of a device: amounts by class by consumer.

        Return whether that is news.
        """
        with self._lock:
            if self._foreign.get(device_id, {}) == held:
                return False
            if held:
                self._foreign[device_id] = held
            else:
                self._foreign.pop(device_id)
            self._news.add(device_id)
            return True

    @contextmanager
    def news(self) -> Iterator[AbstractSet[str]]:
        """Yield the devices of which traits or what others hold have changed since the last time.

        They come again when an error leaves the block.
        """
        with self._lock:
            news, self._news = self._news, set()
        try:
            yield news
        except BaseException:
            with self._lock:
                self._news |= news
            raise

    def follow(self, host: Host, pool: Pool, devices: Iterable[Device]) -> None:
        """Write the providers of ``devices`` that are to be something else than what was written.

        Raises Unavailable; what was not written then is written by the next report or by ``verify``.
        """
        self._pools[pool.id] = pool
        self._write(host, [device for device in devices if self._is_news(host, device)])

    def differs(self, host: Host, devices: Iterable[Device]) -> bool:
        """Return whether ``follow`` would write one that this conductor has written before.

        Of others it does not know whether they are as they should be; ``verify`` does.
        """
        return any(self._differs(host, device) for device in devices)

    def _differs(self, host: Host, device: Device) -> bool:
        return device.id in self._written and self._is_news(host, device)

    def verify(
        self,
        known: Mapping[Host, Sequence[Device]],
        pools: Iterable[Pool],
        providers: Mapping[str, Provider],
    ) -> list[str]:
        """Write again what is missing, or was changed by others; return the hosts where that was needed.

        ``providers`` are all of ours, by device, read before this. Of those of ``known`` that are among
        them those are read that had no turn for longest, unless their generation says that nothing has
        changed. What this conductor has written and is gone is written again; of what else is missing no
        more than ``most``: many have just been reported, and are being followed. Raises Unavailable.
        """
        self._pools = {pool.id: pool for pool in pools}
        ids = {device.id for owned in known.values() for device in owned}
        turn = {
            *self._missing.choose(ids - providers.keys()),
            *self._turns.choose(ids & providers.keys()),
        }
        differed = []
        for host, owned in known.items():
            due = [
                each
                for each in owned
                if each.id in turn
                or self._differs(host, each)
                or (each.id in self._written and each.id not in providers)
            ]
            with isolated(f"providers of host {host.name} are not written now"):
                if due and self._write(host, due, providers):
                    differed.append(host.name)
        return differed

    def _is_news(self, host: Host, device: Device) -> bool:
        return self._written.get(device.id) != self._wanted(host, device)

    def _wanted(self, host: Host, device: Device) -> Written:
        lasting = replace(
            device,
            # Of a disabled host nothing is to be granted, to Nova neither.
            enabled=device.enabled and host.enabled,
            in_placement=False,
            created_at=None,
            updated_at=None,
        )
        pool = self._pools.get(host.pool_id)
        wanted = Wanted(
            host=host.name,
            pool_id=host.pool_id,
            device=lasting,
            compute_percent=pool.compute_overcommit if pool else OVERCOMMIT_NONE,
            memory_percent=_memory_percent(pool, device),
        )
        return _compute_node(host), wanted

    def _write(
        self, host: Host, devices: Collection[Device], seen: Mapping[str, Provider] | None = None
    ) -> bool:
        """Return whether a provider differed; ``seen`` are providers as they are now, by id."""
        changed = False
        node = self._tree.compute_node(_compute_node(host)) if devices else None
        for device in devices:
            wanted = self._wanted(host, device)
            provider = (seen or {}).get(device.id)
            if self._is_as_verified(provider, wanted, node):
                continue
            # What was so is not known any more, however this ends.
            with self._lock:
                self._verified.pop(device.id, None)
            with isolated(f"device {device.key} of host {host.name}"):
                written = self._tree.ensure_device(wanted[1], node, provider)
                with self._lock:
                    self._writes[device.id] += 1
                    self._verified[device.id] = written.generation
                    self._note_traits(device.id, written.traits)
                changed |= written.changed
            # One that Placement refused is not asked for again until it is another.
            self._written[device.id] = wanted
        return changed

    def _is_as_verified(self, seen: Provider | None, wanted: Written, node: str | None) -> bool:
        """Return whether a provider is what it was when it was as it is to be."""
        if seen is None or self._written.get(seen.id) != wanted or seen.name != wanted[1].name():
            return False
        # Neither name nor parent are under the generation.
        return node in (None, seen.parent_id) and self._expected.get(seen.id) == seen.generation

    @contextmanager
    def granting(self, device_ids: Collection[str]) -> Iterator[None]:
        """Expect providers' generations to grow by one: in the block one request writes allocations.

        Placement has them grow so. Where it did not, or something else was changed meanwhile too, the
        generations differ, and ``verify`` reads the provider.
        """
        with self._lock:
            before = {each: self._verified.pop(each) for each in device_ids if each in self._verified}
        yield
        with self._lock:
            for device_id, generation in before.items():
                # Unless it was read meanwhile: who knows whether before or after the request.
                self._verified.setdefault(device_id, generation + 1)

    def providers(self) -> dict[str, Provider]:
        """Return all providers of ours, by the id of their device; raises Unavailable.

        ``verify`` compares these with what is known of their generations before they are read.
        """
        with self._lock:
            self._expected = dict(self._verified)
        return self._tree.devices()

    def verified(self, device_ids: Iterable[str]) -> set[str]:
        """Return those of the devices whose providers this conductor knows to be as they are to be."""
        with self._lock:
            return self._verified.keys() & set(device_ids)

    def writes(self, device_id: str) -> int:
        """Return how often this conductor has made sure that a device's provider is as it is to be."""
        return self._writes[device_id]

    def provided(self) -> set[str]:
        """Return the ids of all devices that have a provider."""
        return set(self.providers())

    def remove(self, device_id: str) -> None:
        """Delete a device's provider; Conflict while there are allocations on it."""
        self._tree.remove_device(device_id)
        self._written.pop(device_id, None)
        self._verified.pop(device_id, None)
        with self._lock:
            self._writes.pop(device_id, None)
            self._traits.pop(device_id, None)
            self._foreign.pop(device_id, None)


def _compute_node(host: Host) -> str:
    return host.compute_node or host.name


def _memory_percent(pool: Pool | None, device: Device) -> int:
    return pool.memory_overcommit if pool and device.extends_memory else OVERCOMMIT_NONE
