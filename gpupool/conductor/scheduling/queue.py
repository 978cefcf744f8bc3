"""The queue of every pool: what waits is decided about in passes, and what starts is bound in batches.

The decisions are the allocator's (``gpupool.allocator.scheduling``); here is what they are made from,
and what is done about them. Placement has the last word: a claim it has no room for waits for the next
round of the pass, which knows more.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from gpupool.allocator import elastic
from gpupool.allocator.demand import Demand
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.mix import Mix
from gpupool.allocator.policies import make
from gpupool.allocator.policy import Policy
from gpupool.allocator.reasons import Reasons
from gpupool.allocator.scheduling import Grow, Preempt, QueueRules, Scheduler, Start
from gpupool.allocator.view import PoolView
from gpupool.allocator.waits import Wait
from gpupool.conductor.claims import preemption, resizing
from gpupool.conductor.claims.binding import TAKEN
from gpupool.conductor.context import Parts
from gpupool.conductor.isolation import isolated
from gpupool.conductor.scheduling import consumption, occupants
from gpupool.conductor.scheduling.batches import Batches, Decided, Refused
from gpupool.conductor.scheduling.consumption import Accounts
from gpupool.conductor.scheduling.waiting import Look, Teller
from gpupool.conductor.transaction import Transaction
from gpupool.db import claims, hosts, pools, sessions, vgpus
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.pool import Pool
from gpupool.model.queue import QueueEntry
from gpupool.model.reason import Reason
from gpupool.model.states import HOLDING, ClaimState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.errors import NoCapacity

# Rounds of one pass; each refusal by Placement teaches the next round something.
_ROUNDS = 8
# Seconds after which those who wait are told why again while there is more to decide.
_TELL_PAUSE = 1.0
# Seconds for which a claim that could not grow, as its project may have no more, is left alone.
_FULL = 60.0


class Queue:
    """The queues of all pools, as one conductor knows them. Used by one thread, but for ``nudge``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._batches = Batches(parts)
        self._pools: dict[str, _PoolQueue] = {}
        self._told = 0.0

    def serve(self) -> None:
        """Start what can start, in every pool; return when all of that has ended, or after a nudge.

        Stops early when Placement or the database is not there.
        """
        if not self._parts.dependencies.answer():
            return
        try:
            self._learn(self._batches.ended())
            with self._parts.database.reader() as session:
                known = pools.list_(session)
            self._pools = {pool.id: self._pools[pool.id] for pool in known if pool.id in self._pools}
            self._serve(known)
            self._tell()
        except errors.Unavailable as exc:
            self._parts.dependencies.failed(exc)
            self._batches.drain()
        else:
            self._parts.dependencies.worked()

    def _serve(self, known: Sequence[Pool]) -> None:
        todo = known
        for _ in range(_ROUNDS):
            begun, ends = time.monotonic(), self._batches.ends
            # Before the claims: the room of one that ends in between is seen later, and not twice.
            with isolated("the views are not read again now"):
                self._parts.views.refresh()
            left = {pool.id for pool in todo if self._begin(pool)}
            # The more there is to do, the longer claims gather: many in one batch cost less each.
            refused = self._batches.wait(ends if left else None, gather=time.monotonic() - begun)
            self._learn(refused)
            again = left | {each.pool_id for each in refused}
            todo = [pool for pool in known if pool.id in again]
            if not todo or self._batches.nudged:
                return
        if len(self._batches) or (self._batches.ends > ends and not refused):
            # Somebody has to see their end, or there may be room for what waited for it.
            self._parts.wake_here()

    def rest(self) -> None:
        """Forget what was refused: another conductor serves the queue."""
        self._batches.ended()
        for pool in self._pools.values():
            pool.rest()

    def hush(self) -> None:
        """Forget nudges, before whatever they were about is looked at."""
        self._batches.hush()

    def under_way(self) -> set[str]:
        """Return the claims about which Placement has not answered yet."""
        return self._batches.claim_ids()

    def nudge(self) -> None:
        """Interrupt ``serve``: there may be something to decide."""
        self._batches.nudge()

    def close(self) -> None:
        """Let end what is under way."""
        self._batches.close()

    def _begin(self, pool: Pool) -> bool:
        """Return whether something that was decided for a pool could not be begun now."""
        with isolated(f"the queue of pool {pool.name} is not served now"):
            if pool.id not in self._pools:
                self._pools[pool.id] = _PoolQueue(self._parts, pool)
            return self._pools[pool.id].begin(pool, self._batches)
        return False

    def _learn(self, refused: Sequence[Refused]) -> None:
        learnt: set[str] = set()
        for each in refused:
            pool = self._pools.get(each.pool_id)
            with isolated(f"what Placement refused claim {each.start.claim_id} is not known now"):
                if pool and isinstance(each.error, NoCapacity):
                    pool.learn(each.start, str(each.error), learnt)

    def _tell(self) -> None:
        """Write to waiting claims why they wait, unless that was just done and more is to decide."""
        now = time.monotonic()
        if len(self._batches) and now < self._told + _TELL_PAUSE:
            return
        self._told = now
        for pool in self._pools.values():
            with isolated("why claims wait is not written now"):
                pool.tell()


def show(parts: Parts, pool_id: str) -> list[QueueEntry]:
    """Return the claims that wait for a pool, in order; NotFound for a pool that does not exist.

    Whoever may read asks for it, and it costs as much as the queue is long: those who ask at once share.
    """
    with parts.database.reader() as session:
        pool = pools.get(session, pool_id)
    return parts.shown.get(pool_id, lambda: _entries(parts, pool))


def _entries(parts: Parts, pool: Pool) -> list[QueueEntry]:
    now = parts.clock.monotonic()
    queue = _PoolQueue(parts, pool)
    queue.look()
    # This conductor may not be the one that serves the queue, and reads views again when it does.
    parts.views.refresh()
    with parts.views.lock:
        view = parts.views.of(pool.id).fork()
    scheduler, shares = queue.scheduler, consumption.of_pool(parts, pool.id)
    # What it would decide, on a view of its own: so it tells for whom room will be kept, until when.
    scheduler.decide(view, shares, queue.policy, now, _wall(parts))
    reasons = scheduler.reasons(view)
    return [_entry(queue, each, reasons) for each in scheduler.waits(shares, now)]


def _entry(queue: "_PoolQueue", wait: Wait, reasons: Reasons) -> QueueEntry:
    claim = queue.claims[wait.claim_id]
    why = Reason(claim.state_reason, claim.state_detail) or reasons.of(claim.id)
    return QueueEntry(
        claim_id=claim.id,
        project_id=claim.project_id,
        position=wait.position,
        reason=why.text,
        detail=why.detail,
        starts_at=queue.moment(wait),
    )


class _PoolQueue:
    """The queue of one pool: what waits and runs in it, and what was decided about that."""

    def __init__(self, parts: Parts, pool: Pool) -> None:
        self._parts, self._conf = parts, parts.conf
        self._pool = pool
        self.scheduler = self._new_scheduler()
        self._mix, self._mixed = self._first_mix()
        self.policy: Policy = make(pool.policy, self._mix)
        # Claims that wait or hold something, by id, as they were read last; and their generations, less
        # those of claims that are to be read again.
        self.claims: dict[str, Claim] = {}
        self._generations: dict[str, int] = {}
        self._steps = parts.clock.steps
        # Devices that Placement refused though there is room, reserved or gone there, and until when
        # they are not asked for again; and by claim what it said.
        self._refused: dict[str, float] = {}
        self._refusals: dict[str, tuple[float, Reason]] = {}
        self._teller = Teller(parts, pool.id)
        self._accounts: Accounts | None = None
        # Of elastic claims: the vGPUs that sessions use, since when each is there, which can't grow yet.
        self._used: dict[str, set[str]] = {}
        self._since: dict[str, dict[str, float]] = {}
        self._full: dict[str, float] = {}

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
        now = self._parts.clock.monotonic()
        self._forgive(now)
        # By what was so since the last pass, before that is read anew; at first there is nothing better.
        if self._accounts is not None:
            self._charge(self._accounts, now)
        self.look()
        if self._accounts is None:
            self._accounts = Accounts(self._parts, self._pool.id)
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
        with self._parts.views.lock:
            accounts.charge(self.scheduler, now)
        with isolated("what projects had is not written now"):
            accounts.keep(now)

    def _forgive(self, now: float) -> None:
        """Offer devices again whose time of being left alone is over."""
        self._refused = {device: until for device, until in self._refused.items() if until > now}
        self._refusals = {claim: said for claim, said in self._refusals.items() if said[0] > now}
        for claim_id in [each for each, until in self._full.items() if until <= now]:
            del self._full[claim_id]
            self._generations.pop(claim_id, None)

    def _decide(self, now: float) -> tuple[PoolView, list[Decided | Preempt]]:
        """Return the view, out of which is taken what starts, and what was decided."""
        shares = self._shares
        with self._parts.views.lock:
            view = self._parts.views.of(self._pool.id)
            held = self._refused.keys() & view.device_index.keys()
            view.hold(held)
            try:
                return view, self.scheduler.decide(view, shares, self.policy, now, _wall(self._parts))
            except Exception:
                # Who knows what it had taken out of the view: all is read anew.
                self._parts.views.forget(self._pool.id)
                self.scheduler, self.claims = self._new_scheduler(), {}
                self._generations = {}
                raise
            finally:
                view.hold(held, held=False)

    def look(self) -> None:
        """Read what waits and what holds something, as far as it has changed."""
        if self._steps != self._parts.clock.steps:
            # Leases end sooner or later than was thought.
            self._generations, self._steps = {}, self._parts.clock.steps
        states = [ClaimState.QUEUED, *HOLDING]
        with self._parts.database.reader() as session:
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
            self._teller.forget(claim_id)
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
        now = self._parts.clock.monotonic()
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
            may_grow=claim.id not in self._full,
        )
        self.scheduler.run(*occupants.running(self._parts, claim, held))

    def _at(self, moment: datetime | None, now: float) -> float:
        return now if moment is None else self._parts.clock.at(moment)

    @property
    def _shares(self) -> FairShare:
        """What projects had of this pool, up to the last pass."""
        if self._accounts is None:
            raise RuntimeError("the queue was not served yet")
        return self._accounts.shares

    def _first_mix(self) -> tuple[Mix, set[str]]:
        """Return the mix of the pool's newest claims, and which claims are in it."""
        window = self._conf.allocator.mix_window
        with self._parts.database.reader() as session:
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
        until = self._parts.clock.monotonic() + _FULL
        self._full.update((claim_id, until) for claim_id in full)
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
                    self._parts.commit(resizing.shrink, victim, chosen[each], waiting)
                else:
                    self._parts.commit(preemption.preempt, victim, waiting)

    def _take_back(self, view: PoolView, starts: Iterable[Decided]) -> None:
        """Undo in view and scheduler what was decided and is not so."""
        with self._parts.views.lock:
            for each in starts:
                # Whatever became of it is read again.
                claim = self.claims.pop(each.claim_id)
                self._generations.pop(each.claim_id, None)
                self.scheduler.forget(each.claim_id)
                demand = Demand.of(claim)
                view.give(elastic.one_of(demand) if isinstance(each, Grow) else demand, each.plan)
                places = [view.device_index[device_id] for device_id in each.plan.device_ids]
                self._parts.views.doubt({view.hosts[host] for host, _ in places})

    def learn(self, refused: Decided, said: str, learnt: set[str]) -> None:
        """Learn from Placement what others hold of the devices that it refused; add to ``learnt``."""
        # Not longer: it may be about to be written, as a device that was just enabled.
        until = self._parts.clock.monotonic() + self._conf.conductor.queue_interval
        self._refusals[refused.claim_id] = until, Reason(TAKEN.text, f"Placement refused: {said}")
        for device_id in set(refused.plan.device_ids) - learnt:
            learnt.add(device_id)
            held = self._parts.allocations.allocations_of(device_id)
            with self._parts.database.reader() as session:
                own = vgpus.consumers(session, device_id)
            foreign = {consumer: each for consumer, each in held.items() if consumer not in own}
            if not self._parts.inventory.saw_foreign(device_id, foreign):
                # It was not room that was wanting: the device is reserved there, or gone.
                self._refused[device_id] = until

    def tell(self) -> None:
        """Write why claims wait, where that is news."""
        if self._accounts is None or not len(self.scheduler.line):
            return
        refused = {claim_id: said for claim_id, (_, said) in self._refusals.items()}
        look = Look(self.scheduler, self.claims, self._shares, self.policy, refused)
        if news := self._teller.news(look):
            self._parts.commit(_note, news)

    def moment(self, wait: Wait) -> datetime | None:
        """Return when a claim that waits starts at latest."""
        return None if wait.starts_at is None else self._parts.clock.moment(wait.starts_at)


def _note(transaction: Transaction, news: Mapping[Reason, Collection[str]]) -> None:
    """Write why claims wait, those of the same reason together."""
    for reason in sorted(news):
        claims.note_queued(transaction.session, news[reason], reason)


def _wall(parts: Parts) -> float:
    """Return the time by the clock that claims' ``created_at`` is of."""
    return consumption.seconds(parts.clock.now())
