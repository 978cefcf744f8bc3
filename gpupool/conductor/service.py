"""A running conductor: its RPC server and its threads."""

import logging
import socket
import uuid
from collections.abc import Callable
from functools import partial

import oslo_messaging
from oslo_config import cfg

from gpupool.conductor.capacity.pool_views import Views
from gpupool.conductor.claims import abandoned, lifecycle, limits, lost_devices
from gpupool.conductor.context import Parts
from gpupool.conductor.dependencies import Dependencies
from gpupool.conductor.heartbeat import Heartbeat
from gpupool.conductor.hosts import hosts, pools, unapplied
from gpupool.conductor.hosts.report_cache import Reported
from gpupool.conductor.hosts.report_rates import ReportRates
from gpupool.conductor.isolation import isolated
from gpupool.conductor.leader import Leader
from gpupool.conductor.manager import ConductorManager, ReportsManager
from gpupool.conductor.notifications import ClaimNotifier
from gpupool.conductor.peers import Peers
from gpupool.conductor.periodic import Periodic
from gpupool.conductor.providers import flush
from gpupool.conductor.providers.outbox import Left
from gpupool.conductor.providers.providers import Inventory
from gpupool.conductor.repairs import reconciler
from gpupool.conductor.rotation import Turns
from gpupool.conductor.scheduling import queue
from gpupool.conductor.scheduling.tenure import Tenure
from gpupool.conductor.signing_keys import ConductorKeys
from gpupool.conductor.silence import Silence
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.service import VERSION
from gpupool.placement.allocations import Allocations
from gpupool.placement.client import PlacementClient
from gpupool.placement.provider_tree import ProviderTree
from gpupool.rpc import conductor as rpc
from gpupool.rpc import context
from gpupool.rpc import reports as rpc_reports
from gpupool.rpc import transport as rpc_transport
from gpupool.rpc.agent import AgentClient
from gpupool.rpc.sender import Sender
from gpupool.rpc.server import Server

LOG = logging.getLogger(__name__)
# Seconds at least between two messages to the leader that the queue has changed: each has all conductors
# read it, and the leader decides about all that waits, not about one claim.
_BELL_PAUSE = 0.2
# So many times the seconds between two looks at the database count at most as silence, or as a loss.
_LOOKS = 2
# Hosts that may be told to look once the broker is back, at most.
_HOSTS = 10_000
# Seconds between two looks at whether this conductor leads, and may.
_LEAD_INTERVAL = 1.0
# Seconds that what may hang is given at the end.
_PATIENCE = 3.0


class Conductor:
    """Serves from ``start`` to ``stop``; several of them, on any hosts, share the work."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        database: Database,
        placement: PlacementClient,
        transport: oslo_messaging.Transport,
    ) -> None:
        settings = conf.conductor
        self.id = str(uuid.uuid4())
        self._leader = Leader(conf, database.place)
        self._others = rpc.ConductorClient(transport)
        self._queue = Periodic("queue", partial(self._try, self.tick), settings.queue_interval)
        self._bell = Sender("news of the queue", 1, _BELL_PAUSE)
        self._clock = Periodic("clock", partial(self._try, self.watch), settings.queue_interval)
        repair = partial(self._try, self.reconcile)
        self._reconciler = Periodic("reconciler", repair, settings.reconcile_interval)
        self._leading = Periodic("leading", self.lead, _LEAD_INTERVAL)
        database.clock.settle = settings.clock_settle
        most = _LOOKS * settings.queue_interval
        self._silence = Silence(database.clock, settings.host_timeout, most)
        self._lost = Silence(database.clock, settings.device_lost_timeout, most)
        self._unapplied = Silence(database.clock, settings.apply_timeout, most)
        inventory = Inventory(ProviderTree(placement), settings.reconcile_devices)
        self.parts = Parts(
            id=self.id,
            conf=conf,
            database=database,
            dependencies=Dependencies(database, placement, self._others, database.clock.monotonic),
            peers=Peers(),
            placement=placement,
            allocations=Allocations(placement, inventory.granting),
            inventory=inventory,
            limits=limits.from_conf(conf),
            left=Left(),
            keys=ConductorKeys(database),
            reported=Reported(database, settings.host_timeout),
            rates=ReportRates(database.clock, settings.max_reports_per_second),
            tenure=Tenure(database.clock),
            audit=Turns(settings.reconcile_devices),
            agents=AgentClient(transport),
            looks=Sender("messages to agents", _HOSTS),
            notifier=ClaimNotifier(conf),
            views=Views(database, inventory, conf),
            wake_queue=self._wake,
            wake_here=self._wake_here,
        )
        self.parts.dependencies.on_return(self._is_back)
        self._served = queue.Queue(self.parts)
        self._heartbeat = Heartbeat(self.parts, lambda: self._leader.led, self._queue.wake)
        self._servers = self._make_servers(transport)

    def _make_servers(self, transport: oslo_messaging.Transport) -> tuple[Server, Server]:
        """Return what serves agents, and what serves API and other conductors."""
        here = socket.gethostname()
        of_agents = rpc_transport.agents_target(transport, rpc_reports.TOPIC, server=here)
        of_api = oslo_messaging.Target(topic=rpc.TOPIC, server=here)
        serves = self.parts.dependencies.messages.start
        return (
            Server(transport, of_agents, [ReportsManager(self.parts)], lambda: None),
            Server(transport, of_api, [ConductorManager(self.parts)], serves),
        )

    def start(self) -> None:
        """Begin to serve; raises Unavailable when the database is not there or not of this version.

        Returns also while the broker is away: messages are served as soon as it is there.
        """
        self.parts.database.check()
        self._heartbeat.beat()
        self.parts.commit(pools.create_default)
        # Operators give the first key to agents before one of them asks for it.
        self.parts.keys.public()
        self.parts.dependencies.start()
        for server in self._servers:
            server.start(_PATIENCE)
        for each in (self._heartbeat, self._leading, self._clock, self._queue, self._reconciler):
            each.start()
        place = self.parts.database.place
        LOG.info("conductor %s of %s serves, version %s", self.id, place, VERSION)

    def stop(self) -> None:
        """Finish what is being done and serve no more; what waits stays in queue and database.

        The lead goes first, so that another takes it meanwhile.
        """
        self.parts.dependencies.stop()
        self._leading.stop(_PATIENCE)
        self._leader.stop()
        for server in self._servers:
            server.stop(_PATIENCE)
        self._clock.stop()
        self._served.nudge()
        self._queue.stop()
        self._served.close()
        self._reconciler.stop()
        self._heartbeat.stop()
        for sender in (self._bell, self.parts.looks, self.parts.notifier):
            sender.stop(_PATIENCE)

    def lead(self) -> None:
        """Do once what the leadership's thread does: lead if nothing is missing and nobody else does."""
        led = self._leader.led
        if self._leader.leads(self.parts.dependencies.missing()) and not led:
            self._wake_here()

    def tick(self) -> None:
        """Do once what the queue's thread does: Placement's news, and the queue, if it leads."""
        leads = self._leader.led
        self._served.hush()
        with isolated("what reports left is not settled now"):
            if flush.settle(self.parts, self._served.under_way()) and leads:
                self._queue.wake()
        if self.parts.dependencies.answer():
            with isolated("what was left allocating is ended later"):
                abandoned.end(self.parts, self._served.under_way(), leads)
        if leads:
            self._served.serve()
        else:
            self._served.rest()

    def watch(self) -> None:
        """Do once what is due by the clock, in a thread that waits for nobody: Placement may hang."""
        if not self.parts.dependencies.listens():
            # Hosts are not silent if nobody listens: after an outage it is counted anew.
            self._silence.forget()
            self._lost.forget()
            self._unapplied.forget()
        if not self.parts.dependencies.database.answers():
            return
        self.parts.database.follow_clock()
        with isolated("leases are not ended now"):
            lifecycle.expire(self.parts)
        if self.parts.dependencies.listens():
            hosts.mark_silent(self.parts, self._silence)
            lost_devices.end_claims(self.parts, self._lost)
            unapplied.close_hosts(self.parts, self._unapplied)

    def reconcile(self) -> None:
        """Do once what the reconciler's thread does, if this conductor leads."""
        if self._leader.led:
            reconciler.reconcile(self.parts)

    def _try(self, job: Callable[[], object]) -> None:
        """Do a job; by what of it fails for an outage that outage is known."""
        try:
            job()
        except errors.Unavailable as exc:
            self.parts.dependencies.failed(exc)

    def _is_back(self) -> None:
        """Go on at once with what an outage held up."""
        self._leading.wake()
        self._clock.wake()
        self._wake_here()

    def _wake(self) -> None:
        """Wake the queue of the conductor that serves it."""
        self._wake_here()
        self._bell.put("queue", self._tell_leader)

    def _wake_here(self) -> None:
        # In this order: a run that begins in between forgets the nudge only to look itself.
        self._served.nudge()
        self._queue.wake()

    def _tell_leader(self) -> None:
        """Pass on that the queue has changed, once for all changes since the last time."""
        if not self._leader.led:
            self._others.wake_queue(context.detached())
