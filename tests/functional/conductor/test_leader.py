"""One of several conductors leads, on real backends of tooz: a folder, and MariaDB where it is there."""

import time
from collections.abc import Callable, Iterator
from typing import ClassVar
from urllib.parse import urlparse

import pytest
from tooz import ToozError, coordination
from tooz.drivers.file import FileDriver, FileLock

from gpupool import conf as gpupool_conf
from gpupool.conductor import leader as leader_module
from gpupool.conductor.leader import Leader
from testbed import databases


@pytest.fixture(params=["file", "mariadb"])
def backend_url(request, tmp_path) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path}"
        return
    try:
        with databases.mariadb() as server:
            yield server.create_database("leader").replace("mysql+pymysql", "mysql")
    except databases.Missing as exc:
        pytest.skip(str(exc))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    """Let every question reach the backend."""
    monkeypatch.setattr(leader_module, "TRY", 0)
    monkeypatch.setattr(leader_module, "MAKE_SURE", 0)


def new(url: str, place: str = "db/gpupool") -> Leader:
    conf = gpupool_conf.new(files=[])
    conf.set_override("backend_url", url, group="coordination")
    leader = Leader(conf, place)
    leader.leads()
    return leader


@pytest.fixture
def leader(backend_url) -> Iterator[Callable[..., Leader]]:
    made: list[Leader] = []

    def make(place: str = "db/gpupool") -> Leader:
        made.append(new(backend_url, place))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_one_leads_and_another_follows_when_it_stops(leader):
    first, second = leader(), leader()
    assert [first.leads(), second.leads(), first.leads(), second.leads()] == [True, False, True, False]
    first.stop()
    assert second.leads()
    assert not leader().leads()


def test_who_misses_something_gives_the_lead_back_and_takes_none(leader):
    first, second = leader(), leader()
    assert [first.leads("the message service"), first.leads("Placement")] == [False, False]
    assert second.leads()
    assert not first.leads()
    assert not second.leads("the database")
    assert first.leads()


def test_every_deployment_has_a_leader_of_its_own(leader):
    here, there = leader("db/cloud_a"), leader("db/cloud_b")
    assert here.leads()
    assert there.leads()
    assert not leader("db/cloud_b").leads()


class Remote(FileDriver):
    """A folder that can be away, as a service can: then nothing is answered, and hearts beat on."""

    away = False
    error: type[Exception] = ToozError
    releases: ClassVar[list[Callable[[], bool]]] = []

    def heartbeat(self) -> float:
        self.check()
        return 0.1

    def get_lock(self, name: bytes) -> FileLock:
        lock = super().get_lock(name)
        Remote.releases.append(lock.release)
        for method in ("acquire", "release", "is_still_owner"):
            setattr(lock, method, self.checked(getattr(lock, method)))
        return lock

    def _start(self) -> None:
        self.check()
        super()._start()

    def _stop(self) -> None:
        self.check()
        super()._stop()

    @classmethod
    def come_back(cls) -> None:
        """Answer again; who was not heard of meanwhile has lost what it held."""
        cls.away = False
        for release in cls.releases:
            release()
        cls.releases.clear()

    def check(self) -> None:
        if Remote.away:
            raise Remote.error("away")

    def checked(self, method: Callable[..., bool]) -> Callable[..., bool]:
        def checked(*args, **kwargs) -> bool:
            self.check()
            return method(*args, **kwargs)

        return checked


@pytest.fixture
def remote(tmp_path, monkeypatch) -> Iterator[Leader]:
    monkeypatch.setattr(leader_module, "_PATIENCE", 0.2)
    monkeypatch.setattr(
        coordination, "get_coordinator", lambda url, member: Remote(member, urlparse(url), {})
    )
    leader = new(f"file://{tmp_path}")
    yield leader
    Remote.come_back()
    leader.stop()


# Drivers let some errors of their libraries through.
@pytest.mark.parametrize("error", [ToozError, ConnectionError])
def test_after_an_outage_there_is_a_leader_again(remote, monkeypatch, error):
    monkeypatch.setattr(Remote, "error", error)
    assert remote.leads()
    Remote.away = True
    # Its heart has noticed, and beats until it is heard.
    time.sleep(0.5)
    assert [remote.leads() for _ in range(3)] == [False] * 3
    Remote.come_back()
    assert [remote.leads() for _ in range(3)] == [True] * 3


def test_stopping_does_not_wait_for_a_backend_that_is_away(remote):
    assert remote.leads()
    Remote.away = True
    time.sleep(0.5)
    begun = time.monotonic()
    remote.stop()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_lock_that_was_lost_with_its_connection_is_noticed(kind):
    try:
        with getattr(databases, kind)() as server:
            url = server.create_database("leader").replace("postgresql+psycopg2", "postgresql")
            check_lost_lock(url.replace("mysql+pymysql://root", "mysql://leader"), server, kind)
    except databases.Missing as exc:
        pytest.skip(str(exc))


def check_lost_lock(url: str, server: databases.Server, kind: str) -> None:
    if kind == "mariadb":
        server.execute("CREATE USER leader@localhost")
        server.execute("GRANT ALL ON leader.* TO leader@localhost")
    one, two = new(url), new(url)
    assert [one.leads(), two.leads()] == [True, False]
    # As a timeout or a server that starts again does.
    if kind == "mariadb":
        server.execute("KILL USER leader")
    else:
        mine = "pid <> pg_backend_pid() AND datname = 'leader'"
        server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
    # The other's own connection has gone too, which it may only notice now.
    assert two.leads() or two.leads()
    assert not one.leads()
    assert [one.leads(), two.leads()] == [False, True]
    two.stop()
    assert one.leads()
    one.stop()


def test_the_backend_is_not_asked_every_time(tmp_path, monkeypatch):
    monkeypatch.setattr(leader_module, "TRY", 1000)
    monkeypatch.setattr(leader_module, "MAKE_SURE", 1000)
    one, two = new(f"file://{tmp_path}"), new(f"file://{tmp_path}")
    one.stop()
    assert not two.leads()
    two.stop()


def test_without_a_backend_every_conductor_leads():
    alone = new("")
    assert alone.leads()
    alone.stop()
    assert alone.leads()


def test_a_backend_that_is_not_there_makes_nobody_lead():
    assert not new("mysql://gpupool:secret@127.0.0.1:1/gpupool").leads()
