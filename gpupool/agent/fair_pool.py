"""A few threads that serve many, each in turn: one that asks a lot does not keep the others waiting."""

import logging
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

LOG = logging.getLogger(__name__)
# Longest wait, on stop, for the jobs that still run.
STOP_SECONDS = 5.0

Job = Callable[[], None]


class FairPool:
    """Runs jobs in ``threads`` threads, of each key at most ``each`` at a time, keys in rotation.

    So a job waits for no more than ``each`` jobs of any other key. How many may be waiting is the
    caller's to bound.
    """

    def __init__(self, threads: int, each: int) -> None:
        self._each = each
        self._changed = threading.Condition()
        # Keys with jobs, the one whose turn is next first.
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._running: Counter[str] = Counter()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"answer {number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin. Raises RuntimeError when there are no more threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin no more jobs; those that wait are dropped."""
        with self._changed:
            self._stopping = True
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(STOP_SECONDS)

    def submit(self, key: str, job: Job) -> None:
        """Run ``job`` when its turn comes."""
        with self._changed:
            if not self._stopping:
                self._waiting.setdefault(key, deque()).append(job)
                self._changed.notify()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            key, job = taken
            try:
                job()
            except Exception:
                LOG.exception("a job of %s failed", key)
            finally:
                self._end(key)

    def _take(self) -> tuple[str, Job] | None:
        """Wait for the next job whose turn it is; None when the pool stops."""
        with self._changed:
            while not self._stopping:
                key = next((key for key in self._waiting if self._running[key] < self._each), None)
                if key is not None:
                    return key, self._begin(key)
                self._changed.wait()
        return None

    def _begin(self, key: str) -> Job:
        jobs = self._waiting[key]
        job = jobs.popleft()
        if jobs:
            self._waiting.move_to_end(key)
        else:
            del self._waiting[key]
        self._running[key] += 1
        return job

    def _end(self, key: str) -> None:
        with self._changed:
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]
            self._changed.notify()
