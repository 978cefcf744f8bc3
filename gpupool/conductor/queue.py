"""The queue of every pool: what waits is decided about in passes, and what starts is bound in batches.

The decisions are the allocator's (``gpupool.allocator.scheduling``); here is what they are made from,
and what is done about them. Placement has the last word: a claim it has no room for waits for the next
round of the pass, which knows more.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from gpupool.allocator.claims import Running, Waiting
from gpupool.allocator.demand import Demand
from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.policies import make
from gpupool.allocator.policy import Policy
from gpupool.allocator.scheduling import Preempt, QueueRules, Scheduler, Start
from gpupool.allocator.view import PoolView
from gpupool.conductor import consumption, releasing
from gpupool.conductor.batches import Batches, Refused
from gpupool.conductor.isolation import isolated
from gpupool.conductor.parts import Parts, Transaction
from gpupool.db import claims, hosts, pools, vgpus
from gpupool.db.vgpus import BESIDE
from gpupool.model import errors
from gpupool.model.claim import Claim, OnPreempt
from gpupool.model.pool import Pool
from gpupool.model.queue import QueueEntry
from gpupool.model.states import HOLDING, ClaimState
from gpupool.model.vgpu import Vgpu
from gpupool.placement.errors import NoCapacity

# Rounds of one pass; each refusal by Placement teaches the next round something.
_ROUNDS = 8
# Seconds after which those who wait are told why again while there is more to decide.
_TELL_PAUSE = 1.0
# So many claims, the first in line, always show the reason of this moment.
_TOLD = 100


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

    def hush(self) -> None:
        """Forget nudges, before whatever they were about is looked at."""
        self._batches.hush()

    def under_way(self) -> set[str]:
        """Return the claims about which Placement has not answered yet."""
        return self._batches.claim_ids()

    def nudge(self) -> None:
        """Have ``serve`` return soon: there may be something to decide."""
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
        """Have all who wait know why, unless they were told a moment ago and there is more to decide."""
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
    scheduler, shares = queue.scheduler, queue.shares()
    # What it would decide, on a view of its own: so it tells for whom room will be kept, until when.
    scheduler.decide(view, shares, queue.policy, now)
    return [
        QueueEntry(
            claim_id=each.claim_id,
            project_id=queue.claims[each.claim_id].project_id,
            position=each.position,
            reason=queue.claims[each.claim_id].state_reason or each.reason,
            starts_at=None if each.starts_at is None else parts.clock.moment(each.starts_at),
        )
        for each in scheduler.waits(view, shares, now)
    ]


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
        self._refusals: dict[str, tuple[float, str]] = {}

    def _new_scheduler(self) -> Scheduler:
        settings = self._conf.queue
        return Scheduler(
            QueueRules(
                backfill=settings.backfill,
                reservations=settings.reservations,
                min_run_time=settings.min_run_time,
            )
        )

    def begin(self, pool: Pool, batches: Batches) -> bool:
        """Decide, and begin to do it; return whether something could not be begun now."""
        if pool.policy != self._pool.policy:
            self.policy = make(pool.policy, self._mix)
        self._pool = pool
        now = self._parts.clock.monotonic()
        self._forgive(now)
        self.look()
        if not len(self.scheduler.line):
            return False
        view, decided = self._decide(now)
        return self._do(view, decided, batches)

    def _forgive(self, now: float) -> None:
        """Have devices be asked for again whose time is over."""
        self._refused = {device: until for device, until in self._refused.items() if until > now}
        self._refusals = {claim: said for claim, said in self._refusals.items() if said[0] > now}

    def _decide(self, now: float) -> tuple[PoolView, list[Start | Preempt]]:
        """Return the view, out of which is taken what starts, and what was decided."""
        shares = self.shares()
        with self._parts.views.lock:
            view = self._parts.views.of(self._pool.id)
            held = self._refused.keys() & view.device_index.keys()
            view.hold(held)
            try:
                return view, self.scheduler.decide(view, shares, self.policy, now)
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
            changed = [each for each, _ in generations.items() - self._generations.items()]
            fresh = claims.list_(session, {"id": changed}) if changed else []
            held = vgpus.list_(session, {"claim_id": changed}) if changed else []
            named = hosts.names(session, {vgpu.host_id for vgpu in held})
        for claim_id in self.claims.keys() - generations.keys():
            self.scheduler.forget(claim_id)
            del self.claims[claim_id]
        self._mixed &= generations.keys()
        rows: dict[str, list[Vgpu]] = {}
        for vgpu in sorted(held, key=lambda each: each.index):
            if vgpu.index < BESIDE:
                rows.setdefault(vgpu.claim_id, []).append(vgpu)
        for claim in sorted(fresh, key=lambda each: (each.created_at or datetime.min, each.id)):
            self.claims[claim.id] = claim
            self._add_to_mix(claim)
            if claim.state == ClaimState.QUEUED:
                self.scheduler.wait(_waiting(claim))
            else:
                self.scheduler.run(_running(self._parts, claim, _plan(rows.get(claim.id, []), named)))
        self._generations = generations

    def shares(self) -> FairShare:
        """Return what projects have used of this pool."""
        settings = self._conf.queue
        with self._parts.database.reader() as session:
            return consumption.shares(
                session,
                self._pool.id,
                self._parts.clock,
                settings.half_life,
                settings.project_weights,
            )

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

    def _do(self, view: PoolView, decided: Iterable[Start | Preempt], batches: Batches) -> bool:
        """Begin to do what was decided; return whether something of it could not be begun now.

        What is on hosts of a batch that is under way is decided about again when that has ended.
        Whatever ends this, the scheduler does not go on believing in what was not begun. What becomes of
        the rest stands in the database.
        """
        starts = [each for each in decided if isinstance(each, Start)]
        victims = [
            (victim, each.claim_id)
            for each in decided
            if isinstance(each, Preempt)
            for victim in each.victims
        ]
        open_ = {each.claim_id for each in starts}
        try:
            self._make_room(victims)
            for batch in batches.split(starts):
                lost = batches.begin(self._pool.id, batch)
                open_ -= {each.claim_id for each in batch} - lost
        finally:
            self._take_back(view, [each for each in starts if each.claim_id in open_])
        return bool(open_)

    def _make_room(self, victims: Sequence[tuple[str, str]]) -> None:
        """Take claims apart, each for one that waits."""
        pairs = [(self.claims[victim_id], self.claims[claim_id]) for victim_id, claim_id in victims]
        for victim, _ in pairs:
            # Whatever becomes of it is read again.
            self._generations.pop(victim.id, None)
        for victim, waiting in pairs:
            with isolated(f"claim {victim.id} does not make room now"):
                self._parts.commit(_preempt, victim, waiting)

    def _take_back(self, view: PoolView, starts: Iterable[Start]) -> None:
        """Undo in view and scheduler what was decided and is not so."""
        with self._parts.views.lock:
            for each in starts:
                # Whatever became of it is read again.
                claim = self.claims.pop(each.claim_id)
                self._generations.pop(each.claim_id, None)
                self.scheduler.forget(each.claim_id)
                view.give(Demand.of(claim), each.plan)
                places = [view.device_index[device_id] for device_id in each.plan.device_ids]
                self._parts.views.doubt({view.hosts[host] for host, _ in places})

    def learn(self, refused: Start, said: str, learnt: set[str]) -> None:
        """Learn from Placement what others hold of the devices that it refused; add to ``learnt``."""
        # Not longer: it may be about to be written, as a device that was just enabled.
        until = self._parts.clock.monotonic() + self._conf.conductor.queue_interval
        self._refusals[refused.claim_id] = until, f"; Placement refused: {said}"
        for device_id in set(refused.plan.device_ids) - learnt:
            learnt.add(device_id)
            held = self._parts.allocations.allocations_of(device_id)
            with self._parts.database.reader() as session:
                own = {vgpu.id for vgpu in vgpus.list_(session, {"device_id": device_id})}
            foreign = {consumer: each for consumer, each in held.items() if consumer not in own}
            if not self._parts.inventory.saw_foreign(device_id, foreign):
                # It was not room that was wanting: the device is reserved there, or gone.
                self._refused[device_id] = until

    def tell(self) -> None:
        """Write why claims wait, where that is news."""
        if not len(self.scheduler.line):
            return
        now = self._parts.clock.monotonic()
        shares = self.shares()
        with self._parts.views.lock:
            waits = self.scheduler.waits(self._parts.views.of(self._pool.id), shares, now)
        news: dict[str, list[str]] = {}
        for each in waits:
            claim = self.claims.get(each.claim_id)
            reason = each.reason + self._refusals.get(each.claim_id, (0, ""))[1]
            if claim is None or claim.state_reason == reason:
                continue
            # Reasons count devices, so they change with every claim that ends: far back in a long line
            # it is enough to have been told once.
            if each.position <= _TOLD or not claim.state_reason:
                news.setdefault(reason, []).append(claim.id)
        if news:
            self._parts.commit(_note, news)


def _note(transaction: Transaction, news: Mapping[str, Collection[str]]) -> None:
    """Write why claims wait, those of the same reason together."""
    for reason in sorted(news):
        claims.note_queued(transaction.session, news[reason], reason)


def _waiting(claim: Claim) -> Waiting:
    return Waiting(
        claim_id=claim.id,
        project_id=claim.project_id,
        demand=Demand.of(claim),
        priority=claim.priority,
        created_at=consumption.seconds(claim.created_at or datetime.min),
        time_limit=None if claim.time_limit is None else float(claim.time_limit),
        refused_by=frozenset(claim.refused_by),
        preemptible=claim.preemptible,
    )


def _plan(rows: Sequence[Vgpu], named: Mapping[str, str]) -> Plan:
    """Return where the vGPUs of a claim are; ``named`` are the hosts' names by id."""
    host = named[rows[0].host_id] if rows else None
    return Plan(host=host, device_ids=tuple(vgpu.device_id for vgpu in rows))


def _running(parts: Parts, claim: Claim, plan: Plan) -> Running:
    bound_at = parts.clock.monotonic()
    if claim.bound_at is not None:
        bound_at -= parts.tenure.seconds(claim.id, claim.bound_at)
    ends = [parts.clock.at(claim.lease_end)] if claim.lease_end else []
    ends += [bound_at + claim.time_limit] if claim.time_limit is not None else []
    return Running(
        claim_id=claim.id,
        project_id=claim.project_id,
        demand=Demand.of(claim),
        plan=plan,
        priority=claim.priority,
        bound_at=bound_at,
        ends_at=min(ends, default=None),
        preemptible=claim.preemptible and claim.state == ClaimState.BOUND,
        leaving=claim.state == ClaimState.RELEASING,
    )


def _preempt(transaction: Transaction, victim: Claim, waiting: Claim) -> None:
    """Take a claim apart for another one; nothing happens when one of them has changed since."""
    now = claims.generations_of(transaction.session, [victim.id, waiting.id])
    if now != {each.id: each.generation for each in (victim, waiting)}:
        return
    if victim.state != ClaimState.BOUND or not victim.preemptible:
        return
    requeue = victim.on_preempt == OnPreempt.REQUEUE
    release_to = ClaimState.QUEUED if requeue else ClaimState.RELEASED
    releasing.start(transaction, victim, release_to, f"it made room for claim {waiting.id}")
