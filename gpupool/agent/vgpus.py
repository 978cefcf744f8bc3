"""The vGPUs of this host. Each is a ledger, which its workers keep to; nothing else has to be made."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from urllib.parse import quote

from gpupool.agent import host_memory, record
from gpupool.agent.debts import Debts
from gpupool.agent.folders import Folders
from gpupool.agent.inventory import Inventory
from gpupool.agent.uids import REGISTRY, WorkerUids
from gpupool.dataplane.device_state import DeviceState
from gpupool.dataplane.handshake import VgpuShare
from gpupool.dataplane.ledger import BUSY_MAX, HOST_ERRORS, Ledger, Limits
from gpupool.drivers.base import DeviceHandle
from gpupool.model import errors
from gpupool.model.report import VgpuReport, VgpuSpec

LOG = logging.getLogger(__name__)


class Vgpus:
    """What exists is what has a ledger; what each is for comes from the desired state."""

    def __init__(
        self,
        folders: Folders,
        inventory: Inventory,
        uids: WorkerUids | None,
        host_memory_mib: int,
    ) -> None:
        self._folders = folders
        self._listing = record.Listing(folders.ledgers)
        self._inventory = inventory
        self._registry = uids
        self._uids: dict[str, int] = {}
        # The most that the sessions of one share of this host's memory.
        self._host_memory_mib = host_memory_mib
        self._debts = Debts(folders.debts)
        self._specs: dict[str, VgpuSpec] = {}
        self._errors: dict[str, str] = {}

    def start(self, in_use: Callable[[str], bool]) -> None:
        """Take over what an earlier agent left; ``in_use`` tells whether a vGPU has sessions.

        After a reboot of the host ledgers are without device time: it is of another clock.
        """
        if self._debts.start(self.ids()):
            return
        for vgpu_id in self.ids():
            if not in_use(vgpu_id) and self.ledger(vgpu_id).sound():
                self.ledger(vgpu_id).restart()

    def ids(self) -> list[str]:
        """Return the vGPUs that exist, wanted or not."""
        return self._listing.names()

    def ledger(self, vgpu_id: str) -> Ledger:
        """Return the vGPU's ledger, whether it exists or not."""
        return Ledger(self._folders.ledgers / vgpu_id)

    def wants_remaking(self, spec: VgpuSpec) -> bool:
        """Tell whether the vGPU exists but is elsewhere, or its ledger was damaged."""
        if not self._listing.has(spec.id):
            return False
        known = self._specs.get(spec.id, spec)
        moved = (known.device_key, known.part) != (spec.device_key, spec.part)
        return moved or not self.ledger(spec.id).sound()

    def make(self, spec: VgpuSpec) -> bool:
        """Make the vGPU as ``spec`` wants it; return whether that changed anything it reports.

        A vGPU that exists stays when its device fails: the device's health tells.
        """
        before = (self._specs.get(spec.id), self._errors.get(spec.id))
        self._specs[spec.id] = spec
        error, new = "", True
        try:
            new = not self._listing.has(spec.id)
            self._cut(spec, new)
            if new:
                self._inventory.open(spec.device_key, spec.part)
            owed = (self._debts.take(spec), self._debts.now_ns) if new else (0, 0)
            self.ledger(spec.id).create(self._limits(spec), spec.sessions, *owed)
            if new:
                self._debts.taken(spec)
            self._take_uid(spec.id)
            self.device_state(spec.device_key).make()
            if new:
                LOG.info(
                    "vGPU %s of claim %s made on device %s", spec.id, spec.claim_id, spec.device_key
                )
        except (errors.GpupoolError, OSError) as exc:
            if before[1] != str(exc):
                LOG.error("vGPU %s can't be made: %s", spec.id, exc)
            if new or not _is_of_host(exc):
                error = str(exc)
        # Not before: one that fails again must not look made meanwhile.
        if error:
            self._errors[spec.id] = error
        else:
            self._errors.pop(spec.id, None)
        return before != (spec, self._errors.get(spec.id))

    def _cut(self, spec: VgpuSpec, new: bool) -> None:
        """Make the vGPU's part on the device; a device that failed keeps the vGPUs that it has."""
        try:
            if spec.part:
                self._inventory.cut(spec.device_key, spec.part)
        except errors.Unavailable:
            if new:
                raise

    def _limits(self, spec: VgpuSpec) -> Limits:
        host_mib = host_memory.limit_mib(spec.sessions, spec.memory_mib, self._host_memory_mib)
        return Limits(compute=spec.compute, memory_mib=spec.memory_mib, host_mib=host_mib)

    def _take_uid(self, vgpu_id: str) -> None:
        """Choose the user of the vGPU's workers; its ledger is there, so the choice stays."""
        if self._registry and vgpu_id not in self._uids:
            self._uids[vgpu_id] = self._registry.take(self.ledger(vgpu_id).path)

    def worker_uid(self, vgpu_id: str) -> int | None:
        """Return whom the vGPU's workers run as; None: as this process, which is not root.

        Raises Unavailable or OSError when it has no user.
        """
        if self._registry is None:
            return None
        uid = self._uids.get(vgpu_id)
        if uid is None:
            raise errors.Unavailable(f"vGPU {vgpu_id} has no user for its workers yet")
        ledger = self.ledger(vgpu_id).path
        if not self._registry.has(ledger, uid):
            LOG.warning("vGPU %s has lost user %d and gets another: see %s", vgpu_id, uid, REGISTRY)
            self._uids[vgpu_id] = uid = self._registry.take(ledger)
        return uid

    def remove(self, vgpu_id: str) -> None:
        """Remove the vGPU; its sessions must have ended. What it owes is its project's from then on."""
        self._note_debt(vgpu_id)
        spec = self._specs.get(vgpu_id)
        if spec and spec.part:
            self._inventory.give_back(spec.device_key, spec.part)
        self.ledger(vgpu_id).remove()
        self._give_uid_back(vgpu_id)
        self._listing.forget(vgpu_id)
        self.forget(vgpu_id)

    def keep_parts(self, wanted: Iterable[VgpuSpec]) -> None:
        """Remove the parts of devices that are neither wanted nor of a vGPU that is there still."""
        specs = [*wanted, *self._specs.values()]
        self._inventory.keep_parts({(spec.device_key, spec.part) for spec in specs if spec.part})

    def _give_uid_back(self, vgpu_id: str) -> None:
        uid = self._uids.pop(vgpu_id, None)
        if self._registry:
            try:
                self._registry.give_back(self.ledger(vgpu_id).path, uid)
            except OSError as exc:  # its ledger is gone, so the number counts as free all the same
                LOG.debug("the user of vGPU %s is not given back yet: %s", vgpu_id, exc)

    def _note_debt(self, vgpu_id: str) -> None:
        spec = self._specs.get(vgpu_id)
        if spec is None or not self._listing.has(vgpu_id):
            return
        # Unreadable: a worker damaged it, which might as well have written that nothing is owed.
        with suppress(errors.Invalid, OSError):
            owed = self.ledger(vgpu_id).debt_ns(spec.compute, self._debts.now_ns)
            self._debts.note(vgpu_id, spec, owed)

    def forget(self, vgpu_id: str) -> None:
        """Forget a vGPU that was wanted but never came to exist."""
        self._specs.pop(vgpu_id, None)
        self._errors.pop(vgpu_id, None)

    def known(self) -> list[str]:
        """Return the vGPUs that exist or could not be made."""
        return sorted({*self.ids(), *self._specs})

    def open(self, vgpu_id: str) -> DeviceHandle:
        """Return how a worker opens the vGPU's device; NotFound or Unavailable says why it can't."""
        spec = self._specs.get(vgpu_id)
        if spec is None or vgpu_id in self._errors:
            raise errors.Unavailable(f"vGPU {vgpu_id} is not there: {self._errors.get(vgpu_id, 'gone')}")
        return self._inventory.open(spec.device_key, spec.part)

    def device_state(self, device_key: str) -> DeviceState:
        """Return what the device's workers read of it."""
        return DeviceState(self._folders.devices / quote(device_key, safe=""))

    def device_state_of(self, vgpu_id: str) -> DeviceState:
        """Return that of the vGPU's device. Raises Unavailable when the vGPU is gone."""
        spec = self._specs.get(vgpu_id)
        if spec is None:
            raise errors.Unavailable(f"vGPU {vgpu_id} is gone")
        return self.device_state(spec.device_key)

    def of_device(self, device_key: str) -> set[str]:
        """Return the vGPUs on a device."""
        return {one.id for one in list(self._specs.values()) if one.device_key == device_key}

    def is_frozen(self, vgpu_id: str) -> bool:
        """Return whether the work of the vGPU, or of its device, waits. Raises OSError."""
        spec = self._specs.get(vgpu_id)
        if spec and self.device_state(spec.device_key).is_frozen():
            return True
        return self.ledger(vgpu_id).is_frozen()

    def sessions(self, vgpu_id: str) -> int:
        """Return how many sessions the vGPU may have at a time. Raises as Ledger, or when it is gone."""
        spec = self._specs.get(vgpu_id)
        return min(spec.sessions, self.ledger(vgpu_id).slots()) if spec else 0

    def shared_mib(self, vgpu_id: str) -> int:
        """Return how much of this host's memory the vGPU's sessions share."""
        spec = self._specs.get(vgpu_id)
        return host_memory.shared_mib(spec.memory_mib if spec else 0, self._host_memory_mib)

    def project(self, vgpu_ids: Iterable[str]) -> str:
        """Return whose these vGPUs of one claim are; empty when nobody told."""
        found = (self._specs.get(vgpu_id) for vgpu_id in vgpu_ids)
        return next((spec.project_id for spec in found if spec), "")

    def indexes(self, vgpu_ids: Iterable[str]) -> dict[str, int | None]:
        """Return the index of each of these vGPUs in its claim; None where the conductor did not say."""
        found = {vgpu_id: self._specs.get(vgpu_id) for vgpu_id in vgpu_ids}
        return {vgpu_id: spec.index if spec else None for vgpu_id, spec in found.items()}

    def take_away(self, vgpu_id: str, *, again: bool) -> str:
        """Tell the vGPU's workers that it goes; return why, for their programs.

        ``again``: it is made anew, elsewhere or as it was.
        """
        # Neither a sound ledger is needed to end them, nor one more open file.
        with suppress(OSError, errors.Invalid):
            self.ledger(vgpu_id).set_lost()
        if again:
            return f"vGPU {vgpu_id} is made anew, on another device of its host or after damage"
        spec = self._specs.get(vgpu_id)
        claim = f"claim {spec.claim_id}" if spec else "its claim"
        return f"vGPU {vgpu_id} was taken from {claim}, which ended, shrank or moved"

    def spec(self, vgpu_id: str) -> VgpuSpec | None:
        """Return what the vGPU is to be; None when nobody told yet."""
        return self._specs.get(vgpu_id)

    def neighbours(self, vgpu_id: str) -> set[str]:
        """Return the vGPUs on the same device, this one included."""
        keys = {other: spec.device_key for other, spec in list(self._specs.items())}
        return {other for other, key in keys.items() if key == keys.get(vgpu_id)}

    def shares(self, vgpu_ids: Iterable[str]) -> list[VgpuShare]:
        """Return what a program may know of these vGPUs before it opens one."""
        found = (self._specs.get(vgpu_id) for vgpu_id in vgpu_ids)
        return [VgpuShare(spec.compute, spec.memory_mib, spec.id) for spec in found if spec]

    def report(self) -> tuple[VgpuReport, ...]:
        """Return every vGPU that exists or could not be made."""
        return tuple(self._report(vgpu_id) for vgpu_id in self.known())

    def _report(self, vgpu_id: str) -> VgpuReport:
        spec = self._specs.get(vgpu_id)
        try:
            slots = self.ledger(vgpu_id).usages()
        except (errors.Invalid, OSError):
            slots = []  # not made, or damaged: then the next convergence makes it anew
        limit = spec.memory_mib if spec else 0
        return VgpuReport(
            id=vgpu_id,
            generation=spec.generation if spec else 0,
            error=self._errors.get(vgpu_id, ""),
            # A vGPU is a ledger, whatever its size: what keeps it from being made is this host's.
            host_fault=vgpu_id in self._errors,
            memory_used_mib=min(sum(slot.memory_mib for slot in slots), limit),
            # One worker may have written all of them: a number that no database holds would have the
            # whole host's report refused.
            busy_ns=min(sum(slot.busy_ns for slot in slots), BUSY_MAX),
        )


def _is_of_host(exc: Exception) -> bool:
    """Tell whether a vGPU that is there may well be sound: it could not be looked at just now."""
    return isinstance(exc, OSError) and exc.errno in HOST_ERRORS
