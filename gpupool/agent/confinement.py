"""Keeps each vGPU's workers in a control group of its own, where this agent may make some."""

import hashlib
import logging
from collections.abc import Callable, Collection

from oslo_config import cfg

from gpupool.agent import cgroups, host_memory
from gpupool.agent.folders import Folders
from gpupool.agent.limited_log import LimitedLog
from gpupool.drivers.base import DeviceHandle
from gpupool.model import errors
from gpupool.model.report import VgpuSpec

LOG = logging.getLogger(__name__)
# Of a worker: one for each call that may wait (RING_SLOTS), and its own and the device library's.
TASKS_OF_SESSION = 96
# Of all workers of a vGPU besides: a device library may serve each stream by a thread.
TASKS_OF_STREAMS = 1024


class Confinement:
    """The groups of an agent's vGPUs. Where none can be made, the log says so; workers run without."""

    def __init__(self, conf: cfg.ConfigOpts, folders: Folders, limited: LimitedLog) -> None:
        self._options = conf.agent
        # Agents of one machine have folders of their own, and so have their groups.
        self.name = f"gpupool-{hashlib.sha256(bytes(folders.state)).hexdigest()[:12]}"
        self._limited = limited
        self._cgroups: cgroups.Cgroups | None = None
        self._made: dict[str, cgroups.Limits] = {}
        # By vGPU, also of those that are gone while their group is there.
        self._projects: dict[str, str] = {}
        # MiB in groups of vGPUs that are gone.
        self._left: dict[str, int] = {}

    def start(self) -> None:
        """Find out where groups can be made; without ``[agent] cgroups`` none are."""
        self._cgroups = cgroups.find(self.name) if self._options.cgroups else None

    def stop(self) -> None:
        """Remove groups that have no workers."""
        if self._cgroups:
            self._try("all vGPUs", self._cgroups.close)
        self._cgroups = None
        self._made.clear()

    def make(self, spec: VgpuSpec, device: DeviceHandle) -> None:
        """Make the vGPU's group, or bring it to what it may have now; what fails is tried again."""
        limits = self._limits(spec, device)
        groups = self._cgroups
        if groups:
            self._projects[spec.id] = spec.project_id
            self._left.pop(spec.id, None)  # made anew, it is bounded by its group again
        if groups and self._made.get(spec.id) != limits:
            if self._try(spec.id, lambda: groups.make(spec.id, limits)):
                self._made[spec.id] = limits
            else:
                self._made.pop(spec.id, None)

    def _limits(self, spec: VgpuSpec, device: DeviceHandle) -> cgroups.Limits:
        most = self._options.vgpu_host_memory_mib
        charged = host_memory.limit_mib(spec.sessions, spec.memory_mib, most)
        own = spec.sessions * device.worker_mib + (spec.memory_mib if device.memory_in_host else 0)
        return cgroups.Limits(charged + own, spec.sessions * TASKS_OF_SESSION + TASKS_OF_STREAMS)

    def add(self, vgpu_id: str, pid: int) -> None:
        """Put a worker into its vGPU's group; one that is in it stays."""
        groups = self._cgroups
        if groups:
            self._try(vgpu_id, lambda: groups.add(vgpu_id, pid))

    def keep(self, vgpu_ids: Collection[str]) -> None:
        """Remove the groups of all others, as far as their workers have ended and their memory is free.

        A program that keeps the ring of a session keeps what the worker wrote there: it stays charged to
        the agent's own group, whichever group is removed, and not to the program's.
        """
        groups = self._cgroups
        if groups:
            self._try("vGPUs that are gone", lambda: self._remove(groups, vgpu_ids))

    def _remove(self, groups: cgroups.Cgroups, vgpu_ids: Collection[str]) -> None:
        for name in groups.names() - set(vgpu_ids):
            self._made.pop(name, None)
            self._left[name] = groups.shared_mib(name)
            if self._left[name] and self._projects.get(name):
                continue
            groups.remove(name)
            self._left.pop(name)
            self._projects.pop(name, None)

    def check_left(self, project_id: str) -> None:
        """Raise Unavailable while programs keep too much memory of vGPUs that the project has no more.

        Else a claim could be made and deleted again and again, until the agent's memory is used up.
        """
        left = sum(
            mib for name, mib in list(self._left.items()) if self._projects.get(name) == project_id
        )
        most = self._options.vgpu_host_memory_mib
        if project_id and left > most:
            raise errors.Unavailable(
                f"programs keep {left} MiB of this host's memory of sessions whose vGPUs are gone; "
                f"allowed: {most} of a project; end these programs first"
            )

    def _try(self, what: str, change: Callable[[], None]) -> bool:
        """Return whether the change was made; the log says why not."""
        try:
            change()
        except OSError as exc:
            message = "the control group of %s is not as it should be: %s"
            self._limited.say(LOG, logging.WARNING, f"control group {what}", message, what, exc)
            return False
        return True
