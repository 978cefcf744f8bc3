"""What a conductor is made of: everything is made here once, and given only what it uses."""

import uuid
from functools import partial

import oslo_messaging
from oslo_config import cfg

from gpupool.conductor.capacity.pool_views import Views
from gpupool.conductor.claims import limits
from gpupool.conductor.claims.abandoned import Abandoned
from gpupool.conductor.claims.adopting import Adopting
from gpupool.conductor.claims.binding import Binding
from gpupool.conductor.claims.lifecycle import Claims
from gpupool.conductor.claims.moving import Moving
from gpupool.conductor.claims.profiles import Profiles
from gpupool.conductor.claims.quota import Quotas
from gpupool.conductor.claims.releasing import Releasing
from gpupool.conductor.claims.resizing import Resizing
from gpupool.conductor.dependencies import Dependencies
from gpupool.conductor.hosts.devices import Devices
from gpupool.conductor.hosts.hosts import Hosts
from gpupool.conductor.hosts.pools import Pools
from gpupool.conductor.hosts.report_cache import ReportCache
from gpupool.conductor.hosts.report_rates import ReportRates
from gpupool.conductor.hosts.reports import Reports
from gpupool.conductor.hosts.signed_reports import SignedReports
from gpupool.conductor.leader import Leader
from gpupool.conductor.leader_notifier import LeaderNotifier
from gpupool.conductor.looks import Looks
from gpupool.conductor.manager import ClaimsManager, HostsManager, PoolsManager, ReportsManager
from gpupool.conductor.notifications import ClaimNotifier
from gpupool.conductor.peers import Peers
from gpupool.conductor.providers.flush import Flush
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.providers.outbox import Outbox
from gpupool.conductor.repairs import services
from gpupool.conductor.repairs.audit import Audit
from gpupool.conductor.repairs.claims import ClaimRepairs
from gpupool.conductor.repairs.providers import ProviderRepairs
from gpupool.conductor.repairs.reconciler import Reconciler, Repair
from gpupool.conductor.rotation import Rotation
from gpupool.conductor.scheduling.batches import Batches
from gpupool.conductor.scheduling.defragmenting import Defragmenting
from gpupool.conductor.scheduling.pool_queue import PoolQueue
from gpupool.conductor.scheduling.queue import Queue
from gpupool.conductor.scheduling.queue_listing import QueueListing
from gpupool.conductor.signing_keys import ConductorKeys
from gpupool.conductor.tenure import Tenure
from gpupool.conductor.transaction import Transactions
from gpupool.conductor.under_way import UnderWay
from gpupool.db.api import Database
from gpupool.placement.allocations import Allocations
from gpupool.placement.client import PlacementClient
from gpupool.placement.provider_tree import ProviderTree
from gpupool.rpc import conductor as rpc
from gpupool.rpc.agent import AgentClient


class Assembly:
    """The collaborators of one conductor, for its service alone: nothing that it makes knows it."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        database: Database,
        placement: PlacementClient,
        transport: oslo_messaging.Transport,
    ) -> None:
        self.conf, self.database, self.placement = conf, database, placement
        self.id = str(uuid.uuid4())
        conductors = rpc.ConductorClient(transport)
        self.leader = Leader(conf, database.place)
        self.leader_notifier = LeaderNotifier(self.leader, conductors)
        self.dependencies = Dependencies(database, placement, conductors, database.clock.monotonic)
        self.peers = Peers()
        self.under_way = UnderWay(self.id, self.peers)
        self.tenure = Tenure(database.clock)
        self.keys = ConductorKeys(database)
        self.looks = Looks(self.keys, AgentClient(transport))
        self.claim_notifier = ClaimNotifier(conf)
        self.transactions = Transactions(
            self.id,
            database,
            conf,
            notifier=self.claim_notifier,
            looks=self.looks,
            wake_queue=self.leader_notifier.notify,
        )
        self._make_providers()
        self._make_claims()
        self._make_hosts()
        self._make_scheduling()
        self._make_repairs()

    def _make_providers(self) -> None:
        most = self.conf.conductor.reconcile_devices
        self.inventory = Inventory(ProviderTree(self.placement), most)
        self.allocations = Allocations(self.placement, self.inventory.granting)
        self.outbox = Outbox()
        # The devices that are compared with Placement next.
        self.rotation = Rotation(most)
        self.views = Views(self.database, self.inventory, self.conf)

    def _make_claims(self) -> None:
        transactions, allocations, inventory = self.transactions, self.allocations, self.inventory
        self.limits = limits.from_conf(self.conf)
        self.quotas = Quotas(transactions, self.limits)
        self.claims = Claims(transactions, self.limits, self.placement, inventory, self.views)
        self.adopting = Adopting(transactions, self.claims, self.limits, allocations, inventory)
        self.profiles = Profiles(transactions, self.placement)
        self.releasing = Releasing(transactions, allocations, self.rotation)
        self.binding = Binding(
            transactions=transactions,
            allocations=allocations,
            inventory=inventory,
            quotas=self.quotas,
            releasing=self.releasing,
            audit=self.rotation,
        )
        self.resizing = Resizing(
            transactions=transactions,
            allocations=allocations,
            inventory=inventory,
            quotas=self.quotas,
            releasing=self.releasing,
            under_way=self.under_way,
        )
        self.moving = Moving(
            transactions=transactions,
            allocations=allocations,
            inventory=inventory,
            under_way=self.under_way,
            audit=self.rotation,
        )
        self.abandoned = Abandoned(transactions, allocations, self.binding, self.peers)

    def _make_hosts(self) -> None:
        transactions, inventory = self.transactions, self.inventory
        settings, outbox, notifier = self.conf.conductor, self.outbox, self.leader_notifier
        self.hosts = Hosts(transactions, inventory, outbox, notifier)
        self.devices = Devices(transactions, inventory, outbox, notifier)
        self.pools = Pools(transactions, outbox, notifier)
        self.cache = ReportCache(self.database, settings.host_timeout)
        self.rates = ReportRates(self.database.clock, settings.max_reports_per_second)
        self.reports = Reports(transactions, inventory, self.cache, outbox, notifier)
        self.signed_reports = SignedReports(
            transactions, self.keys, self.rates, self.cache, self.reports
        )
        self.flush = Flush(
            transactions=transactions,
            dependencies=self.dependencies,
            inventory=inventory,
            outbox=outbox,
            notifier=notifier,
            drop=self.releasing.drop,
            end_moves=self.moving.end_arrived,
        )

    def _make_scheduling(self) -> None:
        pool_queue = partial(
            PoolQueue,
            transactions=self.transactions,
            views=self.views,
            allocations=self.allocations,
            inventory=self.inventory,
            tenure=self.tenure,
        )
        batches = Batches(self.binding, self.resizing)
        self.queue = Queue(self.transactions, self.dependencies, self.views, batches, pool_queue)
        self.listing = QueueListing(self.transactions, self.views, pool_queue)
        self.defragmenting = Defragmenting(self.transactions, self.views, self.moving)

    def _make_repairs(self) -> None:
        transactions, inventory = self.transactions, self.inventory
        self.claim_repairs = of_claims = ClaimRepairs(
            transactions, self.abandoned, self.resizing, self.releasing, self.under_way
        )
        of_providers = ProviderRepairs(transactions, inventory)
        audit = Audit(transactions, self.allocations, inventory, self.rotation)
        self.repairs = (
            Repair("claims left allocating", of_claims.end_allocating, asks_placement=True),
            Repair("claims left binding", of_claims.end_binding),
            Repair("moves", self.moving.end, asks_placement=True),
            Repair("claims left growing", of_claims.end_growing, asks_placement=True),
            Repair("claims left releasing", of_claims.end_releasing),
            Repair("leftovers of claims", of_claims.remove_leftovers),
            Repair("hosts that are down", of_claims.drop_from_down_hosts, asks_placement=True),
            Repair("health of claims", of_claims.write_health),
            Repair("providers", of_providers.compare, asks_placement=True),
            Repair("allocations", audit.compare, asks_placement=True),
            Repair("defragmentation", self.defragmenting.by_policy, asks_placement=True),
            Repair("services", partial(services.purge, self.database)),
        )
        self.reconciler = Reconciler(self.dependencies, self.repairs)

    def api_endpoints(self) -> list[object]:
        """Return what serves API and other conductors."""
        return [
            ClaimsManager(self.transactions, self.claims, self.adopting, self.quotas, self.profiles),
            HostsManager(self.transactions, self.hosts, self.devices, self.signed_reports),
            PoolsManager(
                transactions=self.transactions,
                pools=self.pools,
                listing=self.listing,
                defragmenting=self.defragmenting,
                notifier=self.leader_notifier,
                dependencies=self.dependencies,
            ),
        ]

    def agent_endpoints(self) -> list[object]:
        """Return what serves agents: all that their account of the message service reaches."""
        return [ReportsManager(self.transactions, self.keys, self.signed_reports)]
