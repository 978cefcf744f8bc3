"""Policies: which of the places that fit a claim it takes."""

from collections.abc import Hashable
from typing import Protocol

from gpupool.allocator.demand import Demand
from gpupool.allocator.fragmentation import Floats
from gpupool.allocator.view import Amounts, PoolView


class Policy(Protocol):
    """Tells what places cost; the cheapest is taken, the first by name among equals.

    ``hosts`` are indexes of hosts; results have one row for each. ``program`` says whether the host
    is the program's too, which takes CPU and memory there. ``alike``: hosts that differ in nothing but
    their names cost the same. A cost is without what ``prices`` says, which comes on top.
    """

    alike: bool

    def basis(self, view: PoolView) -> Hashable:
        """Return what costs depend on besides the hosts they are of: while it is equal, they last."""

    def prices(self, view: PoolView, demand: Demand) -> Floats | None:
        """Return what one vGPU of ``demand`` costs more on each class of devices, None for nothing.

        Unlike all else they may change with every grant anywhere; so they are added to what is known.
        """

    def device_cost(self, view: PoolView, demand: Demand, hosts: Amounts, program: bool) -> Floats:
        """Return what one vGPU of ``demand`` costs on each slot; of those it does not fit, anything."""

    def host_cost(
        self, view: PoolView, demand: Demand, hosts: Amounts, taken: Amounts, program: bool
    ) -> Floats:
        """Return what it costs to put ``taken`` vGPUs (hosts x slots) on each host."""
