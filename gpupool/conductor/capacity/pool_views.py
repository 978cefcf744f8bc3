"""The allocator's views of all pools, kept in memory and read again where revisions say so."""

import threading
from collections.abc import Set as AbstractSet

from oslo_config import cfg
from sqlalchemy.orm import Session

from gpupool.allocator.capacities import HostCapacity
from gpupool.allocator.view import PoolView
from gpupool.conductor.capacity import holds, snapshot
from gpupool.conductor.providers.inventory import Inventory
from gpupool.db import devices, hosts, pools, times
from gpupool.db.api import Database

# What a pool may grant beyond its devices, percent of compute and memory: with others another view is
# needed.
_PoolKey = tuple[int, int]
_HostKey = tuple[int, str, bool]


class Views:
    """One conductor's views, by pool. ``lock`` is held by whoever looks at one or changes it."""

    def __init__(self, database: Database, inventory: Inventory, conf: cfg.ConfigOpts) -> None:
        self._database, self._inventory, self._conf = database, inventory, conf
        self.lock = threading.RLock()
        self._views: dict[str, PoolView] = {}
        self._keys: dict[str, _PoolKey] = {}
        # By host: its revision and pool when it was read, and whether it was held.
        self._known: dict[str, _HostKey] = {}
        # Hosts of views whose rows may be wrong: plans were taken that were not committed.
        self._invalid: set[str] = set()

    def of(self, pool_id: str) -> PoolView:
        """Return the view of a pool as it was read last; empty for one that is not known."""
        with self.lock:
            if pool_id not in self._views:
                self.refresh()
            return self._views.get(pool_id) or PoolView([])

    def forget(self, pool_id: str) -> None:
        """Forget the view of a pool, so that the next ``refresh`` makes it anew."""
        with self.lock:
            self._views.pop(pool_id, None)

    def invalidate(self, host_names: set[str]) -> None:
        """Mark hosts to be read again by the next ``refresh``, whatever their revision."""
        with self.lock:
            self._invalid |= host_names

    def refresh(self) -> None:
        """Read again what has changed since the last time."""
        with self.lock, self._database.reader() as session, self._inventory.news() as news:
            keys = {
                pool.id: (pool.compute_overcommit, pool.memory_overcommit)
                for pool in pools.list_(session)
            }
            time = times.now(session)
            now = {
                host_id: (revision, pool, holds.is_held(until, time))
                for host_id, (revision, pool, until) in hosts.revisions_by_pool(session).items()
            }
            for pool_id in [each for each in self._views if each not in keys]:
                del self._views[pool_id]
            stale = self._stale(session, now, news)
            for pool_id, key in keys.items():
                ids = {host_id for host_id, (_, pool, _) in now.items() if pool == pool_id}
                if self._keys.get(pool_id) != key or not self._renew(session, pool_id, ids & stale, ids):
                    found = snapshot.capacities(session, pool_id, self._inventory, self._conf)
                    self._views[pool_id] = PoolView(found)
            self._keys, self._known, self._invalid = keys, now, set()

    def _stale(self, session: Session, now: dict[str, _HostKey], news: AbstractSet[str]) -> set[str]:
        """Return the hosts to read again; ``news`` are devices."""
        stale = {host_id for host_id, key in now.items() if self._known.get(host_id) != key}
        if news:
            stale |= {device.host_id for device in devices.list_(session, {"id": news})}
        if self._invalid:
            named = hosts.list_(session, {"name": self._invalid})
            stale |= {host.id for host in named}
        return stale

    def _renew(self, session: Session, pool_id: str, stale: set[str], ids: set[str]) -> bool:
        """Write hosts into the view there is; return whether that was possible."""
        view = self._views.get(pool_id)
        if view is None or len(view.hosts) != len(ids):
            return False
        if not stale:
            return True
        try:
            for each in self._read(session, pool_id, stale):
                view.put(each)
        except KeyError:
            # Another host, or other devices.
            return False
        return True

    def _read(self, session: Session, pool_id: str, host_ids: set[str]) -> list[HostCapacity]:
        return snapshot.capacities(session, pool_id, self._inventory, self._conf, host_ids)
