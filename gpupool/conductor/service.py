"""A running conductor: its RPC server and its threads."""

import importlib.metadata
import logging
import socket
import threading

import oslo_messaging
from oslo_config import cfg

from gpupool.conductor import claims, hosts, limits, pools, queue, reconciler, settling
from gpupool.conductor.inventory import Inventory
from gpupool.conductor.isolation import isolated
from gpupool.conductor.leader import Leader
from gpupool.conductor.left import Left
from gpupool.conductor.manager import ConductorManager
from gpupool.conductor.notifications import ClaimNotifier
from gpupool.conductor.parts import Parts
from gpupool.conductor.periodic import Periodic
from gpupool.conductor.reported import Reported
from gpupool.conductor.silence import Silence
from gpupool.conductor.tenure import Tenure
from gpupool.conductor.turns import Turns
from gpupool.conductor.views import Views
from gpupool.db.api import Database
from gpupool.placement.allocations import Allocations
from gpupool.placement.client import PlacementClient
from gpupool.placement.provider_tree import ProviderTree
from gpupool.rpc import conductor as rpc
from gpupool.rpc import context
from gpupool.rpc import transport as rpc_transport
from gpupool.rpc.agent import AgentClient

LOG = logging.getLogger(__name__)
VERSION = importlib.metadata.version("gpupool")
# Seconds at least between two messages to the leader that the queue has changed: each has all conductors
# read it, and the leader decides about all that waits, not about one claim.
_BELL_PAUSE = 0.2
# So many times the seconds between two looks at hosts count at most as their silence.
_LOOKS = 2


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
        self._leader = Leader(conf, database.place)
        self._others = rpc.ConductorClient(transport)
        self._queue_changed = threading.Event()
        self._queue = Periodic("queue", self.tick, settings.queue_interval)
        self._bell = Periodic("bell", self._tell_leader, settings.queue_interval, _BELL_PAUSE)
        self._clock = Periodic("clock", self.watch, settings.queue_interval)
        self._reconciler = Periodic("reconciler", self.reconcile, settings.reconcile_interval)
        self._transport = transport
        self._server: oslo_messaging.MessageHandlingServer | None = None
        database.clock.settle = settings.clock_settle
        self._silence = Silence(database.clock, settings.host_timeout, _LOOKS * settings.queue_interval)
        inventory = Inventory(ProviderTree(placement), settings.reconcile_devices)
        self.parts = Parts(
            conf=conf,
            database=database,
            placement=placement,
            allocations=Allocations(placement, inventory.granting),
            inventory=inventory,
            limits=limits.from_conf(conf),
            left=Left(),
            reported=Reported(database, settings.host_timeout),
            tenure=Tenure(database.clock),
            audit=Turns(settings.reconcile_devices),
            agents=AgentClient(transport),
            notifier=ClaimNotifier(conf),
            views=Views(database, inventory, conf),
            wake_queue=self._wake,
            wake_here=self._wake_here,
        )
        self._served = queue.Queue(self.parts)

    def start(self) -> None:
        """Begin to serve; raises Unavailable when the database is not there or not of this version."""
        self.parts.database.check()
        self._leader.start()
        self.parts.commit(pools.create_default)
        target = oslo_messaging.Target(topic=rpc.TOPIC, version=rpc.VERSION, server=socket.gethostname())
        self._server = rpc_transport.get_server(self._transport, target, [ConductorManager(self.parts)])
        self._server.start()
        self._bell.start()
        self._clock.start()
        self._queue.start()
        self._reconciler.start()
        LOG.info("conductor of %s serves, version %s", self.parts.database.place, VERSION)

    def stop(self) -> None:
        """Finish what is being done and serve no more; what waits stays in queue and database."""
        if self._server:
            self._server.stop()
            self._server.wait()
        self._bell.stop()
        self._clock.stop()
        self._served.nudge()
        self._queue.stop()
        self._served.close()
        # What the bell was about to tell, and what the queue's last run left.
        self._tell_leader()
        self._reconciler.stop()
        self._leader.stop()

    def tick(self) -> None:
        """Do once what the queue's thread does: Placement's news, and the queue, if it leads."""
        leads = self._leader.leads()
        self._served.hush()
        with isolated("what reports left is not settled now"):
            if settling.settle(self.parts, self._served.under_way()) and leads:
                self._queue.wake()
        if leads:
            self._served.serve()
        else:
            self._served.rest()

    def watch(self) -> None:
        """Do once what is due by the clock, in a thread that waits for nobody: Placement may hang."""
        self.parts.database.follow_clock()
        with isolated("leases are not ended now"):
            claims.expire(self.parts)
        hosts.mark_silent(self.parts, self._silence)

    def reconcile(self) -> None:
        """Do once what the reconciler's thread does, if this conductor leads."""
        if self._leader.led:
            reconciler.reconcile(self.parts)

    def _wake(self) -> None:
        """Have the queue looked at by the conductor that serves it."""
        self._queue_changed.set()
        self._wake_here()
        self._bell.wake()

    def _wake_here(self) -> None:
        # In this order: a run that begins in between forgets the nudge only to look itself.
        self._served.nudge()
        self._queue.wake()

    def _tell_leader(self) -> None:
        """Pass on that the queue has changed, once for all changes since the last time.

        In a thread of its own: that of the queue may be waiting for Placement.
        """
        if not self._queue_changed.is_set():
            return
        self._queue_changed.clear()
        if self._leader.led:
            return
        try:
            self._others.wake_queue(context.detached())
        except oslo_messaging.MessagingException as exc:
            LOG.warning("the leader is not told that the queue has changed: %s", exc)
