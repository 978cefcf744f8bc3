"""Creates claims at a rate, and sees when they are bound; a process of its own.

``python -m bench.claims.load '{"config": FILE, "database": URL, "claims": N, "rate": PER_SECOND,
"clients": N, "seed": N, "patience": SECONDS, "hold": SECONDS or null, "api": URL or ""}'``. A claim is
due at a time that does not depend on how the claims before it fared
(``rate`` 0: as soon as a client is free). It counts as bound when it is so for whoever reads the
database, which is asked every 20 ms.

The first line read from standard input is answered when this is ready; the second has it run, and is
answered with the list of records.
"""

import functools
import heapq
import itertools
import json
import logging
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

# Before oslo.messaging loads oslo.service, which would choose eventlet.
from oslo_service import backend

backend.init_backend(backend.BackendType.THREADING)

import oslo_messaging  # noqa: E402
import sqlalchemy as sa  # noqa: E402
from keystoneauth1 import adapter, noauth, session  # noqa: E402
from oslo_context.context import RequestContext  # noqa: E402

from gpupool import conf as gpupool_conf  # noqa: E402
from gpupool.client import rest  # noqa: E402
from gpupool.model import errors  # noqa: E402
from gpupool.model.claim import ClaimRequest  # noqa: E402
from gpupool.rpc import transport  # noqa: E402
from gpupool.rpc.conductor import ConductorClient  # noqa: E402

LOG = logging.getLogger(__name__)
# Sizes (vGPUs, percent and MiB of each) and how often, in the manner of the openb trace: half of it
# slices, most of the rest one whole device, a few of several.
MIX = {
    (1, 10, 1_024): 8,
    (1, 25, 4_096): 12,
    (1, 50, 8_192): 16,
    (1, 81, 12_288): 12,
    (1, 100, 16_000): 47,
    (2, 100, 16_000): 3,
    (4, 100, 16_000): 1,
    (8, 100, 16_000): 1,
}
PROJECTS = 8
REFUSALS = (errors.GpupoolError, rest.ApiError, oslo_messaging.MessagingException)
POLL_SECONDS = 0.02
ONCE = 1000


@dataclass
class Record:
    """What became of one claim; times are seconds since 1970, None when it did not come to that.

    ``sizes``: vGPUs, percent and MiB of each. ``queued``: its ``created_at``. ``answered``: the request
    that made it was. ``error``: why it was not made.
    """

    id: str
    project: str
    sizes: tuple[int, int, int]
    due: float = 0
    queued: float | None = None
    answered: float | None = None
    bound: float | None = None
    error: str = ""

    def wishes(self) -> dict[str, int]:
        """Return what is asked for, by the field names of a request."""
        return dict(zip(("count", "compute", "memory_mib"), self.sizes, strict=True))


class Api(Protocol):
    """Where claims are made."""

    def create(self, claim_id: str, project: str, wishes: dict[str, int]) -> datetime:
        """Make a claim; return its ``created_at``, UTC."""

    def release(self, claim_id: str, project: str) -> None:
        """Release it."""


class Messages:
    """Claims by the conductor's RPC, as the REST API makes them."""

    def __init__(self, config: str) -> None:
        self._client = ConductorClient(transport.get_transport(gpupool_conf.new(files=[config])))

    def create(self, claim_id: str, project: str, wishes: dict[str, int]) -> datetime:
        """Make a claim; return its ``created_at``, UTC."""
        claim = self._client.create_claim(_context(project), claim_id, ClaimRequest(**wishes))
        assert claim.created_at
        return claim.created_at

    def release(self, claim_id: str, project: str) -> None:
        """Release it."""
        self._client.release_claim(_context(project), claim_id)


class Rest:
    """Claims by the REST API."""

    def __init__(self, url: str) -> None:
        self._session = session.Session(auth=noauth.NoAuth(endpoint=url))

    def create(self, claim_id: str, project: str, wishes: dict[str, int]) -> datetime:
        """Make a claim; return its ``created_at``, UTC."""
        claim = self._client(project).create("claims", {"id": claim_id, **wishes})
        return datetime.fromisoformat(claim["created_at"]).replace(tzinfo=None)

    def release(self, claim_id: str, project: str) -> None:
        """Release it."""
        self._client(project).delete("claims", claim_id)

    def _client(self, project: str) -> rest.Client:
        headers = {"X-Project-Id": project, "X-User-Id": "bench", "X-Roles": "member"}
        return rest.Client(adapter.Adapter(self._session, additional_headers=headers))


def _context(project: str) -> RequestContext:
    return RequestContext(project_id=project, user_id="bench")


class Jobs:
    """What is to be done at a time, for threads that do it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._closed = False

    def add(self, due: float, job: Callable[[], None]) -> None:
        """Do ``job`` at ``due``, or as soon as a thread is free."""
        with self._changed:
            heapq.heappush(self._heap, (due, next(self._order), job))
            self._changed.notify()

    def close(self) -> None:
        """Begin no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def work(self) -> None:
        """Do one job after the other until closed."""
        while (job := self._take()) is not None:
            job()

    def _take(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._closed:
                pause = self._heap[0][0] - time.time() if self._heap else None
                if pause is not None and pause <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(pause)
        return None


class Load:
    """All claims of one run; ``run`` once."""

    def __init__(self, options: dict[str, Any], api: Api) -> None:
        self._options = options
        self._api = api
        self._engine = sa.create_engine(options["database"], isolation_level="AUTOCOMMIT")
        self._jobs = Jobs()
        self._lock = threading.Lock()
        self._waiting: dict[str, Record] = {}
        self._unasked = options["claims"]
        self.records = make_records(options["claims"], options["seed"])

    def run(self) -> None:
        """Make every claim, and wait until each is bound or nothing has moved for too long."""
        due = time.time()
        gaps = random.Random(self._options["seed"])
        for record in self.records:
            self._jobs.add(due, functools.partial(self._create, record, due))
            due += gaps.expovariate(self._options["rate"]) if self._options["rate"] else 0
        clients = [threading.Thread(target=self._jobs.work) for _ in range(self._options["clients"])]
        for client in clients:
            client.start()
        self._watch()
        self._jobs.close()
        for client in clients:
            client.join()

    def _create(self, record: Record, due: float) -> None:
        # Without a rate it is due when a client is free.
        record.due = due if self._options["rate"] else time.time()
        with self._lock:
            self._waiting[record.id] = record
            self._unasked -= 1
        try:
            created_at = self._api.create(record.id, record.project, record.wishes())
            record.queued = created_at.replace(tzinfo=UTC).timestamp()
            record.answered = time.time()
        except REFUSALS as exc:
            record.error = str(exc)
            with self._lock:
                self._waiting.pop(record.id, None)

    def _watch(self) -> None:
        """Note when claims are bound, until none waits or nothing has moved for too long."""
        query = sa.text("SELECT id FROM claims WHERE id IN :ids AND bound_at IS NOT NULL")
        query = query.bindparams(sa.bindparam("ids", expanding=True))
        moved = time.time()
        with self._engine.connect() as connection:
            while time.time() - moved < self._options["patience"]:
                with self._lock:
                    ids = list(itertools.islice(self._waiting, ONCE))
                    if not ids and not self._unasked:
                        return
                begun = time.time()
                seen = [row.id for row in connection.execute(query, {"ids": ids})] if ids else []
                self._note(seen, time.time())
                if seen or not ids:
                    moved = time.time()
                # It must not become the load itself.
                time.sleep(max(POLL_SECONDS, 5 * (time.time() - begun)))

    def _note(self, seen: list[str], now: float) -> None:
        for claim_id in seen:
            with self._lock:
                record = self._waiting.pop(claim_id)
            record.bound = now
            if self._options["hold"] is not None:
                self._jobs.add(now + self._options["hold"], functools.partial(self._release, record))

    def _release(self, record: Record) -> None:
        try:
            self._api.release(record.id, record.project)
        except REFUSALS as exc:
            LOG.warning("claim %s is not released: %s", record.id, exc)


def make_records(count: int, seed: int) -> list[Record]:
    """Return what the claims of a run are to be; the same for the same seed."""
    chance = random.Random(seed)
    sizes = chance.choices(list(MIX), list(MIX.values()), k=count)
    return [
        Record(
            id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            project=f"bench-{number % PROJECTS}",
            sizes=each,
        )
        for number, each in enumerate(sizes)
    ]


def main() -> None:
    """Run the load that the argument describes, when told to."""
    options = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.WARNING)
    # oslo.messaging warns of as many calls at once as there are clients.
    logging.getLogger("oslo_messaging").setLevel(logging.ERROR)
    load = Load(options, Rest(options["api"]) if options["api"] else Messages(options["config"]))
    sys.stdin.readline()
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()
    load.run()
    print(json.dumps([asdict(record) for record in load.records]), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
