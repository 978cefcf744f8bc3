"""Waiting that libraries do by the wall clock, and should not."""

import time
from types import SimpleNamespace

# The wall clock as it was when this began, gone on with by the monotonic clock: no client that exists
# already was made later than that.
_BEGAN = time.time() - time.monotonic()


def by_monotonic_clock() -> None:
    """Replace the clock by which keystoneauth spaces the requests of a client by the monotonic one.

    By the wall clock it does not send one before its client was made: a clock that is set back makes
    every request to Placement and Keystone wait for as long as the step.
    """
    try:
        from keystoneauth1 import _fair_semaphore  # noqa: PLC0415 - agents have no such client
    except ImportError:
        return
    # Its module has no other use for the clock.
    vars(_fair_semaphore)["time"] = SimpleNamespace(time=_now, sleep=time.sleep)


def _now() -> float:
    return _BEGAN + time.monotonic()
