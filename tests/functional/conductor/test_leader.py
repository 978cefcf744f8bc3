"""One of several conductors leads, on real backends of tooz: a folder, and MariaDB where it is there."""

from collections.abc import Callable, Iterator

import pytest

from gpupool import conf as gpupool_conf
from gpupool.conductor.leader import Leader
from gpupool.model import errors
from tests.functional.db import servers


@pytest.fixture(params=["file", "mariadb"])
def backend_url(request, tmp_path) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path}"
        return
    try:
        with servers.mariadb() as server:
            yield server.create_database("leader").replace("mysql+pymysql", "mysql")
    except servers.Missing as exc:
        pytest.skip(str(exc))


def new(url: str) -> Leader:
    conf = gpupool_conf.new(files=[])
    conf.set_override("backend_url", url, group="coordination")
    leader = Leader(conf)
    leader.start()
    return leader


@pytest.fixture
def leader(backend_url) -> Iterator[Callable[[], Leader]]:
    made: list[Leader] = []

    def make() -> Leader:
        made.append(new(backend_url))
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


def test_without_a_backend_every_conductor_leads():
    alone = new("")
    assert alone.leads()
    alone.stop()
    assert alone.leads()


def test_a_backend_that_tooz_does_not_know_is_refused():
    with pytest.raises(errors.Invalid, match="backend_url can't be used"):
        new("carrier-pigeon://here")


def test_a_backend_that_is_not_there_makes_nobody_lead():
    assert not new("mysql://gpupool:secret@127.0.0.1:1/gpupool").leads()
