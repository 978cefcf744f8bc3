"""The agent's manager: makes this host have what the conductor wants of it (D2)."""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from oslo_config import cfg
from oslo_context.context import RequestContext

from gpupool.agent import isolation, process, record, uids
from gpupool.agent.attachments import Attachments
from gpupool.agent.confinement import Confinement
from gpupool.agent.folders import Folders
from gpupool.agent.freezing import Freezing
from gpupool.agent.inventory import Inventory
from gpupool.agent.limited_log import LimitedLog
from gpupool.agent.machine import Machine
from gpupool.agent.reserve import Reserve
from gpupool.agent.resources import Resources
from gpupool.agent.sessions import Sessions
from gpupool.agent.vgpus import Vgpus
from gpupool.model import errors
from gpupool.model.report import AttachmentSpec, DesiredState, HostReport, VgpuSpec
from gpupool.model.service import VERSION
from gpupool.rpc import context

LOG = logging.getLogger(__name__)
# The thread may be waiting for a conductor that does not answer; it changes nothing any more.
STOP_SECONDS = 1.0


class Conductor(Protocol):
    """What the manager needs of agent.uplink.Uplink."""

    def report_host(self, ctxt: RequestContext, report: HostReport) -> DesiredState:
        """Take the report, return the desired state."""


class AgentManager:
    """One host's agent. ``start`` and ``stop`` once; ``look`` from any thread."""

    def __init__(self, conf: cfg.ConfigOpts, conductor: Conductor) -> None:
        self._conf = conf
        self._options = conf.agent
        self._conductor = conductor
        self._folders = Folders.from_conf(conf)
        self._machine = Machine.of(conf)
        self._reserve = Reserve(self._folders.state)
        self._resources = Resources(conf, self._folders, self._reserve)
        self._inventory = Inventory(conf)
        self._uids = uids.parse(conf.agent.worker_uids)
        uids.check(self._uids)
        self._vgpus = Vgpus(
            self._folders,
            self._inventory,
            uids.registry(self._uids),
            conf.agent.vgpu_host_memory_mib,
        )
        self._limited = LimitedLog()
        self._confinement = Confinement(conf, self._folders, self._limited)
        self._sessions = Sessions(
            conf,
            self._folders,
            self._vgpus,
            self._confinement,
            self._limited,
            reserve=self._reserve,
        )
        self.freezing = Freezing(self._vgpus, self._sessions)
        self._attachments = Attachments(self._folders, self._vgpus, self._sessions, self._limited)
        self._generation = 0
        self._incarnation = ""
        self._desired: DesiredState | None = None
        self._unheard = ""
        self._answered = False
        # The newest that was told, until it is looked at.
        self._told: DesiredState | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._applying = threading.Lock()
        self._only = -1
        self._thread = threading.Thread(target=self._run, name="converge", daemon=True)

    @property
    def host(self) -> str:
        """Name of the host."""
        name: str = self._options.host
        return name

    def start(self) -> None:
        """Take over what an earlier agent left, make it usable, then follow the conductor.

        Raises Conflict when another agent has the same state folder.
        """
        process.raise_open_files()
        self._folders.make()
        self._only = self._folders.lock()
        for folder in self._folders.of_records:
            record.remove_unfinished(folder)
        # Before there are processes of drivers: only this one moves where groups need that.
        self._confinement.start()
        self._inventory.start(self._wake.set)
        self._inventory.refresh()
        executable = isolation.prepare(
            self._conf, self._folders, self._inventory.sandboxes(), self._uids
        )
        self._sessions.start(executable)
        self._vgpus.start(self._sessions.has_any)
        self._attachments.start()
        desired = record.read(self._folders.desired, DesiredState)
        if desired:
            self._apply(desired)
        self._thread.start()

    def stop(self, end_sessions: bool = False) -> None:
        """Stop converging and open no more sessions; those that live go on unless told otherwise."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(STOP_SECONDS)
        with self._applying:
            self._attachments.stop()
        if end_sessions:
            self._sessions.end_all()
        self._sessions.stop()
        self._confinement.stop()
        self._inventory.stop()
        os.close(self._only)

    def look(self, desired: DesiredState | None = None) -> None:
        """Converge soon, to ``desired`` at least; asking again before it happened changes nothing."""
        self._told = desired or self._told
        self._wake.set()

    def converge(self) -> None:
        """Apply what was told, then report and apply the answer until there is nothing to change."""
        self._inventory.refresh()
        self._sessions.look_again()
        self._limited.flush(LOG)
        self._follow(self._take_told())
        while self._follow(self._report()):
            pass

    def _take_told(self) -> DesiredState | None:
        """Return what was told, if it is newer than what this host has.

        One that came before the first answer may have waited for an agent since long ago. One of
        another incarnation can't be compared; the next answer tells.
        """
        told, self._told = self._told, None
        if told is None or not self._answered or told.incarnation != self._incarnation:
            return None
        return told if told.generation > self._generation else None

    def _follow(self, desired: DesiredState | None) -> bool:
        """Apply what the host should have; return whether there is something new to report."""
        with self._applying:
            return desired is not None and not self._stopping.is_set() and self._apply(desired)

    def _wait_for_devices(self) -> None:
        """Wait, for a time, until every device was looked at: what is not reported counts as gone."""
        end = time.monotonic() + self._options.driver_timeout
        while not self._stopping.is_set() and not self._inventory.ready():
            left = end - time.monotonic()
            if left <= 0:
                LOG.warning("not every device has answered yet; reporting those that have")
                return
            self._wake.wait(left)
            self._wake.clear()

    def _run(self) -> None:
        self._wait_for_devices()
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self.converge()
            except Exception:
                LOG.exception("converging failed; trying again in %d s", self._options.report_interval)
            self._wake.wait(self._options.report_interval)

    def _report(self) -> DesiredState | None:
        """Return the conductor's answer, or None when there is none to act on."""
        try:
            desired = self._conductor.report_host(context.detached(), self.host_report())
        except errors.Unavailable as exc:
            if self._unheard != exc.message:
                LOG.warning("keeping everything as it is: %s", exc)
            self._unheard = exc.message
            return None
        if self._unheard:
            LOG.info("the conductor answers again")
        self._unheard, self._answered = "", True
        # Of another incarnation any is news: the host was forgotten, or the database restored.
        same = desired.incarnation == self._incarnation
        if same and desired.generation < self._generation:
            LOG.warning("desired state %d is older than %d", desired.generation, self._generation)
            return None
        return desired

    def host_report(self) -> HostReport:
        """Return everything this host has."""
        return HostReport(
            host=self._options.host,
            hypervisor_hostname=self._options.hypervisor_hostname or self._options.host,
            pool=self._options.pool,
            agent_version=VERSION,
            generation=self._generation,
            incarnation=self._incarnation,
            cpu_milli=self._machine.cpu_milli,
            memory_mib=self._machine.memory_mib,
            unable_reason=self._resources.unable_reason(),
            devices=self._inventory.devices(),
            vgpus=self._vgpus.report(),
            attachments=self._attachments.report(),
            sessions=self._sessions.report(),
        )

    def _apply(self, desired: DesiredState) -> bool:
        """Make the host as desired; return whether there is something new to report."""
        # Before it is written down: a full disk must not keep what somebody else waits for.
        changed = self._remove(desired)
        self._sessions.end_named(desired.ended_sessions)
        self._write_down(desired)
        for vgpu in desired.vgpus:
            changed |= self._make_vgpu(vgpu)
        for attachment in desired.attachments:
            changed |= self._make_attachment(attachment)
        now = desired.generation, desired.incarnation
        changed |= now != (self._generation, self._incarnation)
        self._generation, self._incarnation = now
        return changed

    def _write_down(self, desired: DesiredState) -> None:
        """Write the desired state for a restart; an older one would bring back what was removed."""
        if desired == self._desired:
            return
        try:
            self._reserve.write(self._folders.desired, desired)
            self._desired = desired
        except OSError as exc:
            LOG.error("the desired state can't be written down: %s", exc)
            self._desired = None
            with suppress(OSError):
                self._folders.desired.unlink(missing_ok=True)

    def _make_vgpu(self, spec: VgpuSpec) -> bool:
        if self._vgpus.wants_remaking(spec):
            return False  # a worker of the old one does not end
        before = self._vgpus.spec(spec.id)
        changed = self._vgpus.make(spec)
        if before and (before.compute, before.memory_mib) != (spec.compute, spec.memory_mib):
            self._sessions.resized(spec)
        with suppress(errors.GpupoolError):  # no device: its error says so
            self._confinement.make(spec, self._inventory.open(spec.device_key, spec.part))
        self._sessions.allow(spec.id)
        return changed

    def _make_attachment(self, spec: AttachmentSpec) -> bool:
        return not self._attachments.wants_remaking(spec) and self._attachments.make(spec)

    def _remove(self, desired: DesiredState) -> bool:
        """Remove what is not desired, or not so; return whether something was removed."""
        attachments = {
            one.id for one in desired.attachments if not self._attachments.wants_remaking(one)
        }
        vgpus = {one.id for one in desired.vgpus if not self._vgpus.wants_remaking(one)}
        removed = False
        # First of all the vGPUs' sessions end: these are what somebody else may be waiting for.
        leaving = set(self._vgpus.known()) - vgpus
        unused = set(self._attachments.known()) - attachments
        self._revoke_sessions(leaving, unused, {one.id for one in desired.vgpus})
        for vgpu_id in leaving:
            removed |= _removed(self._remove_vgpu, vgpu_id)
        for attachment_id in unused:
            removed |= _removed(self._attachments.remove, attachment_id)
        self._confinement.keep(self._vgpus.known())
        self._vgpus.keep_parts(desired.vgpus)
        return removed

    def _revoke_sessions(self, vgpu_ids: set[str], attachment_ids: set[str], wanted: set[str]) -> None:
        """Kill the sessions of vGPUs and attachments that go; those ``wanted`` are made anew."""
        reasons = {one: f"its attachment {one} was deleted" for one in attachment_ids}
        reasons |= {one: self._vgpus.take_away(one, again=one in wanted) for one in vgpu_ids}
        self._sessions.revoke(reasons)

    def _remove_vgpu(self, vgpu_id: str) -> bool:
        left = self._sessions.end(vgpu_id)
        if left:
            LOG.error("vGPU %s: %d workers do not end", vgpu_id, left)
            return False
        self._vgpus.remove(vgpu_id)
        LOG.info("vGPU %s removed", vgpu_id)
        return True


def _removed(remove: Callable[[str], bool], owner_id: str) -> bool:
    """Return what ``remove`` does; False when it can't, which keeps none of the others."""
    try:
        return remove(owner_id)
    except (OSError, errors.GpupoolError) as exc:
        LOG.error("%s can't be removed: %s", owner_id, exc)
        return False
