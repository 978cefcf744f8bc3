"""The reconciler: one small repair for each kind of difference that a crash or a hand may leave.

Each is harmless when there is no difference, and when another conductor repairs the same.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpupool.conductor.dependencies import Dependencies
from gpupool.model import errors

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repair:
    """A job of the reconciler; with ``asks_placement`` it waits while Placement is away."""

    name: str
    run: Callable[[], object]
    asks_placement: bool = False


class Reconciler:
    """Runs ``repairs`` in their order."""

    def __init__(self, dependencies: Dependencies, repairs: Sequence[Repair]) -> None:
        self._dependencies, self._repairs = dependencies, repairs

    def reconcile(self) -> None:
        """Repair every kind of difference; one that fails does not keep the others."""
        for repair in self._repairs:
            if repair.asks_placement and not self._dependencies.placement.answers():
                continue
            try:
                repair.run()
            except errors.Unavailable as exc:
                self._dependencies.failed(exc)
            except errors.GpupoolError as exc:
                LOG.warning("%s: goes on next time: %s", repair.name, exc)
            except Exception:
                LOG.exception("%s failed", repair.name)
