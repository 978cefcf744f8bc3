"""One notification for every transition of a claim."""

import threading

import oslo_messaging
import pytest

from tests.functional.conductor.lab import Lab, new_conf

WAIT = 60


class Listener:
    """Keeps what it hears."""

    def __init__(self):
        self._heard = []
        self._news = threading.Condition()

    def info(self, ctxt, publisher_id, event_type, payload, metadata):
        with self._news:
            self._heard.append((event_type, payload["id"], payload["state"]))
            self._news.notify_all()

    def heard(self, count):
        """Return all that was heard when it is ``count`` messages, or has not become so many."""
        with self._news:
            self._news.wait_for(lambda: len(self._heard) >= count, WAIT)
            return list(self._heard)


@pytest.fixture
def heard(database, placement):
    """Return a lab that notifies, and what a listener on the same transport heard."""
    conf = new_conf()
    # Making one registers the options.
    oslo_messaging.Notifier(oslo_messaging.get_notification_transport(conf), "test")
    conf.set_override("driver", ["messagingv2"], group="oslo_messaging_notifications")
    conf.set_override("topics", ["gpupool-news"], group="oslo_messaging_notifications")
    listener = Listener()
    server = oslo_messaging.get_notification_listener(
        oslo_messaging.get_notification_transport(conf),
        [oslo_messaging.Target(topic="gpupool-news")],
        [listener],
        executor="threading",
    )
    server.start()
    lab = Lab(conf, database, placement.client())
    yield lab, listener.heard
    lab.close()
    server.stop()
    server.wait()


def test_every_transition_is_told_once_and_in_order(heard):
    lab, told = heard
    agent = lab.agent()
    claim = lab.bound(agent)
    lab.release(claim)
    lab.look(agent)
    states = ["allocating", "binding", "bound", "releasing", "released"]
    assert told(len(states)) == [(f"gpupool.claim.{state}", claim.id, state) for state in states]


def test_by_default_nobody_is_told(lab):
    lab.bound(lab.agent())
    assert lab.conf.oslo_messaging_notifications.driver == []
