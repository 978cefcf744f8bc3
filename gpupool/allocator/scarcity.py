"""How scarce each class of devices is: what one there costs besides what becomes of no use.

The measure of fragments counts what is free as of use to a demand wherever the demand may have it. It
does not see that others may have it too: where a tenth of the mix names a product of which there is a
twentieth, what names none takes it as well as any other, and those that need it find nothing. So each
demand of the mix makes the devices that it may have dearer: by its share, times how often what is free
of them goes into all that is free. Classes are used up at the rates at which they are asked for then.
Where every demand may have every device they all cost the same.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import numpy as np

from gpupool.allocator.fragmentation import Floats, suits
from gpupool.allocator.mix import Weights
from gpupool.allocator.view import Amounts, DeviceClass, PoolView, Rows
from gpupool.model.claim import Qos

# No class costs more: what gangs cost then does not come near what decides first, on how many devices
# they are.
_MOST = 20.0


class Scarcity:
    """What the demands of a mix may have of the classes of devices of a view.

    ``is_even``: all may have the same, so that nothing is scarcer than anything else.
    """

    def __init__(self, classes: Sequence[DeviceClass], weights: Weights) -> None:
        groups = defaultdict[tuple[Qos, tuple[bool, ...]], float](float)
        for demand, share in weights:
            if demand.count:
                may_have = tuple(suits(kind, demand) for kind in classes)
                groups[demand.qos, may_have] += share * demand.count * demand.compute
        self.is_even = len({may_have for _, may_have in groups}) < 2
        self._lent = np.array([qos == Qos.BEST_EFFORT for qos, _ in groups])
        self._may_have = np.array([may_have for _, may_have in groups], dtype=np.float64)
        self._shares = np.array([*groups.values()]) / max(sum(groups.values()), 1)

    def prices(self, view: PoolView) -> Floats:
        """Return what one percent of a device of each class costs more, in percent of a device.

        The more, the less is free of what demands may have instead; 0 where all may have everything.
        """
        free = cast(_Free, view.rankings.get(_Free, _Free))
        free.refresh(view)
        room = np.where(self._lent[:, None], free.spare, free.free)
        scarce = room.sum(axis=1) / np.maximum((room * self._may_have).sum(axis=1), 1)
        # Rounded, so that what equal classes cost does not depend on classes that are gone.
        found = ((self._shares * (scarce - 1))[:, None] * self._may_have).sum(axis=0)
        return np.minimum(np.round(found, 9), _MOST)


class _Free:
    """How much is free of all devices of each class that are in order, kept up to date; see Shares."""

    def __init__(self) -> None:
        self._mark = -1
        self._lasting: object = None
        self.free = self.spare = np.zeros(0)
        self._known: tuple[Amounts, Amounts]

    def refresh(self, view: PoolView) -> None:
        """Count the hosts again that have changed since."""
        # Another object when classes, or which devices are in order, have changed.
        lasting = view.remember(_Free, object)
        hosts, mark = view.changed_since(self._mark if lasting is self._lasting else -1)
        self._lasting, self._mark = lasting, mark
        if isinstance(hosts, slice):
            self._known = _left(view, hosts)
            self.free, self.spare = (_by_class(view, hosts, each) for each in self._known)
        elif len(hosts):
            now = _left(view, hosts)
            more = [new - old[hosts] for new, old in zip(now, self._known, strict=True)]
            self.free = self.free + _by_class(view, hosts, more[0])
            self.spare = self.spare + _by_class(view, hosts, more[1])
            for old, new in zip(self._known, now, strict=True):
                old[hosts] = new


def _left(view: PoolView, hosts: Rows) -> tuple[Amounts, Amounts]:
    in_order = view.usable[hosts] & view.open[hosts][:, None]
    return view.compute.free[hosts] * in_order, view.compute.spare[hosts] * in_order


def _by_class(view: PoolView, hosts: Rows, amounts: Amounts) -> Floats:
    kinds = view.device_class[hosts].ravel()
    weights = amounts.ravel().astype(np.float64)
    return np.bincount(kinds, weights=weights, minlength=len(view.classes)).astype(np.float64)
