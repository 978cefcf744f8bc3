"""A conductor under test, and the real services around it; agents are simulated."""

import itertools
import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import oslo_messaging
from oslo_context.context import RequestContext

from gpupool import conf as gpupool_conf
from gpupool.allocator.demand import Demand
from gpupool.conductor.capacity import snapshot
from gpupool.conductor.claims import binding
from gpupool.conductor.hosts.pools import create_default
from gpupool.conductor.service import Conductor
from gpupool.db import claims, devices, hosts, moves, pools, vgpus
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.attachment import Attachment, AttachmentKind, AttachmentRequest
from gpupool.model.claim import Claim, ClaimRequest
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.move import Move
from gpupool.model.report import DesiredState, HostReport
from gpupool.model.states import ClaimState
from gpupool.model.vgpu import Vgpu
from gpupool.placement import names
from gpupool.placement.allocation import resources
from gpupool.placement.client import PlacementClient
from gpupool.rpc import conductor as rpc
from gpupool.rpc import reports as rpc_reports
from gpupool.rpc import transport as rpc_transport
from testbed.simulated_agent import SimulatedAgent
from tests.functional.conductor.clocks import SetClock

PROJECT = "project-1"


def new_conf(**conductor: object) -> Any:
    """Return a configuration whose in-process exchange no other test shares."""
    conf = gpupool_conf.new(files=[])
    conf.set_override("clock_settle", 0, group="conductor")
    for name, value in conductor.items():
        conf.set_override(name, value, group="conductor")
    if "admit_hosts" not in conductor:
        conf.set_override("admit_hosts", "automatic", group="conductor")
    oslo_messaging.set_transport_defaults(f"test-{uuid.uuid4()}")
    transport = rpc_transport.get_transport(conf)
    transport.conf.set_override("transport_url", "fake://")
    return conf


class Lab:
    """A conductor whose RPC end is served, and whose threads' work is done when the test says so."""

    def __init__(self, conf: Any, database: Database, placement: PlacementClient) -> None:
        self.conf = conf
        self.database = database
        if not isinstance(database.clock, SetClock):
            database.clock = SetClock()
        self.clock = database.clock
        self.transport = rpc_transport.get_transport(conf)
        self.conductor = Conductor(conf, database, placement, self.transport)
        self.made = self.conductor.assembly
        # What this conductor has begun and goes on with, until it is to ``abandon`` it.
        self._begun: list[str] = []
        self.made.transactions.commit(create_default)
        self.client = rpc.ConductorClient(self.transport, timeout=60)
        self.ctxt = RequestContext(project_id=PROJECT, user_id="user-1")
        of_agents = rpc_transport.agents_target(self.transport, rpc_reports.TOPIC, server="test")
        self._servers = [
            rpc_transport.get_server(self.transport, target, endpoints)
            for target, endpoints in (
                (oslo_messaging.Target(topic=rpc.TOPIC, server="test"), self.made.api_endpoints()),
                (of_agents, self.made.agent_endpoints()),
            )
        ]
        for server in self._servers:
            server.start()

    def another(self) -> "Lab":
        """Return another conductor of the same services; no message reaches it."""
        other = Lab(self.conf, self.database, self.made.placement)
        other.close()
        return other

    def begin(self, name: str) -> None:
        """Let this conductor go on with something until it is to ``abandon`` it."""
        self._begun.append(name)
        self.made.under_way.begin([name])

    def abandon(self, *names: str) -> None:
        """Let nobody go on with what this conductor has begun, as if it had been killed."""
        self.made.under_way.end([*self._begun, *names])
        self._begun = []

    def close(self) -> None:
        for server in self._servers:
            server.stop()
            # It notices within a second, during which other tests may run.
            threading.Thread(target=server.wait, daemon=True).start()

    def agent(self, **kwargs: Any) -> SimulatedAgent:
        """Return a host of two devices that has reported."""
        agent = SimulatedAgent(self.transport, f"host-{uuid.uuid4().hex[:8]}", **kwargs)
        self.look(agent)
        return agent

    def create(self, **wishes: Any) -> Claim:
        """Return a new claim, by default for 25 % and 512 MiB."""
        request = ClaimRequest(**{"compute": 25, "memory_mib": 512, **wishes})
        return self.client.create_claim(self.ctxt, str(uuid.uuid4()), request)

    def bound(self, agent: SimulatedAgent, **wishes: Any) -> Claim:
        """Return a claim bound on the host of ``agent``."""
        claim = self.create(**wishes)
        self.serve()
        self.look(agent)
        return self.claim(claim)

    def choice(self, claim: Claim, *device_ids: str) -> binding.Choice:
        """Return the choice of a device for each vGPU of a claim."""
        with self.database.reader() as session:
            on = devices.list_(session, {"id": device_ids})
            host = hosts.get(session, on[0].host_id).name if on else None
        shares = Demand.of(claim).shares(device_ids)
        return binding.Choice(claim_id=claim.id, shares=shares, host=host)

    def bind(self, claims: Sequence[Claim], device_id: str) -> dict[str, errors.GpupoolError]:
        """Bind claims for one vGPU to a device, whatever the queue decides; return by id why not."""
        made = self.made.binding.reserve([self.choice(claim, device_id) for claim in claims])
        return {**made.lost, **self.made.binding.allocate(made.planned)}

    def attach(self, claim: Claim) -> Attachment:
        """Return a new attachment of a claim for processes."""
        request = AttachmentRequest(claim_id=claim.id, kind=AttachmentKind.PROCESS)
        return self.client.create_attachment(self.ctxt, str(uuid.uuid4()), request)

    def release(self, claim: Claim) -> Claim:
        return self.client.release_claim(self.ctxt, claim.id)

    def take(self, report: HostReport) -> DesiredState:
        """Take a report as the host's in this very conductor, whoever says so."""
        return self.made.reports.take(report).desired

    def serve(self) -> None:
        self.conductor.watch()
        self.conductor.flush()
        self.conductor.tick()

    def serve_all(self) -> None:
        """Serve until nothing is under way: what happens meanwhile has one run return before that."""
        self.serve()
        while self.made.queue.under_way():
            self.conductor.flush()
            self.conductor.tick()

    def silence(self, agent: SimulatedAgent) -> None:
        """Count ``host_timeout`` seconds of a host's silence in this conductor."""
        host = self.host(agent)
        counted = host.last_seen_at, float(self.conf.conductor.host_timeout)
        self.conductor._silence._counted[host.id] = counted

    def reconcile(self) -> None:
        self.conductor.reconcile()

    def look(self, *agents: SimulatedAgent) -> None:
        """Let agents report and converge, and the conductor do what that leaves."""
        for agent in agents:
            agent.look()
        self.serve()

    def settle(self, *agents: SimulatedAgent) -> None:
        """Let everybody do all there is to do."""
        self.reconcile()
        for _ in range(3):
            self.serve()
            self.look(*agents)

    def claim(self, claim: Claim) -> Claim:
        with self.database.reader() as session:
            return claims.get(session, claim.id)

    def host(self, agent: SimulatedAgent) -> Host:
        with self.database.reader() as session:
            return hosts.get_by_name(session, agent.host)

    def devices(self, agent: SimulatedAgent) -> list[Device]:
        """Return the devices of a host, by key."""
        host = self.host(agent)
        with self.database.reader() as session:
            return devices.list_(session, {"host_id": host.id}, sort=[("key", "asc")])

    def vgpus(self, **filters: object) -> list[Vgpu]:
        with self.database.reader() as session:
            return vgpus.list_(session, filters, sort=[("claim_id", "asc"), ("index", "asc")])

    def claim_state(self, claim_id: str) -> ClaimState:
        """Return the state of a claim."""
        with self.database.reader() as session:
            return claims.get(session, claim_id).state

    def moves(self) -> list[Move]:
        """Return the moves that are under way."""
        with self.database.reader() as session:
            return moves.list_(session)

    def instance_on(self, device_id: str, compute: int) -> str:
        """Allocate percent of a device in Placement as Nova does for an instance; return its id."""
        entry = {
            "allocations": {device_id: {"resources": {names.COMPUTE: compute}}},
            "project_id": "nova",
            "user_id": "nova",
            "consumer_type": "INSTANCE",
            "consumer_generation": None,
        }
        instance_id = str(uuid.uuid4())
        self.made.placement.set_allocations({instance_id: entry})
        return instance_id

    def reserve(self, device_id: str) -> None:
        """Reserve all of a device in Placement, as an operator does."""
        inventories, generation = self.made.placement.inventories(device_id)
        held = {name: replace(each, reserved=each.total) for name, each in inventories.items()}
        self.made.placement.set_inventories(device_id, held, generation)

    def allocated(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return amounts by class by device by consumer: all that Placement holds on known devices."""
        with self.database.reader() as session:
            device_ids = [device.id for device in devices.list_(session)]
        found: dict[str, dict[str, dict[str, int]]] = {}
        for device_id in device_ids:
            for consumer, amounts in self.made.allocations.allocations_of(device_id).items():
                found.setdefault(consumer, {})[device_id] = amounts
        return found

    def check_books(self, agents: Sequence[SimulatedAgent] = ()) -> None:
        """View = database = Placement = hosts, and no device over its capacity."""
        rows = self.vgpus()
        held = self.allocated()
        with self.database.reader() as session:
            moved = {move.id: resources(move.share) for move in moves.list_(session)}
        assert held == {row.id: resources(row.share) for row in rows} | moved
        if agents:
            hosted = {vgpu_id for agent in agents for vgpu_id in agent.vgpus}
            assert hosted == {row.id for row in rows}
        with self.database.reader() as session:
            of_pools = [
                snapshot.capacities(session, pool.id, self.made.inventory, self.conf)
                for pool in pools.list_(session)
            ]
        for seen in (device for host in itertools.chain(*of_pools) for device in host.devices):
            amounts = [each[seen.device_id] for each in held.values() if seen.device_id in each]
            compute = sum(each[names.COMPUTE] for each in amounts)
            memory_mib = sum(each[names.MEMORY_MIB] for each in amounts)
            assert compute == seen.compute_granted <= seen.compute_limit
            assert memory_mib == seen.memory_granted <= seen.memory_limit
