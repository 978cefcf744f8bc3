"""A job that runs again and again."""

import threading

from gpupool.conductor.periodic import Periodic

PATIENCE = 30


class Job:
    """Counts its runs, which all fail."""

    def __init__(self):
        self.runs = threading.Semaphore(0)

    def __call__(self):
        self.runs.release()
        raise RuntimeError("this run fails")


def test_it_runs_at_the_start_and_when_woken_whatever_became_of_the_run_before():
    job = Job()
    periodic = Periodic("test", job, interval=10 * PATIENCE)
    periodic.start()
    assert job.runs.acquire(timeout=PATIENCE)
    periodic.wake()
    assert job.runs.acquire(timeout=PATIENCE)
    periodic.stop()


def test_it_pauses_however_often_it_is_woken_and_stops_at_once():
    job = Job()
    periodic = Periodic("test", job, interval=0.001, pause=10 * PATIENCE)
    periodic.start()
    assert job.runs.acquire(timeout=PATIENCE)
    periodic.wake()
    assert not job.runs.acquire(timeout=0.1)
    stopping = threading.Thread(target=periodic.stop)
    stopping.start()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
