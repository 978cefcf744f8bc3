"""Repairs of providers in Placement: each device has one, and nothing else has."""

import logging
from collections.abc import Mapping

from gpupool.conductor.isolation import isolated
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import devices, hosts, pools
from gpupool.model.device import Device

LOG = logging.getLogger(__name__)


class ProviderRepairs:
    """Compares providers with the devices in the database."""

    def __init__(self, transactions: Transactions, inventory: Inventory) -> None:
        self._transactions, self._inventory = transactions, inventory

    def compare(self) -> None:
        """Remove providers of unknown devices; write what is missing or was changed by hand."""
        # In this order: a device's row is written before its provider.
        providers = self._inventory.providers()
        with self._transactions.reader() as session:
            owned: dict[str, list[Device]] = {}
            for device in devices.list_(session):
                owned.setdefault(device.host_id, []).append(device)
            known = {host: owned.get(host.id, []) for host in hosts.list_(session)}
            of_all = pools.list_(session)
        for device_id in providers.keys() - {device.id for each in known.values() for device in each}:
            with isolated(f"provider {device_id} belongs to no device"):
                self._inventory.remove(device_id)
                LOG.warning("provider %s belonged to no device: removed", device_id)
        for name in self._inventory.verify(known, of_all, providers):
            LOG.info("providers of host %s differed: written again", name)
        self._note_in_placement([device for each in known.values() for device in each], providers)

    def _note_in_placement(self, known: list[Device], providers: Mapping[str, object]) -> None:
        """Write of which devices Placement has the provider, where the database says otherwise."""
        there = providers.keys() | self._inventory.verified(device.id for device in known)
        for wanted in (True, False):
            wrong = [
                device.id
                for device in known
                if device.in_placement != wanted and (device.id in there) == wanted
            ]
            if wrong:
                self._transactions.commit(_write_in_placement, wrong, wanted)


def _write_in_placement(transaction: Transaction, device_ids: list[str], there: bool) -> None:
    devices.note_in_placement(transaction.session, device_ids, there)
