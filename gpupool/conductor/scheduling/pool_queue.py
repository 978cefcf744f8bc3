"""The queue of one pool: what waits and runs in it, what is decided about that, and what Placement says.

The decisions are the allocator's (``gpupool.allocator.scheduling``); here is what they are made from,
and what is done about them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from gpupool.allocator import elastic
from gpupool.allocator.demand import Demand
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.mix import Mix
from gpupool.allocator.policies import make
from gpupool.allocator.policy import Policy
from gpupool.allocator.scheduling import Grow, Preempt, QueueRules, Scheduler, Start
from gpupool.allocator.view import PoolView
from gpupool.allocator.waits import Wait
from gpupool.conductor.capacity.pool_views import Views
from gpupool.conductor.claims import preemption, resizing
from gpupool.conductor.claims.binding import TAKEN
from gpupool.conductor.isolation import isolated
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.scheduling import consumption, occupants
from gpupool.conductor.scheduling.batches import Batches, Decided
from gpupool.conductor.scheduling.consumption import Accounts
from gpupool.conductor.scheduling.cooldown import Cooldown
from gpupool.conductor.scheduling.occupants import Occupants
from gpupool.conductor.scheduling.waiting import QueueState, WaitReasons
from gpupool.conductor.tenure import Tenure
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import claims, hosts, sessions, vgpus
from gpupool.model.claim import Claim
from gpupool.model.clock import Clock
from gpupool.model.pool import Pool
from gpupool.model.reason import Reason
from gpupool.model.states import HOLDING, ClaimState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.allocations import Allocations

# Seconds for which a claim that could not grow, as its project may have no more, is left alone.
_FULL = 60.0


class PoolQueue:
    """The queue of one pool: what waits and runs in it, and what was decided about that."""

    def __init__(
        self,
        pool: Pool,
        *,
        transactions: Transactions,
        views: Views,
        allocations: Allocations,
        inventory: Inventory,
        tenure: Tenure,
    ) -> None:
        self._pool, self._transactions, self._conf = pool, transactions, transactions.conf
        self._clock, self._views = transactions.clock, views
        self._allocations, self._inventory = allocations, inventory
        self._occupants = Occupants(transactions.conf, transactions.clock, tenure)
        self.scheduler = self._new_scheduler()
        self._mix, self._mixed = self._first_mix()
        self.policy: Policy = make(pool.policy, self._mix)
        # Claims that wait or hold something, by id, as they were read last; and their generations, less
        # those of claims that are to be read again.
        self.claims: dict[str, Claim] = {}
        self._generations: dict[str, int] = {}
        self._steps = self._clock.steps
        self._cooldown = Cooldown()
        self._wait_reasons = WaitReasons(self._clock, views, pool.id)
        self._accounts: Accounts | None = None
        # Of elastic claims: the vGPUs that sessions use, and since when each is there.
        self._used: dict[str, set[str]] = {}
        self._since: dict[str, dict[str, float]] = {}

    def _new_scheduler(self) -> Scheduler:
        return Scheduler(self._rules())

    def _rules(self) -> QueueRules:
        """Return how the queue decides: what is said of a project goes before what its pool says."""
        settings, own = self._conf.queue, self._pool.min_run_time
        return QueueRules(
            backfill=settings.backfill,
            reservations=settings.reservations,
            min_run_time=settings.min_run_time if own is None else own,
            min_run_times=settings.project_min_run_times,
            ageing=settings.ageing,
        )

    def begin(self, pool: Pool, batches: Batches) -> bool:
        """Decide, and begin to do it; return whether something could not be begun now."""
        if pool.policy != self._pool.policy:
            self.policy = make(pool.policy, self._mix)
        self._pool = pool
        self.scheduler.rules = self._rules()
        now = self._clock.monotonic()
        for claim_id in self._cooldown.expire(now, self._inventory.writes):
            # Read again, as it may grow.
            self._generations.pop(claim_id, None)
        # By what was so since the last pass, before that is read anew; at first there is nothing better.
        if self._accounts is not None:
            self._charge(self._accounts, now)
        self.look()
        if self._accounts is None:
            self._accounts = Accounts(self._transactions, self._pool.id)
            self._charge(self._accounts, now)
        if not len(self.scheduler.line) and not self.scheduler.elastic.may_grow():
            return False
        view, decided = self._decide(now)
        return self._do(view, decided, batches)

    def rest(self) -> None:
        """Forget what projects had: another conductor charges them."""
        self._accounts = None

    def _charge(self, accounts: Accounts, now: float) -> None:
        """Charge projects for the time up to ``now``."""
        with self._views.lock:
            accounts.charge(self.scheduler, now)
        with isolated("what projects had is not written now"):
            accounts.keep(now)

    def _decide(self, now: float) -> tuple[PoolView, list[Decided | Preempt]]:
        """Return the view, out of which is taken what starts, and what was decided."""
        shares = self._shares
        with self._views.lock:
            view = self._views.of(self._pool.id)
            held = self._cooldown.devices() & view.device_index.keys()
            view.hold(held)
            try:
                return view, self.scheduler.decide(view, shares, self.policy, now, wall(self._clock))
            except Exception:
                # It is not known what the pass had taken out of the view: all is read anew.
                self._views.forget(self._pool.id)
                self.scheduler, self.claims = self._new_scheduler(), {}
                self._generations = {}
                raise
            finally:
                view.hold(held, held=False)

    def look(self) -> None:
        """Read what waits and what holds something, as far as it has changed."""
        if self._steps != self._clock.steps:
            # Leases end sooner or later than was thought.
            self._generations, self._steps = {}, self._clock.steps
        states = [ClaimState.QUEUED, *HOLDING]
        with self._transactions.reader() as session:
            generations = claims.generations(session, self._pool.id, states)
            elastic_ids = self.scheduler.elastic.ids()
            used = sessions.used(session, elastic_ids) if elastic_ids else {}
            for claim_id in elastic_ids:
                if used.get(claim_id) != self._used.get(claim_id):
                    self._generations.pop(claim_id, None)
            changed = [each for each, _ in generations.items() - self._generations.items()]
            fresh = claims.list_(session, {"id": changed}) if changed else []
            held = vgpus.list_(session, {"claim_id": changed}) if changed else []
            programs = {claim.program_host_id for claim in fresh if claim.program_host_id}
            named = hosts.names(session, programs | {vgpu.host_id for vgpu in held})
        for claim_id in self.claims.keys() - generations.keys():
            self.scheduler.forget(claim_id)
            self._wait_reasons.forget(claim_id)
            del self.claims[claim_id]
            self._since.pop(claim_id, None)
        self._mixed &= generations.keys()
        rows: dict[str, list[Vgpu]] = {}
        for vgpu in held:
            rows.setdefault(vgpu.claim_id, []).append(vgpu)
        for claim in sorted(fresh, key=lambda each: (each.created_at or datetime.min, each.id)):
            self.claims[claim.id] = claim
            self._add_to_mix(claim)
            if claim.state == ClaimState.QUEUED:
                self.scheduler.wait(occupants.waiting(claim))
            else:
                self._run(claim, rows.get(claim.id, []), named, used.get(claim.id, set()))
        self._generations, self._used = generations, used

    def _run(
        self, claim: Claim, rows: Sequence[Vgpu], named: Mapping[str, str], used: Collection[str]
    ) -> None:
        """Tell the scheduler of a claim that holds something."""
        now = self._clock.monotonic()
        before = self._since.pop(claim.id, None)
        if claim.min_count is not None:
            # What came while this conductor looked came now; else there is the database's moment.
            self._since[claim.id] = {
                each.id: now
                if before is not None and each.id not in before
                else (before or {}).get(each.id, min(self._at(each.created_at, now), now))
                for each in rows
            }
        held = occupants.Held(
            vgpus=rows,
            hosts=named,
            used=used,
            since=self._since.get(claim.id, {}),
            may_grow=not self._cooldown.is_full(claim.id),
        )
        self.scheduler.run(*self._occupants.running(claim, held))

    def _at(self, moment: datetime | None, now: float) -> float:
        return now if moment is None else self._clock.at(moment)

    @property
    def _shares(self) -> FairShare:
        """What projects had of this pool, up to the last pass."""
        if self._accounts is None:
            raise RuntimeError("the queue was not served yet")
        return self._accounts.shares

    def _first_mix(self) -> tuple[Mix, set[str]]:
        """Return the mix of the pool's newest claims, and which claims are in it."""
        window = self._conf.allocator.mix_window
        with self._transactions.reader() as session:
            newest = claims.list_(
                session, {"pool_id": self._pool.id}, [("created_at", "desc")], limit=window
            )
        ordered = [Demand.of(claim) for claim in reversed(newest)]
        return Mix(ordered, window), {claim.id for claim in newest}

    def _add_to_mix(self, claim: Claim) -> None:
        if claim.id not in self._mixed:
            self._mixed.add(claim.id)
            self._mix.add(Demand.of(claim))

    def _do(self, view: PoolView, decided: Iterable[Decided | Preempt], batches: Batches) -> bool:
        """Begin to do what was decided; return whether something of it could not be begun now.

        What is on hosts of a batch that is under way is decided about again when that has ended.
        Whatever ends this, the scheduler does not go on believing in what was not begun. What becomes of
        the rest stands in the database.
        """
        starts: list[Decided] = [each for each in decided if isinstance(each, Start)]
        grows: list[Decided] = [each for each in decided if isinstance(each, Grow)]
        victims = [
            (victim, each.claim_id)
            for each in decided
            if isinstance(each, Preempt)
            for victim in each.victims
        ]
        open_ = {each.claim_id for each in (*starts, *grows)}
        full: set[str] = set()
        try:
            self._make_room(victims)
            for of_kind in (starts, grows):
                for batch in batches.split(of_kind):
                    lost = batches.begin(self._pool.id, batch)
                    open_ -= {each.claim_id for each in batch} - lost
                    full |= lost if of_kind is grows else set()
        finally:
            self._take_back(view, [each for each in (*starts, *grows) if each.claim_id in open_])
        self._cooldown.keep_full(full, self._clock.monotonic() + _FULL)
        # Nobody waits for one that could have grown.
        return bool(open_ - {each.claim_id for each in grows})

    def _make_room(self, victims: Sequence[tuple[str, str]]) -> None:
        """Take claims apart, or vGPUs from elastic ones, each for one that waits."""
        chosen: dict[tuple[str, str], set[str]] = defaultdict(set)
        whole = {name for name, _ in victims}
        for name, waiting_id in victims:
            claim_id, vgpu_id = occupants.vgpu_of(name)
            if vgpu_id is None:
                chosen[claim_id, waiting_id] = set()
            elif claim_id not in whole:
                chosen[claim_id, waiting_id].add(vgpu_id)
        pairs = {each: (self.claims[each[0]], self.claims[each[1]]) for each in chosen}
        for victim, _ in pairs.values():
            # Whatever becomes of it is read again.
            self._generations.pop(victim.id, None)
        for each, (victim, waiting) in pairs.items():
            with isolated(f"claim {victim.id} does not make room now"):
                if chosen[each]:
                    self._transactions.commit(resizing.shrink, victim, chosen[each], waiting)
                else:
                    self._transactions.commit(preemption.preempt, victim, waiting)

    def _take_back(self, view: PoolView, starts: Iterable[Decided]) -> None:
        """Undo in view and scheduler what was decided and is not so."""
        with self._views.lock:
            for each in starts:
                # Whatever became of it is read again.
                claim = self.claims.pop(each.claim_id)
                self._generations.pop(each.claim_id, None)
                self.scheduler.forget(each.claim_id)
                demand = Demand.of(claim)
                view.give(elastic.one_of(demand) if isinstance(each, Grow) else demand, each.plan)
                places = [view.device_index[device_id] for device_id in each.plan.device_ids]
                self._views.invalidate({view.hosts[host] for host, _ in places})

    def learn(self, refused: Decided, said: str, learnt: set[str]) -> None:
        """Learn from Placement what others hold of the devices that it refused; add to ``learnt``."""
        # Not longer: it may be about to be written, as a device that was just enabled.
        until = self._clock.monotonic() + self._conf.conductor.queue_interval
        reason = Reason(TAKEN.text, f"Placement refused: {said}")
        self._cooldown.explain(refused.claim_id, reason, until)
        for device_id in set(refused.plan.device_ids) - learnt:
            learnt.add(device_id)
            held = self._allocations.allocations_of(device_id)
            with self._transactions.reader() as session:
                own = vgpus.consumers(session, device_id)
            foreign = {consumer: each for consumer, each in held.items() if consumer not in own}
            if not self._inventory.saw_foreign(device_id, foreign):
                # It was not room that was wanting: the device is reserved there, or gone.
                self._cooldown.refuse(device_id, until, self._inventory.writes(device_id))

    def publish_reasons(self) -> None:
        """Write why claims wait, where that is news."""
        if self._accounts is None or not len(self.scheduler.line):
            return
        refused = self._cooldown.reasons()
        state = QueueState(self.scheduler, self.claims, self._shares, self.policy, refused)
        if news := self._wait_reasons.news(state):
            self._transactions.commit(_note, news)

    def moment(self, wait: Wait) -> datetime | None:
        """Return when a claim that waits starts at latest."""
        return None if wait.starts_at is None else self._clock.moment(wait.starts_at)


def _note(transaction: Transaction, news: Mapping[Reason, Collection[str]]) -> None:
    """Write why claims wait, those of the same reason together."""
    for reason in sorted(news):
        claims.note_queued(transaction.session, news[reason], reason)


def wall(clock: Clock) -> float:
    """Return the time by the clock that claims' ``created_at`` is of."""
    return consumption.seconds(clock.now())
