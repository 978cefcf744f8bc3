"""A running conductor: its RPC servers and its threads."""

import logging
import socket
from collections.abc import Callable
from functools import partial

import oslo_messaging
from oslo_config import cfg

from gpupool.conductor.assembly import Assembly
from gpupool.conductor.claims import expiry, lost_devices
from gpupool.conductor.heartbeat import Heartbeat
from gpupool.conductor.hosts import hosts, pools, unapplied
from gpupool.conductor.isolation import isolated
from gpupool.conductor.periodic import Periodic
from gpupool.conductor.silence import Silence
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.service import VERSION
from gpupool.placement.client import PlacementClient
from gpupool.rpc import conductor as rpc
from gpupool.rpc import reports as rpc_reports
from gpupool.rpc import transport as rpc_transport
from gpupool.rpc.server import Server

LOG = logging.getLogger(__name__)
# So many times the seconds between two looks at the database count at most as silence, or as a loss.
_LOOKS = 2
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
        database.clock.settle = settings.clock_settle
        self._database = database
        self.assembly = made = Assembly(conf, database, placement, transport)
        interval = settings.queue_interval
        self._queue = Periodic("queue", partial(self._try, self.tick), interval)
        self._outbox = Periodic("outbox", partial(self._try, self.flush), interval)
        self._clock = Periodic("clock", partial(self._try, self.watch), interval)
        repair = partial(self._try, self.reconcile)
        self._reconciler = Periodic("reconciler", repair, settings.reconcile_interval)
        self._leading = Periodic("leading", self.lead, _LEAD_INTERVAL)
        most = _LOOKS * interval
        self._silence = Silence(database.clock, settings.host_timeout, most)
        self._lost = Silence(database.clock, settings.device_lost_timeout, most)
        self._unapplied = Silence(database.clock, settings.apply_timeout, most)
        self._heartbeat = Heartbeat(
            conductor_id=made.id,
            database=database,
            dependencies=made.dependencies,
            peers=made.peers,
            leads=lambda: made.leader.led,
            on_gone=self._queue.wake,
        )
        made.leader_notifier.on_notify(self._wake)
        made.dependencies.on_return(self._is_back)
        self._servers = self._make_servers(transport)

    def _make_servers(self, transport: oslo_messaging.Transport) -> tuple[Server, Server]:
        """Return what serves agents, and what serves API and other conductors."""
        here = socket.gethostname()
        of_agents = rpc_transport.agents_target(transport, rpc_reports.TOPIC, server=here)
        of_api = oslo_messaging.Target(topic=rpc.TOPIC, server=here)
        serves = self.assembly.dependencies.messages.start
        return (
            Server(transport, of_agents, self.assembly.agent_endpoints()),
            Server(transport, of_api, self.assembly.api_endpoints(), serves),
        )

    def start(self) -> None:
        """Begin to serve; raises Unavailable when the database is not there or not of this version.

        Returns also while the broker is away: messages are served as soon as it is there.
        """
        made = self.assembly
        self._database.check()
        self._heartbeat.beat()
        made.transactions.commit(pools.create_default)
        # Operators give the first key to agents before one of them asks for it.
        made.keys.public()
        made.dependencies.start()
        for server in self._servers:
            server.start(_PATIENCE)
        for each in (self._heartbeat, self._leading, self._clock, self._outbox, self._queue):
            each.start()
        self._reconciler.start()
        LOG.info("conductor %s of %s serves, version %s", made.id, self._database.place, VERSION)

    def stop(self) -> None:
        """Finish what is being done and serve no more; what waits stays in queue and database.

        The lead goes first, so that another takes it meanwhile.
        """
        made = self.assembly
        made.dependencies.stop()
        self._leading.stop(_PATIENCE)
        made.leader.stop()
        for server in self._servers:
            server.stop(_PATIENCE)
        self._clock.stop()
        made.queue.notify()
        self._queue.stop()
        made.queue.close()
        self._outbox.stop()
        self._reconciler.stop()
        self._heartbeat.stop()
        for sender in (made.leader_notifier, made.looks, made.claim_notifier):
            sender.stop(_PATIENCE)

    def lead(self) -> None:
        """Do once what the leadership's thread does: lead if nothing is missing and nobody else does."""
        leader = self.assembly.leader
        led = leader.led
        if leader.leads(self.assembly.dependencies.missing()) and not led:
            self._wake()

    def flush(self) -> None:
        """Do once what the outbox's thread does: tell Placement what reports and operators left."""
        with isolated("what reports left is not flushed now"):
            self.assembly.flush.flush(self.assembly.queue.under_way)

    def tick(self) -> None:
        """Do once what the queue's thread does, if it leads: the queue; what was left allocating."""
        made = self.assembly
        leads = made.leader.led
        made.queue.clear()
        if made.dependencies.answer():
            with isolated("what was left allocating is ended later"):
                made.abandoned.end(made.queue.under_way(), leads)
        if not leads:
            made.queue.rest()
        elif made.queue.serve():
            self._queue.wake()
        if not made.outbox.is_empty():
            # It may have waited for what Placement has answered by now.
            self._outbox.wake()

    def watch(self) -> None:
        """Do once what is due by the clock, in a thread that waits for nobody: Placement may hang."""
        made = self.assembly
        if not made.dependencies.listens():
            # Hosts are not silent if nobody listens: after an outage it is counted anew.
            self._silence.forget()
            self._lost.forget()
            self._unapplied.forget()
        if not made.dependencies.database.answers():
            return
        self._database.follow_clock()
        with isolated("leases are not ended now"):
            expiry.expire(made.transactions, made.tenure)
        if made.dependencies.listens():
            hosts.mark_silent(made.transactions, self._silence)
            lost_devices.end_claims(made.transactions, self._lost)
            unapplied.close_hosts(made.transactions, made.outbox, made.leader_notifier, self._unapplied)

    def reconcile(self) -> None:
        """Do once what the reconciler's thread does, if this conductor leads."""
        if self.assembly.leader.led:
            self.assembly.reconciler.reconcile()

    def _try(self, job: Callable[[], object]) -> None:
        """Do a job; by what of it fails for an outage that outage is known."""
        try:
            job()
        except errors.Unavailable as exc:
            self.assembly.dependencies.failed(exc)

    def _is_back(self) -> None:
        """Go on at once with what an outage held up."""
        self._leading.wake()
        self._clock.wake()
        self._wake()

    def _wake(self) -> None:
        # In this order: a run that begins in between forgets the notice only to look itself.
        self.assembly.queue.notify()
        self._queue.wake()
        self._outbox.wake()
