"""Does in Placement what reports and operators left to be done.

It is done in a thread of its own: Placement may be slow or gone, and reports must be answered then too.
What is lost with a conductor the reconciler finds.
"""

from collections.abc import Callable, Collection, Sequence

from gpupool.conductor.dependencies import Dependencies
from gpupool.conductor.isolation import isolated
from gpupool.conductor.leader_notifier import LeaderNotifier
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.providers.outbox import Outbox
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import devices, hosts, pools
from gpupool.model import errors
from gpupool.model.vgpu import Vgpu


class Flush:
    """Empties the outbox. ``drop`` gives back what vGPUs held that left their host, and forgets them.

    ``end_moves`` gives back what vGPUs had that are on another device by now.
    """

    def __init__(
        self,
        *,
        transactions: Transactions,
        dependencies: Dependencies,
        inventory: Inventory,
        outbox: Outbox,
        notifier: LeaderNotifier,
        drop: Callable[[Sequence[Vgpu]], None],
        end_moves: Callable[[], None],
    ) -> None:
        self._transactions, self._dependencies = transactions, dependencies
        self._inventory, self._outbox, self._notifier = inventory, outbox, notifier
        self._drop, self._end_moves = drop, end_moves

    def flush(self, under_way: Callable[[], Collection[str]]) -> None:
        """Do what was noted, giving back first; what Placement does not take now stays noted.

        So does what is of claims that are ``under_way`` to Placement, as it would be written there after
        it was given back.
        """
        if not self._dependencies.answer():
            return
        host_ids, noted = self._outbox.take()
        # After that: what was noted of a claim that is begun later was not of that begin.
        going = under_way()
        gone = [vgpu for vgpu in noted if vgpu.claim_id not in going]
        self._outbox.add([], (vgpu for vgpu in noted if vgpu.claim_id in going))
        try:
            # A write that was refused for good comes again with the host's next report.
            with isolated("what left its host is given back later"):
                self._drop(gone)
                gone = []
            self._end_moves()
            for host_id in sorted(host_ids):
                with isolated("providers of a host follow later"):
                    self._follow(host_id)
                host_ids.remove(host_id)
        except errors.Unavailable as exc:
            self._outbox.add(host_ids, gone)
            self._dependencies.failed(exc)

    def _follow(self, host_id: str) -> None:
        with self._transactions.reader() as session:
            found = hosts.list_(session, {"id": host_id})
            owned = devices.list_(session, {"host_id": host_id})
            of_pool = {host.id: pools.get(session, host.pool_id) for host in found}
        for host in found:
            self._inventory.follow(host, of_pool[host.id], owned)
        # What Placement refused before may be had now.
        self._notifier.notify_here()
        known = self._inventory.verified(device.id for device in owned if not device.in_placement)
        if known:
            self._transactions.commit(_note, known)


def _note(transaction: Transaction, device_ids: Collection[str]) -> None:
    devices.note_in_placement(transaction.session, device_ids, there=True)
