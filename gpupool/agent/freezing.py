"""Freezing: the work of a vGPU, or of all on a device, waits until it is thawed; programs see no error.

What is frozen is written where workers read it, so it outlives the agent, and holds for sessions that
are opened meanwhile.
"""

import logging

from gpupool.agent.sessions import Sessions
from gpupool.agent.vgpus import Vgpus
from gpupool.model import errors

LOG = logging.getLogger(__name__)
# Work that a device has begun is waited for so long.
DRAIN_SECONDS = 10.0


class Freezing:
    """Freezes and thaws. Safe to call from several threads."""

    def __init__(self, vgpus: Vgpus, sessions: Sessions) -> None:
        self._vgpus = vgpus
        self._sessions = sessions

    def freeze_vgpu(self, vgpu_id: str, reason: str, seconds: float = DRAIN_SECONDS) -> set[str]:
        """Freeze a vGPU and wait until its device has no work of it.

        Return the sessions that have some still, or whose worker is of a version that knows no freezing.
        Raises NotFound, or OSError when it can't be written down.
        """
        self._check(vgpu_id)
        self._vgpus.ledger(vgpu_id).set_frozen(True)
        return self._freeze({vgpu_id}, reason, seconds)

    def thaw_vgpu(self, vgpu_id: str) -> None:
        """Thaw a vGPU: its work goes on, unless its device is frozen. Raises as ``freeze_vgpu``."""
        self._check(vgpu_id)
        self._vgpus.ledger(vgpu_id).set_frozen(False)
        self._thaw({vgpu_id})

    def freeze_device(self, device_key: str, reason: str, seconds: float = DRAIN_SECONDS) -> set[str]:
        """Freeze all vGPUs of a device; see ``freeze_vgpu``."""
        self._vgpus.device_state(device_key).set_frozen(True)
        return self._freeze(self._vgpus.of_device(device_key), reason, seconds)

    def thaw_device(self, device_key: str) -> None:
        """Thaw a device: the work of those of its vGPUs that are not frozen themselves goes on."""
        self._vgpus.device_state(device_key).set_frozen(False)
        self._thaw(self._vgpus.of_device(device_key))

    def _check(self, vgpu_id: str) -> None:
        if vgpu_id not in self._vgpus.ids():
            raise errors.NotFound(f"vGPU {vgpu_id} is not on this host")

    def _freeze(self, vgpu_ids: set[str], reason: str, seconds: float) -> set[str]:
        left = self._sessions.freeze(vgpu_ids, reason, seconds)
        LOG.info("frozen: %d vGPUs (%s); sessions that still work: %d", len(vgpu_ids), reason, len(left))
        return left

    def _thaw(self, vgpu_ids: set[str]) -> None:
        self._sessions.thaw({one for one in vgpu_ids if not self._is_frozen(one)})

    def _is_frozen(self, vgpu_id: str) -> bool:
        try:
            return self._vgpus.is_frozen(vgpu_id)
        except (errors.Invalid, OSError):
            return False  # its ledger is damaged: it is made anew
