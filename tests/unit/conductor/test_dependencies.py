"""Whether a service answers: probed, with a clock of the test's own."""

import logging
import threading

import pytest

from gpupool.conductor import dependencies
from gpupool.conductor.dependencies import Dependencies, Dependency
from gpupool.model import errors

WAIT = 30


class Service:
    """Answers, fails or hangs, as the test says; and counts the probes."""

    def __init__(self):
        self.up = True
        self.now = 1000.0
        self.probes = 0
        self.hangs, self.over = threading.Event(), threading.Event()

    def __call__(self):
        self.probes += 1
        if self.hangs.is_set():
            self.over.wait(WAIT)
        if not self.up:
            raise errors.Unavailable("it can't be reached", "it")


class Answering:
    """Stands for a database or a Placement that answers."""

    def probe(self):
        pass


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def dependency(service):
    """A dependency that counts as started, and probes only when the test asks."""

    class Started(Dependency):
        def start(self):
            self._thread = threading.current_thread()

    made = Started("it", service, clock=lambda: service.now)
    made.start()
    return made


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(service, dependency, caplog):
    caplog.set_level(logging.INFO, dependencies.LOG.name)
    back = []
    dependency.on_return = lambda: back.append(True)
    service.up = False
    for _ in range(20):
        dependency.ask()
        service.now += 3
        assert not dependency.answers()
    assert dependency.away_for() == 60
    service.up = True
    dependency.ask()
    dependency.ask()
    assert dependency.answers()
    assert [record.message for record in caplog.records] == [
        "it is away: it can't be reached",
        "it answers again",
    ]
    assert back == [True]


def test_the_pause_between_probes_grows_to_a_bound(service, dependency):
    service.up = False
    pauses = []
    for _ in range(6):
        dependency.ask()
        pauses.append(dependency.pause())
    assert pauses == sorted(pauses)
    assert pauses[-1] <= dependencies.AWAY_MOST
    service.up = True
    dependency.ask()
    assert dependency.pause() == dependencies.INTERVAL


def test_work_that_fails_though_probes_do_not_is_tried_less_and_less_often(service, dependency, caplog):
    """Claims do not go back and forth: in ten minutes there are some dozens of tries, and two lines."""
    caplog.set_level(logging.INFO, dependencies.LOG.name)
    tries = 0
    for _ in range(600):
        service.now += 1
        dependency.ask()
        if dependency.answers():
            tries += 1
            dependency.failed(errors.Unavailable("500 for a POST", "it"))
    assert tries <= 600 / dependencies.TRY_MOST + 5
    for _ in range(10):
        service.now += 1
        dependency.ask()
    assert dependency.answers()
    dependency.worked()
    dependency.ask()
    assert [record.message for record in caplog.records] == [
        "it is away: 500 for a POST",
        "it answers again",
    ]


def test_heartbeats_that_fail_in_an_outage_do_not_put_off_its_end(service, dependency):
    service.up = False
    for _ in range(30):
        dependency.failed(errors.Unavailable("it can't be reached", "it"))
        service.now += 1
        dependency.ask()
    service.up = True
    dependency.ask()
    assert dependency.answers()


def test_a_probe_that_hangs_is_an_outage(service, dependency):
    service.hangs.set()
    asking = threading.Thread(target=dependency.ask, daemon=True)
    asking.start()
    while not service.probes:
        asking.join(0.01)
    assert dependency.answers()
    service.now += dependencies.LATELY
    assert not dependency.answered_lately()
    service.now += dependencies.PATIENCE
    assert not dependency.answers()
    service.over.set()
    asking.join(WAIT)
    assert dependency.answers()
    assert dependency.answered_lately()


def test_the_end_of_an_outage_is_seen_by_those_it_wakes(service, dependency, caplog):
    """A probe that hung for longer than it may was answered: at that moment there is no outage."""
    caplog.set_level(logging.INFO, dependencies.LOG.name)
    seen = []
    dependency.on_return = lambda: seen.append(dependency.away_for())
    service.hangs.set()
    probe = threading.Thread(target=dependency.ask)
    probe.start()
    while not service.probes:
        probe.join(0.01)
    service.now += dependencies.PATIENCE + 1
    assert dependency.away_for()
    service.over.set()
    probe.join()
    assert seen == [0]
    said = [record.getMessage() for record in caplog.records]
    assert said == ["it is away: no answer in 10 s", "it answers again"]


def test_a_process_that_stood_still_did_not_listen(service, dependency):
    dependency.ask()
    assert dependency.answered_lately()
    service.now += 3600
    assert not dependency.answered_lately()
    assert dependency.answers()


def test_one_that_is_doubted_is_away_until_it_answers(service):
    dependency = Dependency("it", service, clock=lambda: service.now)
    assert dependency.answers()
    dependency.assume_away()
    service.hangs.set()
    dependency.start()
    assert not dependency.answers()
    assert dependency.away_for() > dependencies.GRACE
    back = threading.Event()
    dependency.on_return = back.set
    service.over.set()
    assert back.wait(WAIT)
    assert dependency.answers()
    dependency.stop()


def test_who_has_no_message_server_yet_neither_leads_nor_listens():
    """The broker may be away from the start on; hosts are not silent because they can't be heard."""
    made = Dependencies(Answering(), Answering(), client=None)
    assert made.listens()
    made.start()
    assert not made.listens()
    assert made.missing() == "the message service"
    made.stop()


def test_a_message_that_was_lost_is_sent_again(monkeypatch):
    """As right after an outage, when the broker is there and this conductor's queue is not yet."""
    monkeypatch.setattr(dependencies, "RESEND", 0.01)
    sent = []

    class Client:
        def echo(self, _ctxt, token):
            sent.append(token)
            if len(sent) == 3:
                made.heard("another's")
                made.heard(token)
                made.heard(token)

    nothing = Answering()
    made = Dependencies(nothing, nothing, client=Client())
    made.messages.ask()
    assert len(sent) == 3
    assert made.messages.answers()
