"""No request waits because the clock was set back."""

import time

from keystoneauth1 import _fair_semaphore, adapter, session
from keystoneauth1.token_endpoint import Token

from gpupool import conf as gpupool_conf


def test_a_client_does_not_wait_for_the_time_it_was_made(monkeypatch):
    gpupool_conf.new(files=[])
    client = adapter.Adapter(session.Session(auth=Token("http://127.0.0.1:1", "token")))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with client._rate_semaphore:
        pass
    assert not slept


def test_a_client_made_before_does_not_wait_either(monkeypatch):
    monkeypatch.setitem(vars(_fair_semaphore), "time", time)
    client = adapter.Adapter(session.Session(auth=Token("http://127.0.0.1:1", "token")))
    gpupool_conf.new(files=[])
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with client._rate_semaphore:
        pass
    assert sum(slept) < 1
