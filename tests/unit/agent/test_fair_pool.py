"""Each key waits for few jobs of any other, whatever the others do."""

import threading

import pytest

from gpupool.agent.fair_pool import FairPool

TIMEOUT = 20


@pytest.fixture
def pool():
    made = FairPool(threads=3, each=2)
    made.start()
    yield made
    made.stop()


class Held:
    """Jobs that run until they are let go."""

    def __init__(self):
        self.started = threading.Semaphore(0)
        self.count = 0
        self.go = threading.Event()
        self._lock = threading.Lock()

    def __call__(self):
        with self._lock:
            self.count += 1
        self.started.release()
        assert self.go.wait(TIMEOUT)


def test_one_key_never_takes_every_thread(pool):
    held, done = Held(), threading.Event()
    for _ in range(100):
        pool.submit("a", held)
    assert held.started.acquire(timeout=TIMEOUT)
    assert held.started.acquire(timeout=TIMEOUT)
    pool.submit("b", done.set)
    assert done.wait(TIMEOUT)
    assert held.count == 2
    held.go.set()


def test_keys_take_turns():
    pool, order, last = FairPool(threads=1, each=1), [], threading.Event()
    for key in "aaaabb":
        pool.submit(key, lambda key=key: order.append(key))
    pool.submit("c", lambda: order.append("c"))
    pool.submit("a", last.set)
    pool.start()
    assert last.wait(TIMEOUT)
    assert "".join(order) == "abcabaa"
    pool.stop()


def test_a_job_that_fails_keeps_none_of_the_others(pool, caplog):
    done = threading.Event()

    def fail():
        raise ValueError("it")

    for _ in range(10):
        pool.submit("a", fail)
    pool.submit("a", done.set)
    assert done.wait(TIMEOUT)
    assert "a job of a failed" in caplog.text


def test_stopping_drops_what_waits(pool):
    held = Held()
    for _ in range(10):
        pool.submit("a", held)
    assert held.started.acquire(timeout=TIMEOUT)
    threading.Timer(0.05, held.go.set).start()
    pool.stop()
    pool.submit("a", held)
    assert held.count <= 2
