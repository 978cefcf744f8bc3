"""Messages that nobody waits for: one thread sends them, whatever the broker does."""

import logging
import queue
import threading

import pytest

from gpupool.model import errors
from gpupool.rpc import sender as sender_module
from gpupool.rpc.sender import Sender

WAIT = 30


class Broker:
    """Takes messages, is away, or hangs, as the test says."""

    def __init__(self):
        self.taken = queue.Queue()
        self.tried = threading.Semaphore(0)
        self.up, self.goes_on = True, threading.Event()
        self.goes_on.set()

    def message(self, name):
        def send():
            self.tried.release()
            self.goes_on.wait(WAIT)
            if not self.up:
                raise errors.Unavailable("the broker is away", "messages")
            self.taken.put(name)

        return send

    def got(self, count):
        return [self.taken.get(timeout=WAIT) for _ in range(count)]


@pytest.fixture
def broker(monkeypatch):
    monkeypatch.setattr(sender_module, "PAUSE", 0.01)
    monkeypatch.setattr(sender_module, "PAUSE_MOST", 0.01)
    return Broker()


def test_who_gives_a_message_waits_for_nobody(broker):
    broker.goes_on.clear()
    sender = Sender("messages", 10)
    for name in range(5):
        sender.put(name, broker.message(name))
    assert broker.taken.empty()
    broker.goes_on.set()
    assert broker.got(5) == list(range(5))


def test_an_outage_loses_nothing_and_is_two_lines(broker, caplog):
    caplog.set_level(logging.INFO, sender_module.LOG.name)
    broker.up = False
    sender = Sender("messages", 10, in_order=True)
    for name in range(5):
        sender.put(name, broker.message(name))
    for _ in range(10):
        assert broker.tried.acquire(timeout=WAIT)
    broker.up = True
    assert broker.got(5) == list(range(5))
    sender.stop(WAIT)
    ours = [record for record in caplog.records if record.name == sender_module.LOG.name]
    assert [record.message for record in ours] == [
        "messages wait until they can be sent: the broker is away",
        "messages are sent again; dropped meanwhile: 0",
    ]


def test_of_one_key_the_newest_is_sent_and_of_too_many_the_oldest_is_not(broker):
    broker.goes_on.clear()
    sender = Sender("messages", 2)
    sender.put("first", broker.message("first"))
    assert broker.tried.acquire(timeout=WAIT)
    sender.put("a", broker.message("a2"), rank=2)
    sender.put("a", broker.message("a1"), rank=1)
    sender.put("a", broker.message("a3"), rank=3)
    # "first", which is on its way, is the oldest.
    sender.put("b", broker.message("b"))
    sender.put("c", broker.message("c"))
    broker.goes_on.set()
    assert broker.got(3) == ["first", "b", "c"]


def test_one_that_is_refused_does_not_hold_up_the_others(broker):
    def refused():
        raise errors.Unavailable("not this one", "messages")

    sender = Sender("messages", 10)
    sender.put("refused", refused)
    sender.put("b", broker.message("b"))
    sender.put("c", broker.message("c"))
    assert broker.got(2) == ["b", "c"]
    sender.stop(WAIT)


def test_stopping_sends_what_waits_but_waits_for_no_outage(broker):
    sender = Sender("messages", 10)
    sender.put("a", broker.message("a"))
    sender.stop(WAIT)
    assert broker.got(1) == ["a"]
    broker.up = False
    other = Sender("messages that are stopped", 10)
    other.put("b", broker.message("b"))
    assert broker.tried.acquire(timeout=WAIT)
    other.stop(WAIT)
    assert "messages that are stopped" not in {each.name for each in threading.enumerate()}
