"""Re-checks capacity under the locks of hosts' rows: planners may have used a stale view.

Placement knows one number for guaranteed and best-effort claims together, and nothing of programs. So it
is here that guaranteed claims never get more than there is of a device, nor programs of a host.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from gpupool.allocator import filters, geometry
from gpupool.allocator.demand import Demand
from gpupool.allocator.plan import Plan
from gpupool.allocator.view import PoolView
from gpupool.conductor.capacity import snapshot
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.transaction import Transaction
from gpupool.model.claim import Claim
from gpupool.model.host import Host
from gpupool.model.share import Share


class Capacity:
    """The capacity of hosts that the transaction holds; claims take of it one after the other."""

    def __init__(self, transaction: Transaction, inventory: Inventory, held: Mapping[str, Host]) -> None:
        self._transaction, self._inventory, self._held = transaction, inventory, held
        self._views: dict[str, PoolView] = {}

    def take(self, claim: Claim, shares: Sequence[Share], host: str | None) -> bool:
        """Take a claim's shares, and of ``host`` (None: nothing) what its program takes, or nothing."""
        view, demand = self._view(claim.pool_id), Demand.of(claim)
        if not view.device_index.keys() >= {share.device_id for share in shares}:
            return False
        places = [view.device_index[share.device_id] for share in shares]
        slots = filters.slots(view, demand)
        if any(slots[place] < times for place, times in Counter(places).items()):
            return False
        if host is not None and not self._has_program(view, demand, host):
            return False
        if not geometry.are_free(view, demand, shares):
            return False
        view.take(demand, Plan(host=host, shares=tuple(shares)))
        return True

    @staticmethod
    def _has_program(view: PoolView, demand: Demand, host: str) -> bool:
        return host in view.host_index and bool(filters.programs(view, demand)[view.host_index[host]])

    def _view(self, pool_id: str) -> PoolView:
        if pool_id not in self._views:
            session, conf = self._transaction.session, self._transaction.conf
            found = snapshot.capacities(session, pool_id, self._inventory, conf, list(self._held))
            self._views[pool_id] = PoolView(found)
        return self._views[pool_id]
